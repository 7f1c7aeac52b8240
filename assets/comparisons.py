"""Synthetic comparisons: candidate replies, their grades and scores, and the ones that turned out as asked."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, read_thresholds
from assets.prompts import training_prompts
from assets.snapshots import snapshot_key
from rbr.classes.classification import likely_classes
from rbr.comparisons.prompt_sampling import choose_per_response_type
from rbr.comparisons.synthesis import filled_slots, ideal_replies, plan_candidates, verify
from rbr.profile import GraderSettings, SynthesisSettings
from rbr.rulebook import Behavior, Synthesis
from resources.asset_tags import GRADING, SAMPLING, SCORING
from resources.cells import Cells, Sampling, grader_version, name_completions
from resources.models import Models
from resources.pages.tables import preview, save_table
from resources.progress import Progress
from resources.store import Store
from resources.stored_inputs import (
    judged_conversations,
    messages_by_prompt,
    proposition_questions,
    read_applicability,
    read_model,
    read_snapshot,
    with_response_type,
)

SCORING_BATCH = 64


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=SAMPLING,
    deps=[
        training_prompts,
        # The response types that the recipes are for; `training_prompts` carries none.
        snapshot_key("rulebook/content_policy"),
        snapshot_key("rulebook/synthesis"),
        snapshot_key("profile/synthesis"),
        snapshot_key("models/policy"),
    ],
)
def synthetic_comparisons(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Candidate replies for each slot of a prompt's recipe, written by the policy on instruction."""
    settings = read_snapshot(store, SynthesisSettings)
    policy = read_model(store, "policy")
    sampling = Sampling.of(settings)
    prompts = with_response_type(store, store.read("training_prompts"))
    chosen = choose_per_response_type(prompts, settings.prompts_per_response_type)
    messages = messages_by_prompt(chosen)
    plan = plan_candidates(chosen, read_snapshot(store, Synthesis), candidates=settings.candidates, seed=settings.seed)
    cells = Cells(store, progress, "synthetic_comparisons")
    candidates = cells.sample(
        name_completions(plan, messages, policy.fingerprint, sampling),
        messages,
        lambda: models.policy(policy.ref, settings.batch_size),
        policy.fingerprint,
        sampling,
        settings.batch_size,
    )
    return save_table(store, "synthetic_comparisons", candidates, metadata=cells.work)


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=GRADING,
    deps=[
        synthetic_comparisons,
        training_prompts,
        snapshot_key("rulebook/propositions"),
        # Not the behavior policy: of that, only which propositions are asked matters here.
        snapshot_key("rulebook/applicability"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def proposition_grades(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Raw P(yes) of each candidate for the propositions that its response type needs."""
    settings = read_snapshot(store, GraderSettings)
    grader = read_model(store, "grader")
    messages = messages_by_prompt(store.read("training_prompts"))
    applicable = read_applicability(store)
    replies = _distinct(store.read("synthetic_comparisons"))
    cells = Cells(store, progress, "proposition_grades")
    grades = cells.grade(
        judged_conversations(replies, messages),
        {cell: applicable[kind] for cell, kind in replies.select("completion_id", "response_type").iter_rows()},
        proposition_questions(store),
        lambda: models.grader(grader.ref, settings),
        grader_version(grader.fingerprint, settings),
        settings,
    )
    return save_table(
        store, "proposition_grades", grades, metadata={"unread": grades["p_yes"].null_count(), **cells.work}
    )


@dg.asset(
    group_name="comparisons",
    code_version="1",
    tags=SCORING,
    deps=[synthetic_comparisons, training_prompts, snapshot_key("models/helpful_reward_model")],
)
def reward_model_scores(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """R_rm: the helpful-only reward model's score of each candidate."""
    reward_model = read_model(store, "helpful_reward_model")
    cells = Cells(store, progress, "reward_model_scores")
    scores = cells.score(
        _distinct(store.read("synthetic_comparisons")),
        messages_by_prompt(store.read("training_prompts")),
        lambda: models.reward_model(reward_model.ref, SCORING_BATCH),
        reward_model.fingerprint,
        SCORING_BATCH,
    )
    unscored = scores["score"].null_count()
    return save_table(store, "reward_model_scores", scores, metadata={"unscored": unscored, **cells.work})


@dg.asset(
    group_name="comparisons",
    code_version="1",
    deps=[
        synthetic_comparisons,
        proposition_grades,
        # Decision thresholds: grades are recentered at them before classes are told apart.
        accepted_propositions,
        snapshot_key("rulebook/behavior"),
        # The classes that a slot may turn out as; the candidates carry its label only.
        snapshot_key("rulebook/synthesis"),
    ],
)
def verified_comparisons(store: Store) -> dg.MaterializeResult:
    """Per prompt and slot the first candidate whose most probable class the slot allows."""
    candidates = store.read("synthetic_comparisons")
    classed = likely_classes(
        candidates, store.read("proposition_grades"), read_snapshot(store, Behavior), read_thresholds(store)
    )
    kept = verify(classed, read_snapshot(store, Synthesis))
    filled = filled_slots(candidates, kept)
    return save_table(store, "verified_comparisons", kept, metadata={"filled slots": preview(filled)})


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
    """Only what supervised fine-tuning reads, so that another *bad* reply does not retrain it."""
    ideal = ideal_replies(store.read("verified_comparisons"), read_snapshot(store, Behavior))
    texts = _distinct(store.read("synthetic_comparisons")).select("completion_id", "text")
    rows = (
        ideal.unique(["prompt_id", "completion_id"], keep="first", maintain_order=True)
        .join(texts, on="completion_id", how="left", maintain_order="left")
        .join(store.read("training_prompts"), on="prompt_id", how="left", maintain_order="left")
    )
    return save_table(store, "ideal_completions", rows)


def _distinct(candidates: pl.DataFrame) -> pl.DataFrame:
    # Two slots with the same instruction share their completions.
    return candidates.unique("completion_id", keep="first", maintain_order=True)
