"""Evaluation of several models on several splits by several judges, as one table."""

import polars as pl

from rbr.metrics import evaluate
from rbr.rulebook import Metrics

GROUP = ["variant", "checkpoint", "split", "judge"]


def evaluate_groups(replies: pl.DataFrame, metrics: Metrics, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Computes the metrics of each model, split and judge.

    Every group is resampled with the same seed, so groups over the same prompts see the same resamples.

    Args:
        replies: Columns variant, checkpoint, split, judge, prompt_id, response_type and class_name (null where
            the judge could not tell).
        metrics: Which classes count as what.
        bootstrap: Resamples of the prompts, at least 1.
        seed: Of the resampling.

    Returns:
        One row per group, sorted: the group's columns and those of `rbr.metrics.Evaluation.row`.
    """
    groups = replies.sort(*GROUP, "prompt_id").partition_by(GROUP, as_dict=True, maintain_order=True)
    rows = [
        dict(zip(GROUP, names, strict=True)) | evaluate(group, metrics, bootstrap=bootstrap, seed=seed).row()
        for names, group in groups.items()
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
