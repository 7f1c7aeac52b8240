"""A profile: which models, sizes and backends one run of the method uses.

A profile is a complete YAML file; nothing has a default in code. With ``extends: NAME`` it names only
what differs from ``NAME.yaml`` beside it.
"""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rbr.errors import InputError
from rbr.files.yaml_file import Document, KeyPath, read_document, spell

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_TopP = Annotated[float, Field(gt=0.0, le=1.0)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Spellings = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelRef(_Section):
    """A model: a local directory, or a Hub id pinned to a revision.

    Attributes:
        path: Directory relative to the working directory, or a Hub id such as ``org/name``.
        revision: Commit of the Hub repository; None for a local directory.
    """

    path: Annotated[str, Field(min_length=1)]
    revision: str | None


class ModelSettings(_Section):
    """The models; `oracle` names the world that knows every true label, if there is one."""

    policy: ModelRef
    grader: ModelRef
    helpful_reward_model: ModelRef
    human_reward_model: ModelRef
    oracle: Literal["sandbox"] | None


class SynthesisSettings(_Section):
    """Sampling of candidate replies: `candidates` per prompt and slot of a recipe."""

    prompts_per_response_type: _Count
    candidates: _Count
    temperature: _Positive
    top_p: _TopP
    max_new_tokens: _Count
    batch_size: _Count
    seed: _Seed


class GraderSettings(_Section):
    """How propositions are asked and answers read.

    Attributes:
        backend: ``transformers`` and ``vllm`` run in process, ``openai`` calls a compatible server.
        few_shot: Number of a proposition's examples that are shown with its question.
        yes: Token texts that count as yes.
        no: Token texts that count as no.
        min_mass: Smallest P(yes) + P(no) at which an answer counts as read.
        category_bar: Smallest P(yes) at which a prompt takes its best category.
        base_url: Address of the server, for ``openai`` only.
        model_name: Name of the model at the server, for ``openai`` only.
        max_concurrency: Requests in flight at once.
        timeout_s: Seconds until a request is given up.
        retries: Further attempts after a failed request.
    """

    backend: Literal["transformers", "vllm", "openai"]
    few_shot: Annotated[int, Field(ge=0)]
    yes: _Spellings
    no: _Spellings
    min_mass: _Share
    batch_size: _Count
    category_bar: _Share
    base_url: str | None
    model_name: str | None
    max_concurrency: _Count
    timeout_s: _Positive
    retries: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _server_is_named(self) -> "GraderSettings":
        if self.backend == "openai" and not (self.base_url and self.model_name):
            raise ValueError("backend openai needs base_url and model_name")
        if shared := sorted(set(self.yes) & set(self.no)):
            raise ValueError(f"{shared[0]!r} stands in both yes and no")
        return self


class FitSettings(_Section):
    """Weight fitting: ridge strength, share of prompts held out, bootstrap draws of the intervals."""

    l2: _Positive
    held_out_fraction: _Share
    bootstrap: Annotated[int, Field(ge=0)]
    seed: _Seed


class SftSettings(_Section):
    """Supervised fine-tuning on ideal and helpful replies; `max_length` in tokens."""

    epochs: _Count
    learning_rate: _Positive
    batch_size: _Count
    max_length: _Count
    seed: _Seed


class RlSettings(_Section):
    """GRPO: each step draws `num_generations` replies to each of `prompts_per_step` prompts.

    `beta` is the KL weight against the start checkpoint; `scale_rewards` says over what the reward is
    normalized.
    """

    steps: _Count
    prompts_per_step: _Count
    num_generations: Annotated[int, Field(ge=2)]
    learning_rate: _Positive
    beta: _NotNegative
    temperature: _Positive
    max_completion_length: _Count
    scale_rewards: Literal["group", "batch", "none"]
    seed: _Seed


class EvaluationSettings(_Section):
    """Test split and sampling of the evaluated replies; `bootstrap` draws give the intervals."""

    test_fraction: _Share
    completions_per_prompt: _Count
    temperature: _Positive
    top_p: _TopP
    max_new_tokens: _Count
    batch_size: _Count
    bootstrap: _Count
    seed: _Seed


class Profile(_Section):
    """One run's data files and settings, by stage."""

    prompts: Annotated[str, Field(min_length=1)]
    gold_labels: Annotated[str, Field(min_length=1)]
    models: ModelSettings
    synthesis: SynthesisSettings
    grader: GraderSettings
    fit: FitSettings
    sft: SftSettings
    rl: RlSettings
    evaluation: EvaluationSettings


def load_profile(path: str | Path) -> Profile:
    """Reads a profile and what it extends.

    Args:
        path: A YAML file.

    Raises:
        InputError: A file is missing or no YAML mapping, the chain of `extends` runs in a circle, or a
            key is missing, unknown or out of range. The message names file, line (where the key stands
            in a file) and key.
    """
    documents = _chain(Path(path))
    merged: dict[str, Any] = {}
    for document in reversed(documents):
        merged = _merge(merged, _mapping(document))
    merged.pop("extends", None)
    try:
        # JSON mode lets lists stand for tuples and stays strict about scalars.
        return Profile.model_validate_json(json.dumps(merged))
    except ValidationError as error:
        raise _explained(error, documents) from error


def _mapping(document: Document) -> dict[str, Any]:
    if not isinstance(document.content, dict):
        hint = "Write sections such as `models:` and `rl:`."
        raise InputError("holds no mapping", where=document.file, hint=hint)
    return document.content


def _chain(path: Path) -> list[Document]:
    """The profile and what it extends, the profile first."""
    documents: list[Document] = []
    while True:
        document = read_document(path)
        documents.append(document)
        base = _mapping(document).get("extends")
        if base is None:
            return documents
        where = document.where(("extends",))
        if not isinstance(base, str) or Path(base).name != base:
            hint = "Name a profile of the same directory without its suffix, such as `extends: sandbox`."
            raise InputError(f"{base!r} is no name of a profile", where=where, hint=hint)
        path = path.parent / f"{base}.yaml"
        if not path.is_file():
            hint = f"Profiles here: {', '.join(sorted(file.stem for file in path.parent.glob('*.yaml')))}."
            raise InputError(f"there is no profile {base!r} beside this one", where=where, hint=hint)
        if any(path.samefile(earlier.file) for earlier in documents):
            hint = "Let one of the profiles be complete by itself."
            raise InputError(f"{base!r} leads back to itself", where=where, hint=hint)


def _merge(base: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _explained(error: ValidationError, documents: Sequence[Document]) -> InputError:
    first = error.errors()[0]
    path: KeyPath = first["loc"]
    # The layer nearest to the user that has the key is the one to hint.
    document = next((document for document in documents if path in document.places), documents[0])
    where = document.where(path)
    if first["type"] == "missing":
        return InputError("is missing", where=where, hint="Add it, or extend a complete profile.")
    if first["type"] == "extra_forbidden":
        known = list(_shape_at(path[:-1]).model_fields)
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
        return InputError("is no setting", where=where, hint=hint)
    found = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return InputError(f"{message}{found}", where=where, hint=f"Mend the value of {spell(path)}.")


def _shape_at(path: KeyPath) -> type[BaseModel]:
    shape: type[BaseModel] = Profile
    for key in path:
        inner = shape.model_fields[str(key)].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        shape = inner
    return shape
