"""Measures how well the grader agrees with people, and accepts the propositions that it judges well enough."""

from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from rbr.agreement.acceptance import ACCEPTED, REJECTED, accept_propositions
from rbr.agreement.category_agreement import (
    compare_categories,
    find_categories,
    overall_accuracy,
    sample_categorized,
)
from rbr.agreement.gold_agreement import agreement_by_proposition
from rbr.agreement.intervals import Estimate
from rbr.agreement.judgments import match_judgments
from rbr.agreement.reliability import bins_by_proposition
from rbr.classes.classification import class_rule_propositions
from rbr.comparisons.categories import check_categories
from rbr.conversation import prompt_id
from rbr.profile import GraderSettings
from rbr.rulebook import Behavior, ContentPolicy
from rbr.rulebook.class_effects import unsafe_propositions
from resources.cells import GRADING_TAGS, Cells
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.asset_plots import reliability_plot
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.gold_labels import read_gold_labels
from resources.store.snapshot_content import read_applicability, read_data_prompts, read_snapshot

PROMPTS_PER_CATEGORY = 20
"""Largest number of prompts of a category on which `category_agreement` asks the grader. With 20 prompts, all of them
right, the 95 % interval of a share begins at 0.84. An answer costs one question per category of the content policy: the
rulebook of this repository has 10, so the sample costs at most 10 * 20 * 10 = 2,000 grades, once per grader."""

SHOWN_UNREAD = 5
"""Number of propositions that a check on missing grades names."""


@dg.asset(
    group_name="agreement",
    code_version="3",
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
    check_specs=[
        dg.AssetCheckSpec(
            "gold_labels_are_graded",
            asset="grader_agreement",
            blocking=True,
            description="At most `grader.max_unread` of the gold labels have no grade.",
        )
    ],
)
def grader_agreement(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Agreement of the grader with the gold labels, and the best threshold, of each proposition.

    A proposition that some response type needs has a row even if it has no label. The asset does not read the
    agreement bars, so an edit of a bar does not grade again.
    """
    gold = read_gold_labels(store)
    grader = grader_in_use(store)
    cells = Cells(store, models, progress, "grader_agreement")
    grades = cells.grade(gold.conversations, gold.questions, grader)
    needed = {name for names in read_applicability(store).values() for name in names}
    # Replies to the same prompt resemble each other, so the intervals count them as less than independent labels.
    prompts = {completion: prompt_id(messages[:-1]) for completion, messages in gold.conversations.items()}
    labels = gold.labels.with_columns(
        pl.col("completion_id").replace_strict(prompts, return_dtype=pl.String).alias("prompt_id")
    )
    judgments = match_judgments(labels, grades, needed)
    measured, bins = agreement_by_proposition(judgments), bins_by_proposition(judgments)
    intervals = [name for name in measured.columns if name.endswith(("_low", "_high"))]
    return save_table(
        store,
        "grader_agreement",
        measured,
        metadata={
            "agreement": preview(measured.drop(intervals)),
            "95 % intervals": preview(measured.select("proposition", *intervals)),
            "reliability": reliability_plot(bins),
            "gold replies with a thought that does not end": gold.n_unclosed,
            "gold replies with a closing mark that ends no thought": gold.n_unopened,
            **cells.work,
        },
        check_results=[_graded_check(measured, grader.settings)],
    )


@dg.asset(
    group_name="agreement",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        snapshot_key("data/prompts"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def category_agreement(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Agreement of the grader's categories with those of the data file, on a sample of the prompts that have one.

    The sample has at most 20 prompts of each category, chosen by hash. No later asset reads the table: the category of
    a prompt is the one in the data file, if there is one.
    """
    policy, grader = read_snapshot(store, ContentPolicy), grader_in_use(store)
    sample = sample_categorized(read_data_prompts(store), PROMPTS_PER_CATEGORY)
    check_categories(sample["category"], policy, where="data/prompts")
    cells = Cells(store, models, progress, "category_agreement")
    grades = cells.grade_categories(sample, policy, grader)
    found = find_categories(sample, grades, policy, grader.settings.category_bar)
    measured = compare_categories(found, policy)
    return save_table(
        store,
        "category_agreement",
        measured,
        metadata={
            "agreement": preview(
                measured.drop([name for name in measured.columns if name.endswith(("_low", "_high"))])
            ),
            "confusion": preview(_confusion(found)),
            "prompts": sample.height,
            "prompts without a known answer": int(found["found"].null_count()),
            **{
                f"share with the right {name}": _shown(share) for name, share in overall_accuracy(found, policy).items()
            },
            **cells.work,
        },
    )


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


def _confusion(found: pl.DataFrame) -> pl.DataFrame:
    """Counts the prompts by given category and category by the grader."""
    named = found.with_columns(pl.col("found").fill_null("not known"))
    return named.group_by("category", "found").len("prompts").sort("category", "found")


def _shown(share: Estimate) -> str:
    return f"{share.value:.2f} ({share.low:.2f}-{share.high:.2f})"


def _graded_check(measured: pl.DataFrame, settings: GraderSettings) -> dg.AssetCheckResult:
    """Checks that few gold labels have no grade. The words name the propositions that lack the most."""
    name, bar = "gold_labels_are_graded", settings.max_unread
    n_missing, n_refused = int(measured["n_missing"].sum()), int(measured["n_refused"].sum())
    n_labels = int(measured["n"].sum()) + n_missing
    metadata: Mapping[str, int] = {"labels": n_labels, "labels without a grade": n_missing, "refused": n_refused}
    if not n_labels:
        words = "No gold label is about a proposition that the rules need. Add labels: docs/labeling.md says how."
        return check_result(name, passed=None, words=words, blocks=True, metadata=metadata)
    share = n_missing / n_labels
    words = f"{n_missing} of {n_labels} gold labels ({share:.0%}) have no grade; grader.max_unread is {bar:g}."
    if n_missing:
        unread = measured.filter(pl.col("n_missing") > 0)
        worst = unread.sort(-pl.col("n_missing") / (pl.col("n") + pl.col("n_missing")), "proposition")
        named = ", ".join(
            f"{row['proposition']} {row['n_missing']} of {row['n'] + row['n_missing']}"
            for row in worst.head(SHOWN_UNREAD).iter_rows(named=True)
        )
        more = f" and {unread.height - SHOWN_UNREAD} more" if unread.height > SHOWN_UNREAD else ""
        words += f" Without a grade: {named}{more}. A content filter refused {n_refused} of the {n_missing}."
    passed = share <= bar
    if not passed:
        words += (
            " Use a grader without a content filter."
            if 2 * n_refused > n_missing
            else " Check grader.yes, grader.no and grader.min_mass: the table grades says what the grader answered."
        )
    return check_result(name, passed=passed, words=words, blocks=True, metadata=metadata)


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
