"""Measures how well the grader agrees with gold labels, and accepts the propositions that it judges well enough."""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from rbr.classes.classification import class_rule_propositions
from rbr.grading.acceptance import ACCEPTED, REJECTED, accept_propositions, measure_agreement
from rbr.rulebook import Behavior
from rbr.rulebook.class_effects import unsafe_propositions
from resources.cells import GRADING_TAGS, Cells
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.gold_labels import read_gold_labels
from resources.store.snapshot_content import read_applicability, read_snapshot


@dg.asset(
    group_name="agreement",
    code_version="2",
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

    A proposition that some response type needs has a row even if it has no label. The asset does not read the
    agreement bars, so an edit of a bar does not grade again.
    """
    gold = read_gold_labels(store)
    cells = Cells(store, models, progress, "grader_agreement")
    grades = cells.grade(gold.conversations, gold.questions, grader_in_use(store))
    needed = {name for names in read_applicability(store).values() for name in names}
    measured = measure_agreement(gold.labels, grades, needed)
    return save_table(store, "grader_agreement", measured, metadata={"agreement": preview(measured), **cells.work})


@dg.asset(
    group_name="agreement",
    code_version="2",
    deps=[grader_agreement, snapshot_key("rulebook/behavior")],
    check_specs=[
        dg.AssetCheckSpec(
            "class_rules_use_accepted_propositions",
            asset="accepted_propositions",
            description="Every proposition in a class rule is accepted: on enough gold labels, the grader's balanced "
            "accuracy reaches the bar.",
        ),
        dg.AssetCheckSpec(
            "unsafe_classes_use_accepted_propositions",
            asset="accepted_propositions",
            blocking=True,
            description="Every proposition that decides whether a reply is in an unsafe class is accepted.",
        ),
    ],
)
def accepted_propositions(store: Store) -> dg.MaterializeResult:
    """Which propositions are accepted, rejected or undecided, and the threshold of each proposition.

    Only accepted propositions may be features of their own. If an edit of the gold labels changes no outcome and no
    threshold, the assets below this asset stay up to date.
    """
    behavior = read_snapshot(store, Behavior)
    in_class_rules, unsafe = class_rule_propositions(behavior), unsafe_propositions(behavior)
    rows = accept_propositions(store.read("grader_agreement"), behavior.agreement, in_class_rules)
    return save_table(
        store,
        "accepted_propositions",
        rows,
        unversioned=["reason"],
        metadata={"not accepted": preview(rows.filter(pl.col("outcome") != ACCEPTED).drop("threshold", "advice"))},
        check_results=[
            _acceptance_check("class_rules_use_accepted_propositions", rows, in_class_rules, blocks=False),
            _acceptance_check("unsafe_classes_use_accepted_propositions", rows, unsafe, blocks=True),
        ],
    )


def _acceptance_check(
    name: str, rows: pl.DataFrame, propositions: Sequence[str], *, blocks: bool
) -> dg.AssetCheckResult:
    """Checks that propositions are accepted. The words name the others, and say why, and what to do."""
    concerned = rows.filter(pl.col("proposition").is_in(propositions))
    others = concerned.filter(pl.col("outcome") != ACCEPTED)
    if others.is_empty():
        passed, words = True, f"Accepted: {', '.join(propositions) or 'no proposition is concerned'}."
    else:
        # If a proposition is rejected, the check has failed, whatever the undecided propositions turn out to be.
        passed = False if (others["outcome"] == REJECTED).any() else None
        words = " ".join(
            f"{row['proposition']} is {row['outcome']}: {row['reason']}. {row['advice']}"
            for row in others.iter_rows(named=True)
        )
    metadata = {"not accepted": preview(others.select("proposition", "outcome", "reason"))}
    return check_result(name, passed=passed, words=words, blocks=blocks, metadata=metadata)
