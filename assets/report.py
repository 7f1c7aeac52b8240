"""The safety report: one HTML page for readers who do not use the tables."""

import json

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, grader_agreement
from assets.evaluation import evaluation_completions, evaluation_grades, evaluation_metrics
from assets.prompts import test_prompts
from assets.reward import fitted_weights
from rbr.classes.classification import thresholded_classes
from rbr.evaluation.html_report import ReportContent, render_report
from rbr.hashing import content_hash
from rbr.rulebook import Behavior
from resources.artifacts import Artifacts
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_snapshot
from resources.store.table_content import read_evaluated_replies, read_thresholds

SAMPLED_PROMPTS = 2
"""Number of prompts per response type whose replies are shown."""


@dg.asset(
    group_name="evaluation",
    code_version="2",
    deps=[
        evaluation_metrics,
        *evaluation_completions.values(),
        evaluation_grades,
        test_prompts,
        fitted_weights,
        grader_agreement,
        accepted_propositions,
        # The class rules, for the classes of the shown replies.
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
    ],
)
def safety_report(store: Store, artifacts: Artifacts) -> dg.MaterializeResult:
    """One self-contained HTML page: metrics, weights, the grader's agreement, and replies side by side."""
    page = render_report(
        ReportContent(
            evaluations=store.read("evaluation_metrics"),
            weights=store.read("fitted_weights"),
            certificates=store.read("fit_certificates"),
            agreement=_agreement(store),
            samples=_samples(store),
        )
    )
    artifacts.report.parent.mkdir(parents=True, exist_ok=True)
    artifacts.report.write_text(page, encoding="utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(page)),
        metadata={"report": dg.MetadataValue.path(str(artifacts.report)), "bytes": len(page.encode())},
    )


def _agreement(store: Store) -> pl.DataFrame:
    """Returns the agreement and the outcome of each proposition, with the threshold in use."""
    measured = store.read("grader_agreement").drop("threshold")
    accepted = store.read("accepted_propositions")
    return accepted.join(measured, on="proposition", how="left", maintain_order="left").with_columns(
        # A proposition that was not measured has no labels.
        pl.col("n", "n_missing", "n_yes").fill_null(0)
    )


def _samples(store: Store) -> pl.DataFrame:
    """Returns the replies to show: those to the first prompts of each response type, with their class by the grader.

    Returns:
        Columns variant, response_type, prompt, reply and class_name.
    """
    replies = read_evaluated_replies(store)
    first_prompts = (
        replies.unique("prompt_id")
        # Take prompts of the test split first. Take held-out prompts only if the test split has too few.
        .sort(pl.col("split") != "test", "response_type", "prompt_id")
        .group_by("response_type", maintain_order=True)
        .head(SAMPLED_PROMPTS)
    )
    shown = replies.join(first_prompts, on="prompt_id", how="semi", maintain_order="left").unique(
        ["prompt_id", "variant"], keep="first", maintain_order=True
    )
    classified = thresholded_classes(
        shown, store.read("evaluation_grades"), read_snapshot(store, Behavior), read_thresholds(store)
    )
    prompts = [json.loads(messages)[-1]["content"] for messages in classified["messages"]]
    return (
        classified.with_columns(pl.Series("prompt", prompts, dtype=pl.String), pl.col("text").alias("reply"))
        .sort("response_type", "prompt_id", "variant")
        .select("variant", "response_type", "prompt", "reply", "class_name")
    )
