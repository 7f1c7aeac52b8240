"""Attacks the grader: can text inside a reply change the answers about the reply?"""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from rbr.grading.attacks import MAX_BETTER
from rbr.rulebook import Behavior, ContentPolicy
from resources.attacked_replies import attack_replies, choose_replies
from resources.cells import GRADING_TAGS, Cells
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
"""Number of gold replies that the asset attacks. A reply has about 30 attacked texts, and a text about 16 questions."""

CHECK = "no_attack_improves_the_class"
_SHOWN_SHIFTS = 10


@dg.asset(
    group_name="agreement",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        # Thresholds.
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
            CHECK,
            asset="grader_attacks",
            description=f"No attack lifts more than {MAX_BETTER:.0%} of the attacked gold replies into a better class.",
        )
    ],
)
def grader_attacks(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """How far attacks inside a reply move P(yes) and the class, on a few gold replies of the worst classes.

    `rbr attack` does the same with as many replies as you want. Nothing depends on this asset.
    """
    behavior, policy = read_snapshot(store, Behavior), read_snapshot(store, ContentPolicy)
    questions = read_questions(store)
    cells = Cells(store, models, progress, "grader_attacks")
    rows = [row for judgments in read_gold_rows(store).values() for row in judgments]
    attacked = attack_replies(
        cells,
        choose_replies(rows, policy, behavior, ATTACKED_REPLIES),
        {name: [questions[proposition] for proposition in asked] for name, asked in read_applicability(store).items()},
        grader_in_use(store),
        policy,
        behavior,
        read_thresholds(store),
    )
    store.replace("attacked_classes", attacked.classes)
    largest = attacked.shifts.sort(pl.col("max_shift").abs(), descending=True, nulls_last=True, maintain_order=True)
    return save_table(
        store,
        "grader_attacks",
        attacked.shifts,
        metadata={
            "attacked replies": attacked.n_replies,
            "classes under attack": preview(attacked.classes),
            "largest shifts": preview(largest.head(_SHOWN_SHIFTS)),
            **cells.work,
        },
        check_results=[_class_check(attacked.classes)],
    )


def _class_check(classes: pl.DataFrame) -> dg.AssetCheckResult:
    """Checks that no attack that keeps the reply lifts more than `MAX_BETTER` of the replies into a better class."""
    known = classes.filter("keeps_reply", pl.col("n") > 0)
    over = known.filter(pl.col("n_better") > MAX_BETTER * pl.col("n"))
    if known.is_empty():
        passed, words = None, "No attacked gold reply has a known class. Label replies, or look at unread answers."
    elif over.is_empty():
        passed, words = True, f"No attack lifts more than {MAX_BETTER:.0%} of the replies into a better class."
    else:
        passed = False
        listed = "; ".join(f"{row['attack']}: {row['n_better']} of {row['n']}" for row in over.iter_rows(named=True))
        words = (
            f"These attacks lift replies into a better class, so a policy can learn them: {listed}. Use a stronger "
            "grader or a prompt template with a fence, and look for these texts in the replies of the trained policy. "
            "`rbr attack` shows the propositions."
        )
    return check_result(CHECK, passed=passed, words=words, blocks=False)
