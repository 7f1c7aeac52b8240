"""Compares class probabilities with gold labels: are they right although they treat propositions as independent?"""

from collections.abc import Mapping

import dagster as dg
import numpy as np
import polars as pl

from assets.agreement import accepted_propositions
from rbr.agreement.class_calibration import MATCHES, TOLERANCE, TOO_HIGH, TOO_LOW, UNDECIDED, compare_classes
from rbr.agreement.dependent_pairs import APART, TOGETHER, dependent_pairs
from rbr.agreement.judged_replies import JudgedReplies, judge_gold_replies
from rbr.classes.independence import class_probability_bounds
from rbr.rulebook import Behavior, ContentPolicy
from resources.grade_rows import read_grades
from resources.models import grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.check_results import check_result
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.gold_labels import read_gold_labels, read_gold_rows
from resources.store.snapshot_content import read_snapshot
from resources.store.table_content import read_thresholds

SHOWN_PAIRS = 10
"""Number of pairs of propositions on the asset's page."""

_TOLERANCE = f"{100 * TOLERANCE:.0f} points or more"


@dg.asset(
    group_name="agreement",
    code_version="1",
    deps=[
        # Thresholds. Its ancestor grader_agreement has asked the grader about the gold replies.
        accepted_propositions,
        snapshot_key("data/gold_labels"),
        snapshot_key("rulebook/propositions"),
        snapshot_key("rulebook/applicability"),
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "independence_holds_on_gold_labels",
            asset="class_agreement",
            description="On the gold replies, the dependence of propositions moves no mean class probability by "
            f"{_TOLERANCE}.",
        )
    ],
)
def class_agreement(store: Store) -> dg.MaterializeResult:
    """Class probabilities of the gold replies, compared with the classes by their labels. No model runs."""
    behavior = read_snapshot(store, Behavior)
    grades = read_grades(store, read_gold_labels(store).questions, grader_in_use(store))
    judged = judge_gold_replies(
        read_gold_rows(store), grades, behavior, read_snapshot(store, ContentPolicy), read_thresholds(store)
    )
    bars = behavior.agreement
    compared = _by_response_type(
        {
            name: compare_classes(replies, min_labels=bars.min_labels, min_read=bars.min_read)
            for name, replies in judged.items()
        }
    )
    pairs = _by_response_type(
        {name: dependent_pairs(replies, min_labels=bars.min_labels) for name, replies in judged.items()}
    )
    return save_table(
        store,
        "class_agreement",
        compared,
        metadata={
            "class probabilities": preview(compared.drop("observed_low", "observed_high", "gap_low", "gap_high")),
            "propositions that move together": _preview_found(pairs),
            "replies whose class no dependence can change": preview(
                pl.DataFrame([_count_fixed(name, replies) for name, replies in judged.items()], orient="row")
            ),
        },
        check_results=[_independence_check(compared)],
    )


def _by_response_type(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([table.insert_column(0, pl.lit(name).alias("response_type")) for name, table in tables.items()])


def _preview_found(pairs: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Shows the pairs that depend on each other, the largest effect on a class first."""
    found = pairs.filter(pl.col("verdict").is_in([TOGETHER, APART]))
    if found.is_empty():
        undecided = pairs.filter(pl.col("verdict") == UNDECIDED)["response_type"].unique(maintain_order=True)
        few = f" Too few gold labels: {', '.join(undecided)}." if len(undecided) else ""
        return dg.MetadataValue.md(f"No dependence found.{few}")
    by_size = pl.col("missed_probability").abs()
    return preview(found.sort(by_size, descending=True, maintain_order=True).head(SHOWN_PAIRS))


def _count_fixed(response_type: str, judged: JudgedReplies) -> dict[str, object]:
    """Counts the replies with a class that is more probable than all others under any dependence."""
    lower, _ = class_probability_bounds(judged.features.diagram, judged.p[judged.read])
    fixed = int(np.count_nonzero(lower.max(axis=1, initial=0.0) > 0.5))
    return {"response_type": response_type, "readable replies": len(lower), "class cannot change": fixed}


def _independence_check(compared: pl.DataFrame) -> dg.AssetCheckResult:
    """Checks that dependence moves no mean class probability by `TOLERANCE`."""
    off = compared.filter(pl.col("dependence_verdict").is_in([TOO_LOW, TOO_HIGH]))
    undecided = compared.filter(pl.col("dependence_verdict") == UNDECIDED)
    if not off.is_empty():
        passed = False
        listed = "; ".join(
            f"{row['response_type']}, {row['class_name']}: {row['dependence_verdict']} by {abs(row['dependence']):.2f}"
            for row in off.iter_rows(named=True)
        )
        words = (
            f"Propositions depend on each other, so these class probabilities are wrong: {listed}. See `propositions "
            "that move together`. Combine such propositions into one question, or change the class rule."
        )
    elif not undecided.is_empty():
        passed = None
        listed = "; ".join(
            f"{row['response_type']} ({row['n']} readable gold replies)"
            for row in undecided.unique("response_type", maintain_order=True).iter_rows(named=True)
        )
        words = f"The gold labels do not show whether independence holds for {listed}. Label more replies."
    else:
        passed, words = True, f"Dependence moves no mean class probability by {_TOLERANCE}."
    return check_result(
        "independence_holds_on_gold_labels", passed=passed, words=words + _other_gaps(compared), blocks=False
    )


def _other_gaps(compared: pl.DataFrame) -> str:
    """Returns a sentence about the worst mean probabilities that are wrong for another reason than dependence."""
    wrong = compared.filter(pl.col("verdict").is_in([TOO_LOW, TOO_HIGH]), pl.col("dependence_verdict") == MATCHES)
    worst = wrong.sort(pl.col("gap").abs(), descending=True, maintain_order=True).unique(
        "response_type", keep="first", maintain_order=True
    )
    if worst.is_empty():
        return ""
    figures = worst.select("response_type", "class_name", "mean_probability", "observed").iter_rows()
    listed = "; ".join(f"{name}, {of}: {mean:.2f} instead of {share:.2f}" for name, of, mean, share in figures)
    return (
        f" The grades of single propositions, not dependence, make other mean probabilities wrong, above all {listed}. "
        "See `grader_agreement`."
    )
