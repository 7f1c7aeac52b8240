"""Replay: applies a rulebook to stored replies and grades without running a model.

A stored grade belongs to the wording of a question. If the rulebook asks a question in a wording for which a reply has
no grade, the grade is missing and the class of the reply is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from rbr.classes.classification import most_probable_classes, thresholded_classes
from rbr.comparisons.synthesis import keep_verified
from rbr.grading import Question, question_hash
from rbr.rulebook import Rulebook, propositions_needed

_PAIR = ("prompt_id", "better", "worse")


@dataclass(frozen=True)
class ReplayInput:
    """The stored replies and grades that a replay uses.

    Attributes:
        replies: All replies: columns completion_id, prompt_id and category.
        candidates: The replies that were sampled for comparisons: columns completion_id, prompt_id, slot, label,
            candidate and finished.
        grades: Answers of the grader in use: columns completion_id, question (hash of its wording) and p_yes.
        few_shot: Number of examples that a question shows.
        thresholds: Decision threshold by hash of the question; questions that are not listed have 0.5.

    Example:
        >>> stored = ReplayInput(
        ...     replies=pl.DataFrame({"completion_id": ["c"], "prompt_id": ["p"], "category": ["None"]}),
        ...     candidates=pl.DataFrame({"completion_id": ["c"], "prompt_id": ["p"], "slot": ["perfect"],
        ...                              "label": ["perfect_comply"], "candidate": [0], "finished": [True]}),
        ...     grades=pl.DataFrame({"completion_id": ["c"], "question": ["0123456789abcdef"], "p_yes": [0.9]}),
        ...     few_shot=0, thresholds={})
    """

    replies: pl.DataFrame
    candidates: pl.DataFrame
    grades: pl.DataFrame
    few_shot: int
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class ReplayResult:
    """Classes and comparisons of the stored replies under one rulebook.

    Attributes:
        classes: The replies with response_type and class_name (null if it depends on a missing grade). Replies whose
            category is not in the rulebook are left out.
        missing: Grades that the rulebook needs but that do not exist or could not be read: columns completion_id and
            proposition.
        pairs: Comparisons that the fit would use: columns prompt_id, better and worse (completion ids).

    Example:
        >>> pairs = pl.DataFrame({"prompt_id": ["p"], "better": ["a"], "worse": ["b"]})
        >>> result = ReplayResult(classes=pl.DataFrame(), missing=pl.DataFrame(), pairs=pairs)
        >>> count_pair_changes(result, result)["kept"]
        1
    """

    classes: pl.DataFrame
    missing: pl.DataFrame
    pairs: pl.DataFrame


def replay(stored: ReplayInput, rulebook: Rulebook) -> ReplayResult:
    """Applies a rulebook to stored replies and grades.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> stored = ReplayInput(
        ...     replies=pl.DataFrame({"completion_id": ["c"], "prompt_id": ["p"], "category": ["None"]}),
        ...     candidates=pl.DataFrame(schema={"completion_id": str, "prompt_id": str, "slot": str, "label": str,
        ...                                     "candidate": int, "finished": bool}),
        ...     grades=pl.DataFrame(schema={"completion_id": str, "question": str, "p_yes": float}),
        ...     few_shot=0, thresholds={})
        >>> result = replay(stored, load_rulebook("rulebook"))
        >>> result.classes.select("response_type", "class_name").rows()
        [('comply', None)]
    """
    categories = rulebook.content_policy.categories
    response_types = {code: category.response_type for code, category in categories.items()}
    replies = stored.replies.filter(pl.col("category").is_in(list(response_types))).with_columns(
        pl.col("category").replace_strict(response_types, default=None, return_dtype=pl.String).alias("response_type")
    )
    hashes = {
        name: question_hash(Question(name, entry.question, entry.examples), stored.few_shot)
        for name, entry in rulebook.propositions.items()
    }
    # One row per reply and proposition that the rulebook needs; p_yes is null if the grade does not exist.
    needed = _needed_grades(replies, rulebook).with_columns(
        pl.col("proposition").replace_strict(hashes).alias("question")
    )
    grades = needed.join(stored.grades, on=["completion_id", "question"], how="left", maintain_order="left")
    thresholds = {name: stored.thresholds[key] for name, key in hashes.items() if key in stored.thresholds}
    return ReplayResult(
        classes=thresholded_classes(replies, grades, rulebook.behavior, thresholds),
        missing=grades.filter(pl.col("p_yes").is_null()).select("completion_id", "proposition"),
        pairs=_pairs(stored, rulebook, replies, grades, thresholds),
    )


def classified_replies(before: ReplayResult, after: ReplayResult) -> pl.DataFrame:
    """Returns the replies that both rulebooks give a class.

    Args:
        before: Replay under the old rulebook.
        after: Replay of the same replies under the new rulebook.

    Returns:
        The columns of `reclassified_replies`, in the order of the replies.

    Example:
        >>> replies = {"completion_id": ["c", "d"], "prompt_id": ["p", "q"], "response_type": ["comply", "comply"]}
        >>> before, after = (
        ...     ReplayResult(pl.DataFrame({**replies, "class_name": names}), pl.DataFrame(), pl.DataFrame())
        ...     for names in (["ideal", "ideal"], ["ideal", None]))
        >>> classified_replies(before, after)["completion_id"].to_list()
        ['c']
    """
    old = before.classes.select(
        "completion_id",
        pl.col("response_type").alias("response_type_before"),
        pl.col("class_name").alias("class_before"),
    )
    both = after.classes.join(old, on="completion_id", how="inner", maintain_order="left")
    return both.drop_nulls(["class_name", "class_before"]).select(
        "completion_id", "prompt_id", "response_type_before", "class_before", "response_type", "class_name"
    )


def reclassified_replies(before: ReplayResult, after: ReplayResult) -> pl.DataFrame:
    """Returns the replies whose response type or class differs between two rulebooks.

    Args:
        before: Replay under the old rulebook.
        after: Replay of the same replies under the new rulebook.

    Returns:
        Columns completion_id, prompt_id, response_type_before, class_before, response_type and class_name, in the
        order of the replies. If one of the rulebooks gives a reply no class, the reply is left out:
        `classified_replies` has all others.

    Example:
        >>> reply = {"completion_id": ["c"], "prompt_id": ["p"], "response_type": ["comply"]}
        >>> before, after = (
        ...     ReplayResult(pl.DataFrame({**reply, "class_name": [name]}), pl.DataFrame(), pl.DataFrame())
        ...     for name in ("ideal", "unacceptable"))
        >>> reclassified_replies(before, after).select("class_before", "class_name").rows()
        [('ideal', 'unacceptable')]
    """
    both = classified_replies(before, after)
    differs = (pl.col("class_name") != pl.col("class_before")) | (
        pl.col("response_type") != pl.col("response_type_before")
    )
    return both.filter(differs)


def count_pair_changes(before: ReplayResult, after: ReplayResult) -> dict[str, int]:
    """Counts how the comparisons differ between two rulebooks.

    Args:
        before: Replay under the old rulebook.
        after: Replay of the same replies under the new rulebook.

    Returns:
        Number of comparisons that are ``kept``, ``turned`` (better and worse are swapped), ``gone`` and ``new``.

    Example:
        >>> before, after = (
        ...     ReplayResult(pl.DataFrame(), pl.DataFrame(), pl.DataFrame([pair], orient="row"))
        ...     for pair in (("p", "a", "b"), ("p", "b", "a")))
        >>> count_pair_changes(before, after)
        {'kept': 0, 'turned': 1, 'gone': 0, 'new': 0}
    """
    old, new = (set(result.pairs.iter_rows()) for result in (before, after))
    turned = {(prompt, worse, better) for prompt, better, worse in old} & new
    return {
        "kept": len(old & new),
        "turned": len(turned),
        "gone": len(old - new) - len(turned),
        "new": len(new - old) - len(turned),
    }


def _needed_grades(replies: pl.DataFrame, rulebook: Rulebook) -> pl.DataFrame:
    """Returns completion_id and proposition of every grade that the rulebook needs."""
    needed = {name: propositions_needed(rulebook.behavior, name) for name in rulebook.behavior.response_types}
    needed_by_type = pl.DataFrame(
        [(response_type, name) for response_type, names in needed.items() for name in names],
        schema={"response_type": pl.String, "proposition": pl.String},
        orient="row",
    )
    return replies.join(needed_by_type, on="response_type", maintain_order="left_right").select(
        "completion_id", "proposition"
    )


def _pairs(
    stored: ReplayInput,
    rulebook: Rulebook,
    replies: pl.DataFrame,
    grades: pl.DataFrame,
    thresholds: Mapping[str, float],
) -> pl.DataFrame:
    """Returns all pairs (better, worse) of verified candidates for the same prompt."""
    response_types = replies.select("completion_id", "response_type").unique("completion_id")
    candidates = stored.candidates.join(response_types, on="completion_id", how="inner", maintain_order="left")
    classified = most_probable_classes(candidates, grades, rulebook.behavior, thresholds)
    verified = keep_verified(classified, rulebook.synthesis).drop("label")
    ranked = verified.join(_ranks(rulebook), on=["response_type", "slot"])
    better = ranked.select("prompt_id", pl.col("completion_id").alias("better"), "rank")
    worse = ranked.select("prompt_id", pl.col("completion_id").alias("worse"), pl.col("rank").alias("worse_rank"))
    pairs = better.join(worse, on="prompt_id").filter(pl.col("rank") < pl.col("worse_rank"))
    return pairs.select(_PAIR).unique().sort(_PAIR)


def _ranks(rulebook: Rulebook) -> pl.DataFrame:
    """Returns response_type, slot and rank (0 is the best) of every slot."""
    rows = []
    for response_type, recipe in rulebook.synthesis.items():
        ranking = rulebook.behavior.response_types[response_type].ranking
        rank = {label: place for place, labels in enumerate(ranking) for label in labels}
        rows += [(response_type, slot.name, rank[slot.label]) for slot in recipe.slots]
    return pl.DataFrame(rows, schema={"response_type": pl.String, "slot": pl.String, "rank": pl.Int32}, orient="row")
