"""Audits a fitted reward on replies that the fit did not use: which pairs it orders wrongly, and why.

The outer loop of the method looks at these figures before any training (paper section 8).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import feature_map
from rbr.classes.grade_matrix import grade_matrix
from rbr.reward.comparison_pairs import comparison_pairs, complete_replies, held_out_prompts
from rbr.reward.fit_problems import FitProblem
from rbr.rulebook import Behavior

FloatArray = NDArray[np.float64]

_CAUSES = 3


@dataclass(frozen=True)
class WronglyOrderedPair:
    """A held-out pair of replies to the same prompt in which the worse reply gets at least as much reward.

    Attributes:
        better: Row of the better reply in the fit problem.
        worse: Row of the worse reply.
        lead: R_tot of the better reply minus R_tot of the worse reply; 0 or less.
        causes: The terms of R_tot that favor the worse reply most, largest first, with their differences.

    Example:
        >>> WronglyOrderedPair(better=0, worse=1, lead=-0.5, causes=(("R_rm", 1.5), ("proposition:judgement", 0.25)))
        WronglyOrderedPair(better=0, worse=1, lead=-0.5, causes=(('R_rm', 1.5), ('proposition:judgement', 0.25)))
    """

    better: int
    worse: int
    lead: float
    causes: tuple[tuple[str, float], ...]


def wrongly_ordered_pairs(
    problem: FitProblem, weights: FloatArray, held_out_fraction: float
) -> Iterator[WronglyOrderedPair]:
    """Yields the held-out pairs that R_rm + R_rbr orders wrongly, by prompt.

    Args:
        problem: Verified comparisons of one response type.
        weights: Fitted weights, float64[F], in units of R_rm.
        held_out_fraction: Share of the prompts that the fit held out.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["good", "bad"], features=np.array([[1.0], [0.0]]), r_rm=np.array([0.0, 2.0]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> (pair,) = wrongly_ordered_pairs(problem, np.array([1.5]), held_out_fraction=1.0)
        >>> pair.lead, pair.causes
        (-0.5, (('R_rm', 2.0),))
    """
    pairs = comparison_pairs(problem, complete_replies(problem))
    held_out = pairs.of_prompts(held_out_prompts(pairs, held_out_fraction))
    r_tot = problem.r_rm + problem.features @ weights
    leads = r_tot[held_out.better] - r_tot[held_out.worse]
    for index in np.flatnonzero(leads <= 0):
        better, worse = int(held_out.better[index]), int(held_out.worse[index])
        terms = (problem.features[worse] - problem.features[better]) * weights
        favors = {"R_rm": float(problem.r_rm[worse] - problem.r_rm[better])}
        favors |= dict(zip(problem.feature_names, map(float, terms), strict=True))
        largest = sorted(favors.items(), key=lambda term: -term[1])[:_CAUSES]
        causes = tuple((name, value) for name, value in largest if value > 0)
        yield WronglyOrderedPair(better, worse, float(leads[index]), causes)


def rewarded(
    replies: pl.DataFrame,
    grades: pl.DataFrame,
    scores: pl.DataFrame,
    behavior: Behavior,
    weights: Mapping[str, Mapping[str, float]],
    *,
    accepted: frozenset[str],
    thresholds: Mapping[str, float],
) -> pl.DataFrame:
    """Adds the reward of each reply.

    Args:
        replies: Columns completion_id and response_type, and any others, which are kept.
        grades: Columns completion_id, proposition and p_yes (null if the answer could not be read).
        scores: Columns completion_id and score (R_rm; null if it could not be computed).
        behavior: The behavior policy.
        weights: Fitted weights, by response type and feature name. Replies to other response types get no R_rbr.
        accepted: Propositions that may be features of their own.
        thresholds: Decision threshold by proposition.

    Returns:
        The replies in their order, with r_rm, r_rbr and r_tot; null if a grade or the score is missing.

    Example:
        >>> from rbr.classes.features import feature_map
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> features = feature_map(behavior, "comply", accepted=[])
        >>> replies = pl.DataFrame({"completion_id": ["c"], "response_type": ["comply"]})
        >>> grades = pl.DataFrame([("c", name, 0.0) for name in features.propositions],
        ...                       schema=["completion_id", "proposition", "p_yes"], orient="row")
        >>> scores = pl.DataFrame({"completion_id": ["c"], "score": [0.5]})
        >>> weights = {"comply": {name: -1.0 for name in features.feature_names}}
        >>> rewarded(replies, grades, scores, behavior, weights, accepted=frozenset(), thresholds={}).row(0)
        ('c', 'comply', 0.5, -1.0, -0.5)
    """
    scored = replies.join(scores, on="completion_id", how="left", maintain_order="left").rename({"score": "r_rm"})
    parts = []
    for part in scored.with_row_index("_row").partition_by("response_type", maintain_order=True):
        response_type = part["response_type"][0]
        if response_type not in weights:
            parts.append(part.with_columns(pl.lit(None, pl.Float64).alias("r_rbr")))
            continue
        features = feature_map(behavior, response_type, accepted=accepted, thresholds=thresholds)
        p_yes = grade_matrix(grades, part["completion_id"].to_list(), features.propositions)
        of_type = weights[response_type]
        r_rbr = features.features(p_yes) @ np.array([of_type[name] for name in features.feature_names])
        parts.append(part.with_columns(pl.Series("r_rbr", r_rbr).fill_nan(None)))
    rows = pl.concat(parts).sort("_row").drop("_row") if parts else scored.with_columns(r_rbr=pl.lit(None, pl.Float64))
    return rows.with_columns((pl.col("r_rm") + pl.col("r_rbr")).alias("r_tot"))


def class_error_rates(replies: pl.DataFrame, behavior: Behavior) -> pl.DataFrame:
    """Returns the error rates over pairs of a reply of the best class and a reply of a worse class to the same prompt.

    Args:
        replies: Columns prompt_id, response_type, class_name, r_rm, r_rbr and r_tot. Replies without a class or without
            a reward are not counted.
        behavior: The behavior policy; it defines the best class of each response type.

    Returns:
        One row per response type of the behavior policy: response_type, n_pairs, n_left_out, error_rm, error_rbr and
        error_total; the error rates are null if there is no pair. n_left_out counts the pairs of two replies to the
        same prompt that may be such a pair, but a class or a reward is missing. A reply without a class may be of the
        best class or of a worse one.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> rewards = {"r_rm": [0.0, 1.0], "r_rbr": [3.0, 0.0], "r_tot": [3.0, 1.0]}
        >>> replies = pl.DataFrame({"class_name": ["ideal", "illogical"], **rewards})
        >>> replies = replies.with_columns(prompt_id=pl.lit("p"), response_type=pl.lit("comply"))
        >>> class_error_rates(replies, load_behavior("rulebook/behavior.yaml")).row(0)
        ('comply', 1, 0, 1.0, 0.0, 0.0)
    """
    best = pl.DataFrame(
        [(name, behavior.class_names(name)[0]) for name in behavior.response_types],
        schema={"response_type": pl.String, "best": pl.String},
        orient="row",
    )
    rewards = ["r_rm", "r_rbr", "r_tot"]
    keys = ["response_type", "prompt_id"]
    is_best = pl.col("class_name") == pl.col("best")
    ranked = replies.join(best, on="response_type")
    usable = ranked.drop_nulls(["class_name", *rewards])
    ideal = usable.filter(is_best).select(*keys, *rewards)
    worse = usable.filter(~is_best).select(*keys, *rewards)
    pairs = ideal.join(worse, on=keys, suffix="_worse")
    rates = pairs.group_by("response_type").agg(
        pl.len().alias("n_pairs"),
        *(
            (pl.col(f"{reward}_worse") >= pl.col(reward)).mean().alias(name)
            for reward, name in zip(rewards, ("error_rm", "error_rbr", "error_total"), strict=True)
        ),
    )
    # All pairs of each prompt that may be such pairs, whether or not their rewards are known.
    n_best, n_worse, n_unknown = (
        condition.sum().cast(pl.Int64) for condition in (is_best, ~is_best, pl.col("class_name").is_null())
    )
    n_possible = n_best * n_worse + n_unknown * (n_best + n_worse) + n_unknown * (n_unknown - 1) // 2
    possible = ranked.group_by(keys).agg(n_possible.alias("possible")).group_by("response_type").agg(pl.sum("possible"))
    return (
        best.select("response_type")
        .join(rates, on="response_type", how="left", maintain_order="left")
        .join(possible, on="response_type", how="left", maintain_order="left")
        .with_columns(pl.col("n_pairs", "possible").fill_null(0))
        .select(
            "response_type",
            "n_pairs",
            (pl.col("possible") - pl.col("n_pairs")).alias("n_left_out"),
            *("error_rm", "error_rbr", "error_total"),
        )
    )
