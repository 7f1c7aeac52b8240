"""Typed access to the snapshots: what an asset reads instead of the user's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl
from pydantic import BaseModel

from rbr.conversation import Conversation
from rbr.grading import Question
from rbr.profile import (
    EvaluationSettings,
    FitSettings,
    GraderSettings,
    ModelRef,
    RlSettings,
    SftSettings,
    SynthesisSettings,
)
from rbr.rulebook import Behavior, ContentPolicy, Propositions, Synthesis
from resources.store import Store

_SNAPSHOTS: Mapping[type[BaseModel], str] = {
    Propositions: "rulebook/propositions",
    Synthesis: "rulebook/synthesis",
    Behavior: "rulebook/behavior",
    ContentPolicy: "rulebook/content_policy",
    SynthesisSettings: "profile/synthesis",
    GraderSettings: "profile/grader",
    FitSettings: "profile/fit",
    SftSettings: "profile/sft",
    RlSettings: "profile/rl",
    EvaluationSettings: "profile/evaluation",
}

_Content = TypeVar("_Content", bound=BaseModel)


@dataclass(frozen=True)
class PinnedModel:
    """A model of the profile and the fingerprint its snapshot was taken with."""

    ref: ModelRef
    fingerprint: str


def read_snapshot(store: Store, shape: type[_Content]) -> _Content:
    """The snapshot that holds this kind of content."""
    # JSON mode: the settings are strict, and only JSON lets a list stand for a tuple.
    return shape.model_validate_json(json.dumps(store.snapshot(_SNAPSHOTS[shape])))


def read_model(store: Store, role: str) -> PinnedModel:
    """A model of the profile: policy, grader, helpful_reward_model or human_reward_model."""
    content = store.snapshot(f"models/{role}")
    return PinnedModel(ModelRef(path=content["path"], revision=content["revision"]), content["fingerprint"])


def read_applicability(store: Store) -> dict[str, list[str]]:
    """Response type -> names of the propositions that its classes and features need, sorted."""
    return store.snapshot("rulebook/applicability")


def proposition_questions(store: Store) -> dict[str, Question]:
    """Proposition -> its question with examples."""
    propositions = read_snapshot(store, Propositions)
    return {name: Question(name, entry.question, entry.examples) for name, entry in propositions.items()}


def with_response_type(store: Store, prompts: pl.DataFrame) -> pl.DataFrame:
    """Prompts with the response type that the content policy gives their category.

    Prompt tables keep the category only, so that an edit of the policy costs those alone who ask here.
    """
    categories = read_snapshot(store, ContentPolicy).categories
    policy = {code: category.response_type for code, category in categories.items()}
    return prompts.with_columns(pl.col("category").replace_strict(policy).alias("response_type"))


def messages_by_prompt(prompts: pl.DataFrame) -> dict[str, Conversation]:
    """Prompt id -> parsed messages."""
    return {
        prompt_id: json.loads(messages) for prompt_id, messages in prompts.select("prompt_id", "messages").iter_rows()
    }


def judged_conversations(replies: pl.DataFrame, prompts: Mapping[str, Conversation]) -> dict[str, Conversation]:
    """Completion id -> the prompt and the reply that is judged.

    Args:
        replies: Columns completion_id, prompt_id and text.
        prompts: Messages by prompt id.
    """
    return {
        completion_id: [*prompts[prompt_id], {"role": "assistant", "content": text}]
        for completion_id, prompt_id, text in replies.select("completion_id", "prompt_id", "text").iter_rows()
    }


def as_json(messages: Any) -> str:
    """Messages as the tables keep them."""
    return json.dumps(messages, ensure_ascii=False)
