"""Measures how well the grader agrees with gold labels, and accepts the propositions that reach the bar."""

import dagster as dg
import polars as pl

from rbr.classes.classification import class_rule_propositions
from rbr.grading.acceptance import accept_propositions, measure_agreement
from rbr.rulebook import Behavior
from resources.cells import GRADING_TAGS, Cells
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.gold_labels import read_gold_labels
from resources.store.snapshot_content import read_snapshot


@dg.asset(
    group_name="agreement",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        snapshot_key("data/gold_labels"),
        snapshot_key("rulebook/propositions"),
        # A label counts only if the reply's response type needs the proposition.
        snapshot_key("rulebook/applicability"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def grader_agreement(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Agreement of the grader with the gold labels, and the best threshold, of each proposition.

    The asset does not read the agreement bars, so an edit of a bar does not grade again.
    """
    gold = read_gold_labels(store)
    cells = Cells(store, models, progress, "grader_agreement")
    grades = cells.grade(gold.conversations, gold.questions, grader_in_use(store))
    measured = measure_agreement(gold.labels, grades)
    return save_table(store, "grader_agreement", measured, metadata={"agreement": preview(measured), **cells.work})


@dg.asset(
    group_name="agreement",
    code_version="1",
    deps=[grader_agreement, snapshot_key("rulebook/behavior")],
    check_specs=[
        dg.AssetCheckSpec(
            "class_rules_use_accepted_propositions",
            asset="accepted_propositions",
            description="The grader reaches the agreement bar on every proposition in a class rule.",
        )
    ],
)
def accepted_propositions(store: Store) -> dg.MaterializeResult:
    """Which propositions may be features, and the threshold of each proposition.

    If an edit of the gold labels changes neither, the assets below this asset stay up to date.
    """
    behavior = read_snapshot(store, Behavior)
    rows = accept_propositions(store.read("grader_agreement"), behavior.agreement)
    return save_table(store, "accepted_propositions", rows, check_results=[_bar_check(rows, behavior)])


def _bar_check(rows: pl.DataFrame, behavior: Behavior) -> dg.AssetCheckResult:
    accepted = set(rows.filter("accepted")["proposition"])
    below = [name for name in class_rule_propositions(behavior) if name not in accepted]
    return dg.AssetCheckResult(
        check_name="class_rules_use_accepted_propositions",
        passed=not below,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"below the bar or without labels": ", ".join(below) or "none"},
    )
