"""Fit problems: the verified comparisons of each response type as input of weight fitting (paper section 4)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import feature_map
from rbr.classes.grade_matrix import grade_matrix
from rbr.reward.class_order import ClassOrder
from rbr.reward.signs import feature_signs
from rbr.rulebook import Behavior
from rbr.rulebook.parts import Sign

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FitProblem:
    """The graded and scored comparisons of one response type; N replies, F features.

    Attributes:
        response_type: Name of the response type, for error messages and results.
        feature_names: Names of the features, [F].
        prompt_ids: Prompt id of each reply, [N].
        labels: Label that each reply was written for, [N].
        features: Features of each reply, float64[N, F]. If a feature is NaN, the fit ignores the reply.
        r_rm: Score of the reward model for each reply, float64[N]. If the score is NaN, the fit ignores the reply.
        ranking: Labels, best first; labels in the same inner sequence have the same rank and are not compared.
        margins: Margin by label of the better reply, in units of the spread of R_rm within prompts; labels that are not
            listed have 1.
        order: The order of the classes, which the weights must respect; None for a problem without classes.
        signs: Sign of each feature, [F]; empty if all are free.

    Raises:
        ValueError: The lengths or shapes do not match.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["good", "bad"], features=np.array([[1.0], [0.0]]), r_rm=np.array([0.0, 0.5]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> problem.features.shape
        (2, 1)
    """

    response_type: str
    feature_names: tuple[str, ...]
    prompt_ids: Sequence[str]
    labels: Sequence[str]
    features: FloatArray
    r_rm: FloatArray
    ranking: Sequence[Sequence[str]]
    margins: Mapping[str, float]
    order: ClassOrder | None = None
    signs: tuple[Sign, ...] = ()

    def __post_init__(self) -> None:
        n_replies = len(self.prompt_ids)
        if len(self.labels) != n_replies or self.r_rm.shape != (n_replies,):
            raise ValueError("prompt_ids, labels and r_rm must have one entry per reply")
        if self.features.shape != (n_replies, len(self.feature_names)):
            raise ValueError(f"features must have the shape [{n_replies}, {len(self.feature_names)}]")
        if len(self.signs) not in (0, len(self.feature_names)):
            raise ValueError("signs must be empty or have one entry per feature")


def fit_problems(
    verified: pl.DataFrame,
    grades: pl.DataFrame,
    scores: pl.DataFrame,
    behavior: Behavior,
    *,
    accepted: Collection[str],
    thresholds: Mapping[str, float],
) -> list[FitProblem]:
    """Returns the fit problems of all response types.

    Args:
        verified: Verified replies: columns completion_id, prompt_id, response_type and label.
        grades: Columns completion_id, proposition and p_yes (null if the answer could not be read).
        scores: Columns completion_id and score (R_rm; null if it could not be computed).
        behavior: The behavior policy; it defines classes, features, signs, rankings and margins.
        accepted: Propositions that may be features of their own.
        thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.

    Returns:
        One problem per response type that has verified replies, in the order of the behavior policy.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> verified = pl.DataFrame({"completion_id": ["c"], "prompt_id": ["p"], "response_type": ["comply"],
        ...                          "label": [behavior.response_types["comply"].ranking[0][0]]})
        >>> grades = pl.DataFrame({"completion_id": ["c"], "proposition": ["apology"], "p_yes": [0.25]})
        >>> scores = pl.DataFrame({"completion_id": ["c"], "score": [1.5]})
        >>> (problem,) = fit_problems(verified, grades, scores, behavior, accepted=["apology"], thresholds={})
        >>> problem.response_type, problem.r_rm
        ('comply', array([1.5]))
    """
    scored = verified.join(scores, on="completion_id", how="left", maintain_order="left")
    problems: list[FitProblem] = []
    for response_type, rules in behavior.response_types.items():
        rows = scored.filter(pl.col("response_type") == response_type)
        if rows.is_empty():
            continue
        features = feature_map(behavior, response_type, accepted=accepted, thresholds=thresholds)
        p_yes = grade_matrix(grades, rows["completion_id"].to_list(), features.propositions)
        problems.append(
            FitProblem(
                response_type=response_type,
                feature_names=features.feature_names,
                prompt_ids=rows["prompt_id"].to_list(),
                labels=rows["label"].to_list(),
                features=features.features(p_yes),
                r_rm=rows["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
                ranking=rules.ranking,
                margins=rules.margins,
                order=ClassOrder(features.diagram, features.feature_propositions),
                signs=feature_signs(features, rules.signs),
            )
        )
    return problems
