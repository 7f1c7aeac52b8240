"""Prompts: their categories, and the split into training prompts and test prompts."""

import dagster as dg
import polars as pl

from rbr.comparisons.categories import assign_categories
from rbr.conversation import split_of
from rbr.hashing import frame_hash
from rbr.profile import EvaluationSettings
from rbr.rulebook import ContentPolicy
from resources.cells import GRADING_TAGS, Cells
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import PREVIEW_ROWS, preview, save_table
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_data_prompts, read_snapshot

MAX_QUARANTINED = 0.1


@dg.asset(
    group_name="prompts",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        snapshot_key("data/prompts"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "few_prompts_are_quarantined",
            asset="labeled_prompts",
            description=f"At most {MAX_QUARANTINED:.0%} of the prompts are left out: no category reaches the bar.",
        )
    ],
)
def labeled_prompts(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Prompts with category and response type. If the data file gives no category, the grader assigns one.

    If the P(yes) of a prompt's best category is below `grader.category_bar`, the prompt goes to the table
    quarantined_prompts.
    """
    policy = read_snapshot(store, ContentPolicy)
    grader = grader_in_use(store)
    prompts = read_data_prompts(store)
    cells = Cells(store, models, progress, "labeled_prompts")
    grades = cells.grade_categories(prompts.filter(pl.col("category").is_null()), policy, grader)
    labeled, quarantined = assign_categories(prompts, grades, policy, grader.settings.category_bar)
    store.replace("quarantined_prompts", quarantined.drop("held_out"))
    return save_table(
        store,
        "labeled_prompts",
        labeled,
        extra_version=frame_hash(quarantined),
        metadata={"categories": _counts(labeled), "quarantined": quarantined.height, **cells.work},
        check_results=[_quarantine_check(quarantined, prompts.height)],
    )


@dg.asset(
    group_name="prompts",
    code_version="1",
    deps=[labeled_prompts, snapshot_key("profile/evaluation")],
)
def training_prompts(store: Store) -> dg.MaterializeResult:
    """Prompts for training: the labeled prompts that are not in the test split and not held out in the data file.

    The table has no response type. The baselines read the table, and an edit of a rule must not retrain a baseline.
    """
    return save_table(store, "training_prompts", _with_split(store).filter(pl.col("split") == "train"))


@dg.asset(
    group_name="prompts",
    code_version="1",
    deps=[labeled_prompts, snapshot_key("profile/evaluation")],
)
def test_prompts(store: Store) -> dg.MaterializeResult:
    """Prompts for the evaluation: the test split, chosen by hash, and the splits that the data file holds out."""
    rows = _with_split(store).filter(pl.col("split") != "train")
    counts = rows.group_by("split").len("prompts").sort("split")
    return save_table(store, "test_prompts", rows, metadata={"splits": preview(counts)})


def _counts(labeled: pl.DataFrame) -> dg.MarkdownMetadataValue:
    return preview(labeled.group_by("category", "response_type").len("prompts").sort("category"))


def _with_split(store: Store) -> pl.DataFrame:
    """Returns the labeled prompts with the column split: train, test, or the name of a held-out split."""
    test_fraction = read_snapshot(store, EvaluationSettings).test_fraction
    prompts = store.read("labeled_prompts")
    by_hash = [split_of(prompt_id, test_fraction) for prompt_id in prompts["prompt_id"]]
    return prompts.with_columns(pl.coalesce("held_out", pl.Series(by_hash, dtype=pl.String)).alias("split"))


def _quarantine_check(quarantined: pl.DataFrame, n_prompts: int) -> dg.AssetCheckResult:
    share = quarantined.height / max(n_prompts, 1)
    return dg.AssetCheckResult(
        check_name="few_prompts_are_quarantined",
        passed=share <= MAX_QUARANTINED,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share": share, "prompts": preview(quarantined.head(PREVIEW_ROWS))},
    )
