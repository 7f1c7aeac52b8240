"""Prompts: their categories, and which of them are for training and which for the evaluation."""

import dagster as dg
import polars as pl

from assets.snapshots import snapshot_key
from rbr.comparisons.categories import label_prompts
from rbr.conversation import split_of
from rbr.grading import Question
from rbr.hashing import frame_hash
from rbr.profile import EvaluationSettings, GraderSettings
from rbr.rulebook import ContentPolicy
from resources.asset_tags import GRADING
from resources.cells import Cells, grader_version
from resources.models import Models
from resources.pages.tables import PREVIEW_ROWS, preview, save_table
from resources.progress import Progress
from resources.store import Store
from resources.stored_inputs import as_json, read_model, read_snapshot

MAX_QUARANTINED = 0.1


@dg.asset(
    group_name="prompts",
    code_version="1",
    tags=GRADING,
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
            description=f"At most {MAX_QUARANTINED:.0%} of the prompts are left out for want of a sure category.",
        )
    ],
)
def labeled_prompts(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Prompts with their category, given or asked of the grader, and its response type.

    A prompt whose best category stays below `grader.category_bar` goes to the table quarantined_prompts.
    """
    policy = read_snapshot(store, ContentPolicy)
    settings = read_snapshot(store, GraderSettings)
    grader = read_model(store, "grader")
    prompts = store.snapshot("data/prompts")
    unlabeled = {row["prompt_id"]: row["messages"] for row in prompts if row["category"] is None}
    questions = {code: Question(code, category.question) for code, category in policy.categories.items()}
    cells = Cells(store, progress, "labeled_prompts")
    grades = cells.grade(
        unlabeled,
        {prompt_id: list(questions) for prompt_id in unlabeled},
        questions,
        lambda: models.grader(grader.ref, settings),
        grader_version(grader.fingerprint, settings),
        settings,
    )
    labeled, quarantined = label_prompts(
        _as_frame(prompts),
        grades.rename({"completion_id": "prompt_id", "proposition": "category"}),
        policy,
        settings.category_bar,
    )
    store.replace("quarantined_prompts", quarantined.drop("held_out"))
    counts = labeled.group_by("category", "response_type").len("prompts").sort("category")
    return save_table(
        store,
        "labeled_prompts",
        labeled,
        beside=frame_hash(quarantined),
        metadata={"categories": preview(counts), "quarantined": quarantined.height, **cells.work},
        check_results=[_quarantine_check(quarantined, len(prompts))],
    )


@dg.asset(
    group_name="prompts",
    code_version="1",
    deps=[labeled_prompts, snapshot_key("profile/evaluation")],
)
def training_prompts(store: Store) -> dg.MaterializeResult:
    """Prompts that training may see: neither held out nor, by their hash, for testing.

    They carry no response type: the baselines read them, and an edit of a rule must not retrain a baseline.
    """
    return save_table(store, "training_prompts", _with_split(store).filter(pl.col("split") == "train"))


@dg.asset(
    group_name="prompts",
    code_version="1",
    deps=[labeled_prompts, snapshot_key("profile/evaluation")],
)
def test_prompts(store: Store) -> dg.MaterializeResult:
    """Prompts for the evaluation: the test share by hash, and the splits that the data file holds out."""
    rows = _with_split(store).filter(pl.col("split") != "train")
    counts = rows.group_by("split").len("prompts").sort("split")
    return save_table(store, "test_prompts", rows, metadata={"splits": preview(counts)})


def _as_frame(prompts: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(
        [(row["prompt_id"], as_json(row["messages"]), row["category"], row["held_out"]) for row in prompts],
        schema={"prompt_id": pl.String, "messages": pl.String, "category": pl.String, "held_out": pl.String},
        orient="row",
    )


def _with_split(store: Store) -> pl.DataFrame:
    test_fraction = read_snapshot(store, EvaluationSettings).test_fraction
    prompts = store.read("labeled_prompts")
    by_hash = [split_of(prompt_id, test_fraction) for prompt_id in prompts["prompt_id"]]
    return prompts.with_columns(pl.coalesce("held_out", pl.Series(by_hash, dtype=pl.String)).alias("split"))


def _quarantine_check(quarantined: pl.DataFrame, prompts: int) -> dg.AssetCheckResult:
    share = quarantined.height / max(prompts, 1)
    return dg.AssetCheckResult(
        check_name="few_prompts_are_quarantined",
        passed=share <= MAX_QUARANTINED,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share": share, "prompts": preview(quarantined.head(PREVIEW_ROWS))},
    )
