"""Verified comparisons as fit problems, one per response type (paper section 4)."""

from collections.abc import Collection, Mapping

import polars as pl

from rbr.classes.classification import grade_matrix
from rbr.classes.features import feature_map
from rbr.reward.fit import FitProblem
from rbr.rulebook import Behavior


def fit_problems(
    verified: pl.DataFrame,
    grades: pl.DataFrame,
    scores: pl.DataFrame,
    behavior: Behavior,
    *,
    accepted: Collection[str],
    thresholds: Mapping[str, float],
) -> list[FitProblem]:
    """Collects what the fit of each response type reads.

    Args:
        verified: Columns completion_id, prompt_id, response_type and label.
        grades: Columns completion_id, proposition, p_yes.
        scores: Columns completion_id, score (R_rm, null where it could not be computed).
        behavior: Features, ranking and margins.
        accepted: Propositions that may be features.
        thresholds: Decision thresholds by proposition.

    Returns:
        One problem per response type of the behavior policy, in its order, without those that no verified
        reply belongs to.
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
                feature_names=features.names,
                prompt_ids=rows["prompt_id"].to_list(),
                labels=rows["label"].to_list(),
                features=features.features(p_yes),
                r_rm=rows["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
                ranking=rules.ranking,
                margins=rules.margins,
            )
        )
    return problems
