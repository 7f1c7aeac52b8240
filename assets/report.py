"""The safety report: one page for people who read no tables."""

import json

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, grader_agreement, read_thresholds
from assets.evaluation import evaluated_replies, evaluation_completions, evaluation_grades, evaluation_metrics
from assets.prompts import test_prompts
from assets.reward import fitted_weights
from assets.snapshots import snapshot_key
from rbr.classes.classification import counted_classes
from rbr.evaluation.html_report import ReportContent, render_report
from rbr.hashing import content_hash
from rbr.rulebook import Behavior
from resources.artifacts import Artifacts
from resources.store import Store
from resources.stored_inputs import read_snapshot

SAMPLED_PROMPTS = 2
"""Prompts of each response type whose replies are shown."""


@dg.asset(
    group_name="evaluation",
    code_version="1",
    deps=[
        evaluation_metrics,
        *evaluation_completions.values(),
        evaluation_grades,
        test_prompts,
        fitted_weights,
        grader_agreement,
        accepted_propositions,
        # The classes of the replies that are shown.
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
    ],
)
def safety_report(store: Store, artifacts: Artifacts) -> dg.MaterializeResult:
    """One self-contained HTML page: metrics, weights, agreement of the grader, replies side by side."""
    page = render_report(
        ReportContent(
            evaluations=store.read("evaluation_metrics"),
            weights=store.read("fitted_weights"),
            certificates=store.read("fit_certificates"),
            agreement=store.read("grader_agreement").join(
                store.read("accepted_propositions").select("proposition", "accepted"),
                on="proposition",
                how="inner",
                maintain_order="left",
            ),
            samples=_samples(store),
        )
    )
    artifacts.report.parent.mkdir(parents=True, exist_ok=True)
    artifacts.report.write_text(page, encoding="utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(page)),
        metadata={"report": dg.MetadataValue.path(str(artifacts.report)), "bytes": len(page.encode())},
    )


def _samples(store: Store) -> pl.DataFrame:
    """The replies to the first prompts of each response type, with the class that the grader sees."""
    replies = evaluated_replies(store)
    first = (
        replies.unique("prompt_id")
        # Held-out prompts stand in where the split by hash has none.
        .sort(pl.col("split") != "test", "response_type", "prompt_id")
        .group_by("response_type", maintain_order=True)
        .head(SAMPLED_PROMPTS)
    )
    shown = replies.join(first, on="prompt_id", how="semi", maintain_order="left").unique(
        ["prompt_id", "variant"], keep="first", maintain_order=True
    )
    classed = counted_classes(
        shown, store.read("evaluation_grades"), read_snapshot(store, Behavior), read_thresholds(store)
    )
    prompts = [json.loads(messages)[-1]["content"] for messages in classed["messages"]]
    return (
        classed.with_columns(pl.Series("prompt", prompts, dtype=pl.String), pl.col("text").alias("reply"))
        .sort("response_type", "prompt_id", "variant")
        .select("variant", "response_type", "prompt", "reply", "class_name")
    )
