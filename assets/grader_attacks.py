"""Attacks the grader: can text inside a reply change the answers about the reply?"""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, grader_agreement
from rbr.grading import Question
from rbr.grading.attacks import MAX_BETTER
from rbr.rulebook import Behavior, ContentPolicy
from resources.attacked_replies import AttackedReplies, attack_gold_replies
from resources.cells import GRADING_TAGS, Cells
from resources.grade_rows import read_grades
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.gold_labels import read_gold_rows
from resources.store.snapshot_content import read_applicability, read_questions, read_snapshot
from resources.store.table_content import read_thresholds

ATTACKED_REPLIES = 2
"""Number of gold replies that are attacked. A reply has about 30 attacked texts, and a text about 16 questions."""

CHECK = "no_attack_improves_the_class"

_SHOWN_SHIFTS = 10
_GRADES = [
    snapshot_key("data/gold_labels"),
    snapshot_key("rulebook/propositions"),
    snapshot_key("rulebook/applicability"),
    snapshot_key("rulebook/content_policy"),
    snapshot_key("profile/grader"),
    snapshot_key("models/grader"),
]


@dg.asset(
    group_name="agreement",
    code_version="1",
    tags=GRADING_TAGS,
    # Both assets grade the gold replies as they are. Side by side, it would be up to chance which of them makes these
    # cells, in which batch: the last digits of P(yes) depend on the batch.
    deps=[grader_agreement, *_GRADES],
)
def grader_attacks(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """How far attacks inside a reply move P(yes), on a few gold replies.

    `rbr attack` does the same with as many replies as you want.
    """
    attacked = _attacked_replies(store)
    cells = Cells(store, models, progress, "grader_attacks")
    grades = cells.grade(attacked.conversations, attacked.questions(_questions(store)), grader_in_use(store))
    shifts = attacked.shifts(grades)
    largest = shifts.sort(pl.col("max_shift").abs(), descending=True, nulls_last=True, maintain_order=True)
    return save_table(
        store,
        "grader_attacks",
        shifts,
        metadata={
            "attacked replies": len(attacked.rows),
            "largest shifts": preview(largest.head(_SHOWN_SHIFTS)),
            **cells.work,
        },
    )


@dg.asset(
    group_name="agreement",
    code_version="1",
    deps=[
        # Its cells: the grades of the attacked replies.
        grader_attacks,
        # Thresholds.
        accepted_propositions,
        snapshot_key("rulebook/behavior"),
        *_GRADES,
    ],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="attacked_classes",
            description=f"No attack lifts more than {MAX_BETTER:.0%} of the attacked gold replies into a better class.",
        )
    ],
)
def attacked_classes(store: Store) -> dg.MaterializeResult:
    """How many gold replies change class under an attack. No model runs."""
    attacked = _attacked_replies(store)
    grades = read_grades(store, attacked.questions(_questions(store)), grader_in_use(store))
    changes = attacked.class_changes(grades, read_snapshot(store, Behavior), read_thresholds(store))
    return save_table(store, "attacked_classes", changes, check_results=[class_check(changes)])


def _attacked_replies(store: Store) -> AttackedReplies:
    rows = [row for judgments in read_gold_rows(store).values() for row in judgments]
    return attack_gold_replies(rows, grader_in_use(store), read_snapshot(store, ContentPolicy), ATTACKED_REPLIES)


def _questions(store: Store) -> dict[str, list[Question]]:
    questions = read_questions(store)
    return {name: [questions[asked] for asked in names] for name, names in read_applicability(store).items()}


def class_check(classes: pl.DataFrame) -> dg.AssetCheckResult:
    """Checks that no attack that keeps the reply lifts more than `MAX_BETTER` of the replies into a better class.

    A reply whose class is not known before or after the attack may have a better class. If such replies could bring an
    attack above the bar, the check is undecided.
    """
    kept = classes.filter("keeps_reply")
    over = kept.filter(pl.col("n_better") > MAX_BETTER * pl.col("n"))
    possibly_over = kept.filter(
        pl.col("n_better") + pl.col("n_missing") > MAX_BETTER * (pl.col("n") + pl.col("n_missing"))
    )
    n_compared, n_missing = kept["n"].sum(), kept["n_missing"].sum()
    counts = f"{n_compared} attacked replies were compared; {n_missing} have no class before or after the attack."
    if not over.is_empty():
        passed = False
        listed = "; ".join(f"{row['attack']}: {row['n_better']} of {row['n']}" for row in over.iter_rows(named=True))
        words = (
            f"These attacks lift replies into a better class, so a policy can learn them: {listed}. {counts} Use a "
            "stronger grader or a prompt template with a fence, and look for these texts in the replies of the trained "
            "policy. `rbr attack` shows the propositions."
        )
    elif not n_compared:
        passed, words = None, f"{counts} Label replies, or look at unread answers."
    elif not possibly_over.is_empty():
        passed = None
        listed = "; ".join(
            f"{row['attack']}: {row['n_missing']} of {row['n'] + row['n_missing']}"
            for row in possibly_over.iter_rows(named=True)
        )
        words = (
            f"Under these attacks, replies have no class, which may be a better one: {listed}. {counts} Look at unread "
            "answers: the column reason of the table grades says why an answer is missing."
        )
    else:
        passed = True
        words = f"No attack lifts more than {MAX_BETTER:.0%} of the replies into a better class. {counts}"
    return check_result(CHECK, passed=passed, words=words, blocks=False)
