"""Reads snapshots as typed objects. Assets read snapshots instead of the user's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
from pydantic import BaseModel

from rbr.grading import Question
from rbr.profile import (
    EvaluationSettings,
    FitSettings,
    GraderSettings,
    ModelRef,
    PromptCheckSettings,
    ReplyLengths,
    RlSettings,
    SftSettings,
    SynthesisSettings,
)
from rbr.rulebook import Behavior, ContentPolicy, Propositions, Synthesis
from rbr.rulebook.longest_texts import LongestTexts
from resources.store import Store

_SNAPSHOT_NAMES: Mapping[type[BaseModel], str] = {
    Propositions: "rulebook/propositions",
    Synthesis: "rulebook/synthesis",
    Behavior: "rulebook/behavior",
    ContentPolicy: "rulebook/content_policy",
    LongestTexts: "rulebook/longest_texts",
    PromptCheckSettings: "profile/prompt_check",
    ReplyLengths: "profile/reply_lengths",
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
    """A model and its fingerprint.

    Attributes:
        ref: Path or Hub id of the model.
        fingerprint: Hash of what its results take from its files, from the time when the snapshot was taken.
    """

    ref: ModelRef
    fingerprint: str


def read_snapshot(store: Store, content_type: type[_Content]) -> _Content:
    """Reads the snapshot of a rulebook part or of a profile section.

    Args:
        store: The store.
        content_type: The type to read, such as `Behavior` or `GraderSettings`; each type has one snapshot.

    Raises:
        RuntimeError: The snapshot does not exist yet.
    """
    # The settings are strict models. They accept a list as a tuple only if they parse JSON.
    return content_type.model_validate_json(json.dumps(store.snapshot(_SNAPSHOT_NAMES[content_type])))


def read_model(store: Store, role: str) -> PinnedModel:
    """Reads the model that the profile names for a role.

    Args:
        store: The store.
        role: ``policy``, ``grader``, ``helpful_reward_model`` or ``human_reward_model``.

    Raises:
        RuntimeError: The snapshot does not exist yet.
    """
    content = store.snapshot(f"models/{role}")
    ref = ModelRef(**{name: content[name] for name in ModelRef.model_fields})
    return PinnedModel(ref, content["fingerprint"])


def read_oracle(store: Store) -> str | None:
    """Returns the name of the judge that knows the true labels; None if the profile names none."""
    return store.snapshot("models/oracle")["judge"]


def read_applicability(store: Store) -> dict[str, list[str]]:
    """Returns the propositions that each response type needs for its classes and features, sorted."""
    return store.snapshot("rulebook/applicability")


def read_questions(store: Store) -> dict[str, Question]:
    """Returns the question and the examples of each proposition, by name."""
    propositions = read_snapshot(store, Propositions)
    return {name: Question(name, entry.question, entry.examples) for name, entry in propositions.items()}


def read_data_prompts(store: Store) -> pl.DataFrame:
    """Reads the prompts of the profile's data file.

    Returns:
        Columns prompt_id, messages (JSON), category and held_out. The last two are null if the file leaves them out.
    """
    return pl.DataFrame(
        [
            (row["prompt_id"], json.dumps(row["messages"], ensure_ascii=False), row["category"], row["held_out"])
            for row in store.snapshot("data/prompts")
        ],
        schema={"prompt_id": pl.String, "messages": pl.String, "category": pl.String, "held_out": pl.String},
        orient="row",
    )
