"""Prompts: can every model read them, their categories, and the split into training prompts and test prompts."""

import json
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
import polars as pl

from assets.prompt_checks import (
    MAX_QUARANTINED,
    SETTING_OF_KIND,
    missing_answers_check,
    quarantine_check,
    readable_check,
)
from rbr.comparisons.categories import assign_categories, check_categories
from rbr.comparisons.prompt_counts import PromptCount, count_prompts, describe_test_counts, describe_training_counts
from rbr.conversation import Prompt, split_of
from rbr.errors import InputError, Location
from rbr.files.schema_errors import sorted_by_line
from rbr.hashing import content_hash, frame_hash
from rbr.models.checked_prompts import CheckedPrompt, check_prompts
from rbr.profile import EvaluationSettings, FitSettings, PromptCheckSettings, SynthesisSettings
from rbr.rulebook import ContentPolicy
from resources.cells import GRADING_TAGS, Cells
from resources.models import MODEL_TAGS, Models, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.prompt_readers import prompt_readers
from resources.sources import Sources, locate_prompts, snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_data_prompts, read_snapshot
from resources.store.tables import TABLES


@dg.asset(
    group_name="prompts",
    code_version="2",
    # Tokenizers load slow libraries, which the process of the driver does not need.
    tags=MODEL_TAGS,
    deps=[
        snapshot_key("data/prompts"),
        snapshot_key("models/policy"),
        snapshot_key("models/grader"),
        snapshot_key("models/helpful_reward_model"),
        snapshot_key("models/human_reward_model"),
        snapshot_key("profile/grader"),
        snapshot_key("profile/prompt_check"),
        snapshot_key("profile/reply_lengths"),
        # Not propositions and synthesis: an edit of other texts must not check the prompts again.
        snapshot_key("rulebook/longest_texts"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "models_can_read_every_prompt",
            asset="checked_prompts",
            description="No chat template refuses a prompt, and every prompt fits into the context of every model.",
        )
    ],
)
def checked_prompts(store: Store, sources: Sources) -> dg.MaterializeResult:
    """Prompts of the data file, checked against the chat template and the context of each model that reads them.

    Only tokenizers and configurations are opened. The section `prompt_check` of the profile says what happens to a
    prompt that a model cannot read: it is quarantined, or folded and used, or the run stops.
    """
    settings = read_snapshot(store, PromptCheckSettings)
    prompts = [
        Prompt(row["prompt_id"], tuple(json.loads(row["messages"])), row["category"], row["held_out"])
        for row in read_data_prompts(store).iter_rows(named=True)
    ]
    checked = check_prompts(prompts, prompt_readers(store), fold=settings.on_refused_turns == "fold")
    unreadable = [result for result in checked if result.problem]
    # Read the lines of the data file only to name prompts in words: the order of the lines has no meaning.
    places = locate_prompts(sources.profile) if unreadable else {}
    _stop_if_wanted(unreadable, settings, places)
    rows = [
        {
            "prompt_id": result.used.prompt_id,
            "messages": json.dumps(list(result.used.messages), ensure_ascii=False),
            "category": result.used.category,
            "held_out": result.used.held_out,
            "problem": result.problem.reason if result.problem else None,
        }
        for result in checked
    ]
    return save_table(
        store,
        "checked_prompts",
        pl.DataFrame(rows, schema=TABLES["checked_prompts"].dtypes),
        metadata={"quarantined": len(unreadable), "folded": sum(result.is_folded for result in checked)},
        check_results=[readable_check(unreadable, len(checked), places)],
    )


@dg.asset(
    group_name="prompts",
    code_version="3",
    tags=GRADING_TAGS,
    deps=[
        checked_prompts,
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "few_prompts_are_quarantined",
            asset="labeled_prompts",
            description=f"At most {MAX_QUARANTINED:.0%} of the prompts are quarantined.",
        ),
        dg.AssetCheckSpec(
            "answers_about_categories_are_read",
            asset="labeled_prompts",
            blocking=True,
            description="Few prompts are left out because the answer about a category is missing.",
        ),
    ],
)
def labeled_prompts(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Prompts with category and response type. If the data file gives no category, the grader assigns one.

    A prompt goes to the table quarantined_prompts, with the reason, if a model cannot read it, if the P(yes) of its
    best category is below `grader.category_bar`, or if an answer that could change the category is missing.
    """
    policy = read_snapshot(store, ContentPolicy)
    grader = grader_in_use(store)
    checked = store.read("checked_prompts")
    # Before the grader works.
    check_categories(checked["category"].drop_nulls(), policy, where="data/prompts")
    prompts = checked.filter(pl.col("problem").is_null()).drop("problem")
    unreadable = checked.drop_nulls("problem").select("prompt_id", "messages", pl.col("problem").alias("reason"))
    cells = Cells(store, models, progress, "labeled_prompts")
    grades = cells.grade_categories(prompts.filter(pl.col("category").is_null()), policy, grader)
    labeled, undecided = assign_categories(prompts, grades, policy, grader.settings.category_bar)
    quarantined = pl.concat([undecided.drop("held_out", "missing"), unreadable], how="diagonal").sort("prompt_id")
    store.replace("quarantined_prompts", quarantined)
    return save_table(
        store,
        "labeled_prompts",
        labeled,
        extra_version=frame_hash(quarantined),
        metadata={"categories": _counts(labeled), "quarantined": quarantined.height, **cells.work},
        check_results=[
            quarantine_check(quarantined, set(unreadable["prompt_id"]), checked.height, grader.settings.category_bar),
            missing_answers_check(labeled, undecided, list(policy.categories), grader.settings.max_unread),
        ],
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
    cause = f" Quarantined prompts are not counted: {quarantined}. The checks of labeled_prompts say why."
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


def _stop_if_wanted(
    unreadable: Sequence[CheckedPrompt], settings: PromptCheckSettings, places: Mapping[str, Location]
) -> None:
    """Raises an `InputError` with all prompts that the profile does not want to be left out."""
    stopping = {kind for kind, name in SETTING_OF_KIND.items() if getattr(settings, name) == "stop"}
    problems = [
        InputError(
            problem.detail,
            where=places.get(result.given.prompt_id, f"prompt {result.given.prompt_id}"),
            hint=f"Change or remove the prompt, or set prompt_check.{SETTING_OF_KIND[problem.kind]} in the profile.",
        )
        for result in unreadable
        if (problem := result.problem) and problem.kind in stopping
    ]
    if problems:
        raise InputError.collect(sorted_by_line(problems))
