"""Synthetic comparisons: candidate replies, their grades and scores, and the candidates of an allowed class."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.missing_answers import (
    MAX_UNSCORED,
    answer_counts,
    answer_masses,
    check_candidate_classes,
    check_candidate_scores,
)
from assets.prompts import prompt_counts, training_prompts
from rbr.classes.classification import most_probable_classes
from rbr.comparisons.prompt_sampling import choose_per_response_type
from rbr.comparisons.synthesis import count_filled_slots, ideal_replies, keep_verified, plan_candidates
from rbr.profile import GraderSettings, SynthesisSettings
from rbr.rulebook import Behavior, Synthesis
from resources.cells import GRADING_TAGS, SAMPLING_TAGS, SCORING_TAGS, Cells
from resources.models import Models, PolicyInUse, RewardModelInUse, grader_in_use
from resources.pages.asset_pages import cut_replies, preview, sampled_replies, save_table
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot
from resources.store.table_content import (
    applicable_questions,
    judged_conversations,
    messages_by_prompt,
    read_thresholds,
    with_response_type,
)


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=SAMPLING_TAGS,
    deps=[
        training_prompts,
        # Its checks stop the run before the policy writes replies for too few prompts.
        prompt_counts,
        # The response type of each prompt selects the recipe. The table training_prompts does not contain it.
        snapshot_key("rulebook/content_policy"),
        snapshot_key("rulebook/synthesis"),
        snapshot_key("profile/synthesis"),
        snapshot_key("models/policy"),
    ],
)
def synthetic_comparisons(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Candidate replies for each prompt and slot. The policy writes them with the instructions of the slot."""
    settings = read_snapshot(store, SynthesisSettings)
    policy = PolicyInUse.of(read_model(store, "policy"), settings)
    prompts = with_response_type(store, store.read("training_prompts"))
    chosen = choose_per_response_type(prompts, settings.prompts_per_response_type)
    plan = plan_candidates(chosen, read_snapshot(store, Synthesis), candidates=settings.candidates, seed=settings.seed)
    cells = Cells(store, models, progress, "synthetic_comparisons")
    candidates = cells.sample(plan, messages_by_prompt(chosen), policy)
    metadata = {**cells.work, **sampled_replies(_distinct_completions(candidates), by="response_type")}
    return save_table(store, "synthetic_comparisons", candidates, metadata=metadata)


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        synthetic_comparisons,
        training_prompts,
        snapshot_key("rulebook/propositions"),
        # Not rulebook/behavior: the asset needs only the list of propositions per response type.
        snapshot_key("rulebook/applicability"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def proposition_grades(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Raw P(yes) of each candidate, for the propositions that its response type needs."""
    replies = _distinct_completions(store.read("synthetic_comparisons"))
    conversations = judged_conversations(replies, messages_by_prompt(store.read("training_prompts")))
    cells = Cells(store, models, progress, "proposition_grades")
    grades = cells.grade(conversations, applicable_questions(store, replies), grader_in_use(store))
    return save_table(
        store, "proposition_grades", grades, metadata={**answer_counts(grades), **answer_masses(grades), **cells.work}
    )


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=SCORING_TAGS,
    deps=[synthetic_comparisons, training_prompts, snapshot_key("models/helpful_reward_model")],
    check_specs=[
        dg.AssetCheckSpec(
            "candidates_have_a_score",
            asset="reward_model_scores",
            blocking=True,
            description=f"At most {MAX_UNSCORED:.0%} of the candidates have no score, in all and by category.",
        )
    ],
)
def reward_model_scores(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """R_rm of each candidate: its score by the helpful-only reward model."""
    reward_model = RewardModelInUse(read_model(store, "helpful_reward_model"))
    replies = _distinct_completions(store.read("synthetic_comparisons"))
    cells = Cells(store, models, progress, "reward_model_scores")
    prompts = store.read("training_prompts")
    scores = cells.score(replies, messages_by_prompt(prompts), reward_model)
    scored = _with_category(replies.join(scores, on="completion_id", how="left", maintain_order="left"), prompts)
    return save_table(
        store,
        "reward_model_scores",
        scores,
        metadata={"unscored replies": scores["score"].null_count(), **cells.work},
        check_results=[check_candidate_scores(scored)],
    )


@dg.asset(
    group_name="comparisons",
    code_version="3",
    deps=[
        synthetic_comparisons,
        proposition_grades,
        # Decision thresholds. Grades are recentered at the thresholds before the classes are decided.
        accepted_propositions,
        snapshot_key("rulebook/behavior"),
        # The classes that a slot allows. The table synthetic_comparisons contains only the slot's label.
        snapshot_key("rulebook/synthesis"),
        # The category of each prompt and grader.max_unread, for the check.
        training_prompts,
        snapshot_key("profile/grader"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "candidates_have_a_class",
            asset="verified_comparisons",
            blocking=True,
            description="At most grader.max_unread of the candidates have no class, in all and by category.",
        )
    ],
)
def verified_comparisons(store: Store) -> dg.MaterializeResult:
    """For each prompt and slot, the first finished candidate whose most probable class the slot allows.

    A candidate that was cut off at the token limit is left out. If answers of the grader could not be read, a candidate
    has a class only if every possible answer gives that class. Other candidates have no class and are left out, too.
    The page counts both kinds.
    """
    candidates, grades = store.read("synthetic_comparisons"), store.read("proposition_grades")
    classified = most_probable_classes(candidates, grades, read_snapshot(store, Behavior), read_thresholds(store))
    verified = keep_verified(classified, read_snapshot(store, Synthesis))
    filled = count_filled_slots(candidates, verified)
    without_class = classified.group_by("response_type").agg(
        pl.len().alias("candidates"), pl.col("class_name").null_count().alias("without_class")
    )
    return save_table(
        store,
        "verified_comparisons",
        verified,
        metadata={
            "filled slots": preview(filled),
            "candidates without a class": int(without_class["without_class"].sum()),
            "candidates without a class, by response type": preview(without_class.sort("response_type")),
            **cut_replies(candidates, by="slot"),
        },
        check_results=[
            check_candidate_classes(
                _with_category(classified, store.read("training_prompts")),
                grades,
                read_snapshot(store, GraderSettings).max_unread,
            )
        ],
    )


@dg.asset(
    group_name="comparisons",
    code_version="1",
    deps=[
        verified_comparisons,
        synthetic_comparisons,
        training_prompts,
        # The best-ranked label of each response type.
        snapshot_key("rulebook/behavior"),
    ],
)
def ideal_completions(store: Store) -> dg.MaterializeResult:
    """Training rows of supervised fine-tuning. Bad replies are left out, so a new one does not retrain the policy."""
    ideal = ideal_replies(store.read("verified_comparisons"), read_snapshot(store, Behavior))
    texts = _distinct_completions(store.read("synthetic_comparisons")).select("completion_id", "text")
    rows = (
        ideal.unique(["prompt_id", "completion_id"], keep="first", maintain_order=True)
        .join(texts, on="completion_id", how="left", maintain_order="left")
        .join(store.read("training_prompts"), on="prompt_id", how="left", maintain_order="left")
    )
    return save_table(store, "ideal_completions", rows)


def _distinct_completions(candidates: pl.DataFrame) -> pl.DataFrame:
    # Two slots with the same instruction share their completions.
    return candidates.unique("completion_id", keep="first", maintain_order=True)


def _with_category(replies: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    return replies.join(prompts.select("prompt_id", "category"), on="prompt_id", how="left", maintain_order="left")
