"""Prompts: their categories, and the split into training prompts and test prompts."""

from collections.abc import Collection, Sequence

import dagster as dg
import polars as pl

from rbr.comparisons.categories import assign_categories
from rbr.comparisons.prompt_counts import PromptCount, count_prompts, describe_test_counts, describe_training_counts
from rbr.conversation import split_of
from rbr.hashing import content_hash, frame_hash
from rbr.profile import EvaluationSettings, FitSettings, SynthesisSettings
from rbr.rulebook import ContentPolicy
from resources.cells import GRADING_TAGS, Cells
from resources.models import Models, grader_in_use
from resources.pages.asset_pages import PREVIEW_ROWS, preview, save_table
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_data_prompts, read_snapshot

MAX_QUARANTINED = 0.1


@dg.asset(
    group_name="prompts",
    code_version="2",
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
            description=f"At most {MAX_QUARANTINED:.0%} of the prompts are left out because their category is open.",
        )
    ],
)
def labeled_prompts(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Prompts with category and response type. If the data file gives no category, the grader assigns one.

    If the P(yes) of a prompt's best category is below `grader.category_bar`, or if an answer that could change the
    category could not be read, the prompt goes to the table quarantined_prompts, with the reason.
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
        check_results=[_quarantine_check(quarantined, prompts.height, grader.settings.category_bar)],
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


@dg.asset(
    group_name="prompts",
    code_version="1",
    deps=[
        # Not training_prompts: the baselines read it, and must not be made again after an edit of these settings.
        labeled_prompts,
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/evaluation"),
        snapshot_key("profile/synthesis"),
        snapshot_key("profile/fit"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "response_types_have_training_prompts",
            asset="prompt_counts",
            blocking=True,
            description="Each response type of the content policy has enough prompts for the fit and its error rates.",
        ),
        dg.AssetCheckSpec(
            "response_types_have_test_prompts",
            asset="prompt_counts",
            blocking=True,
            description="Each response type of the content policy has enough test prompts.",
        ),
    ],
)
def prompt_counts(store: Store) -> dg.MaterializeResult:
    """The number of prompts of each response type and split. The checks stop the run before a model works.

    The data version contains only the counts that are too small. Other counts reach no later asset.
    """
    counts = read_prompt_counts(store)
    shortfalls = [(count.response_type, count.training_shortfall, count.test_shortfall) for count in counts]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash([row for row in shortfalls if any(row[1:])])),
        metadata={"counts": preview(_as_frame(counts))},
        check_results=check_prompt_counts(counts, store.read("quarantined_prompts").height),
    )


def read_prompt_counts(store: Store, without: Collection[str] = ()) -> list[PromptCount]:
    """Counts the labeled prompts of each response type.

    Args:
        store: The store.
        without: Ids of prompts that are not counted.
    """
    categories = read_snapshot(store, ContentPolicy).categories
    prompts = _with_split(store).filter(~pl.col("prompt_id").is_in(list(without)))
    return count_prompts(
        prompts,
        {code: category.response_type for code, category in categories.items()},
        prompts_per_response_type=read_snapshot(store, SynthesisSettings).prompts_per_response_type,
        held_out_fraction=read_snapshot(store, FitSettings).held_out_fraction,
    )


def check_prompt_counts(counts: Sequence[PromptCount], quarantined: int) -> list[dg.AssetCheckResult]:
    """Checks that each response type has enough training prompts and enough test prompts.

    Args:
        counts: The counts, from `read_prompt_counts`.
        quarantined: Number of quarantined prompts. They are not counted, so they may be the cause of a low count.
    """
    cause = f" Quarantined prompts are not counted: {quarantined}. The check of labeled_prompts says why."
    return [
        check_result(
            name,
            passed=not any(shortfalls),
            words=f"{words}{cause}" if quarantined and any(shortfalls) else words,
            blocks=True,
        )
        for name, shortfalls, words in (
            (
                "response_types_have_training_prompts",
                [count.training_shortfall for count in counts],
                describe_training_counts(counts),
            ),
            (
                "response_types_have_test_prompts",
                [count.test_shortfall for count in counts],
                describe_test_counts(counts),
            ),
        )
    ]


def _counts(labeled: pl.DataFrame) -> dg.MarkdownMetadataValue:
    return preview(labeled.group_by("category", "response_type").len("prompts").sort("category"))


def _with_split(store: Store) -> pl.DataFrame:
    """Returns the labeled prompts with the column split: train, test, or the name of a held-out split."""
    test_fraction = read_snapshot(store, EvaluationSettings).test_fraction
    prompts = store.read("labeled_prompts")
    by_hash = [split_of(prompt_id, test_fraction) for prompt_id in prompts["prompt_id"]]
    return prompts.with_columns(pl.coalesce("held_out", pl.Series(by_hash, dtype=pl.String)).alias("split"))


def _as_frame(counts: Sequence[PromptCount]) -> pl.DataFrame:
    rows = [
        (count.response_type, count.training, count.fitted, count.held_out, sum(count.test.values()))
        for count in counts
    ]
    columns = ["response type", "training prompts", "for the fit", "held out from the fit", "test prompts"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _quarantine_check(quarantined: pl.DataFrame, n_prompts: int, category_bar: float) -> dg.AssetCheckResult:
    name = "few_prompts_are_quarantined"
    if n_prompts == 0:
        words = "There is no prompt. Add prompts to the data file that the profile names in `prompts`."
        return check_result(name, passed=None, words=words, blocks=False, metadata={"share": None})
    share = quarantined.height / n_prompts
    words = (
        f"{quarantined.height} of {n_prompts} prompts ({share:.0%}) are quarantined and used nowhere; the bar is "
        f"{MAX_QUARANTINED:.0%}."
    )
    if share:
        reasons = quarantined.group_by("reason").len().sort("reason")
        listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.iter_rows())
        words += f" The reasons: {listed}. grader.category_bar is {category_bar:g}."
    passed = share <= MAX_QUARANTINED
    if not passed:
        words += (
            f" Their most probable categories: {_best_categories(quarantined)}. Give these prompts a category in the "
            "data file, improve the questions in content_policy.yaml, or lower grader.category_bar. If answers could "
            "not be read, check grader.yes, grader.no and grader.min_mass."
        )
    return check_result(
        name,
        passed=passed,
        words=words,
        blocks=False,
        metadata={"share": share, "prompts": preview(quarantined.head(PREVIEW_ROWS))},
    )


def _best_categories(quarantined: pl.DataFrame) -> str:
    named = pl.col("best_category").fill_null("no readable answer")
    counts = quarantined.group_by(named).len().sort("best_category")
    return ", ".join(f"{category} ({count})" for category, count in counts.iter_rows())
