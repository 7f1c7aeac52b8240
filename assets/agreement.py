"""The grader against people: its agreement with gold labels, and what follows for each proposition."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from assets.snapshots import snapshot_key
from rbr.classes.classification import propositions_of_rules
from rbr.comparisons.categories import check_categories
from rbr.grading.acceptance import accept, measure_agreement
from rbr.hashing import content_hash
from rbr.profile import GraderSettings
from rbr.rulebook import Behavior, ContentPolicy
from resources.asset_tags import GRADING
from resources.cells import Cells, grader_version
from resources.models import Models
from resources.pages.tables import preview, save_table
from resources.progress import Progress
from resources.store import Store
from resources.stored_inputs import proposition_questions, read_applicability, read_model, read_snapshot


@dg.asset(
    group_name="agreement",
    code_version="1",
    tags=GRADING,
    deps=[
        snapshot_key("data/gold_labels"),
        snapshot_key("rulebook/propositions"),
        # Labels are scored only where the reply's response type asks for the proposition.
        snapshot_key("rulebook/applicability"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def grader_agreement(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """How well the grader agrees with gold labels, per proposition, with intervals and the best threshold.

    The bars are not read here, so a moved bar regrades nothing.
    """
    settings = read_snapshot(store, GraderSettings)
    grader = read_model(store, "grader")
    # A reply stands for one completion, however many people judged it.
    gold = [(content_hash([row["messages"], row["reply"]]), row) for row in store.snapshot("data/gold_labels")]
    labels = _applicable_labels(store, gold)
    asked = labels.group_by("completion_id", maintain_order=True).agg(pl.col("proposition").unique().sort())
    cells = Cells(store, progress, "grader_agreement")
    grades = cells.grade(
        {cell: [*row["messages"], {"role": "assistant", "content": row["reply"]}] for cell, row in gold},
        dict(asked.iter_rows()),
        proposition_questions(store),
        lambda: models.grader(grader.ref, settings),
        grader_version(grader.fingerprint, settings),
        settings,
    )
    measured = measure_agreement(labels, grades)
    return save_table(store, "grader_agreement", measured, metadata={"agreement": preview(measured), **cells.work})


@dg.asset(
    group_name="agreement",
    code_version="1",
    deps=[grader_agreement, snapshot_key("rulebook/behavior")],
    check_specs=[
        dg.AssetCheckSpec(
            "class_rules_use_accepted_propositions",
            asset="accepted_propositions",
            description="The grader reaches the agreement bar on every proposition that a class rule names.",
        )
    ],
)
def accepted_propositions(store: Store) -> dg.MaterializeResult:
    """Which propositions may be features, and from which P(yes) on each counts as true.

    An edit of the gold labels that moves neither stops here.
    """
    behavior = read_snapshot(store, Behavior)
    rows = accept(store.read("grader_agreement"), behavior.agreement)
    return save_table(store, "accepted_propositions", rows, check_results=[_bar_check(rows, behavior)])


def read_thresholds(store: Store) -> dict[str, float]:
    """Decision threshold by proposition."""
    return dict(store.read("accepted_propositions").select("proposition", "threshold").iter_rows())


def read_accepted(store: Store) -> list[str]:
    """Propositions that the grader judges well enough to be features, sorted."""
    return store.read("accepted_propositions").filter("accepted")["proposition"].to_list()


def _applicable_labels(store: Store, gold: Sequence[tuple[str, dict]]) -> pl.DataFrame:
    policy = read_snapshot(store, ContentPolicy)
    check_categories([row["category"] for _, row in gold], policy, where="data/gold_labels")
    applicable = read_applicability(store)
    rows = [
        (cell, name, row["labels"][name])
        for cell, row in gold
        for name in applicable[policy.response_type(row["category"])]
        if name in row["labels"]
    ]
    schema = {"completion_id": pl.String, "proposition": pl.String, "truth": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _bar_check(rows: pl.DataFrame, behavior: Behavior) -> dg.AssetCheckResult:
    accepted = set(rows.filter("accepted")["proposition"])
    below = [name for name in propositions_of_rules(behavior) if name not in accepted]
    return dg.AssetCheckResult(
        check_name="class_rules_use_accepted_propositions",
        passed=not below,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"below the bar or without labels": ", ".join(below) or "none"},
    )
