"""The files that a user edits: one profile, one rulebook directory, and the data files that the profile names."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import dagster as dg

from rbr.comparisons.categories import unknown_categories
from rbr.conversation import prompt_id
from rbr.errors import InputError, Location, ServerAway
from rbr.evaluation.judges import open_judge
from rbr.files.data_files import (
    load_gold_labels,
    load_prompts,
    located_categories,
    located_labels,
    located_prompts,
)
from rbr.files.misspelled_labels import misspelled_labels
from rbr.files.profile_document import ProfileDocument, read_profile_document
from rbr.files.schema_errors import sorted_by_line
from rbr.grading import JudgePrompt
from rbr.grading.identity import grader_fingerprint, model_behind
from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import GraderSettings, ModelRef, Profile, parse_profile
from rbr.rulebook import Behavior, RulebookFile, propositions_needed, read_rulebook_files
from rbr.rulebook.longest_texts import longest_texts

SourceContents: TypeAlias = dict[str, Any]
"""Content by snapshot name: JSON-like data, or an InputError if the file cannot be used."""


UNREADABLE = "unreadable"
"""Data version of a file that cannot be used. No stored snapshot has this version."""

SNAPSHOT_DESCRIPTIONS: dict[str, str] = {
    "rulebook/propositions": "The yes/no questions about a reply, with examples.",
    "rulebook/synthesis": "Recipes for synthetic comparisons: slots, labels, allowed classes, instructions.",
    "rulebook/behavior": "Class rules, features, ranking, margins, agreement bars and metrics.",
    "rulebook/applicability": "The propositions that each response type needs, derived from `behavior.yaml`.",
    "rulebook/longest_texts": "The longest questions and writing instructions, derived from the rulebook.",
    "rulebook/content_policy": "The categories of requests, and the response type of each category.",
    "data/prompts": "The prompts in the data file of the profile.",
    "data/gold_labels": "Replies whose propositions people have labeled as true or false.",
    "models/policy": "The helpful-only policy: path, pinned revision, and a fingerprint of the weights.",
    "models/grader": "The model that answers the propositions.",
    "models/helpful_reward_model": "R_rm, trained on helpfulness alone.",
    "models/human_reward_model": "The reward model of human preferences, for a baseline.",
    "models/oracle": "The installed judge that knows the true labels, if the profile names one.",
    "profile/prompt_check": "What happens to prompts that a model cannot read.",
    "profile/reply_lengths": "The longest reply of each stage, in tokens, derived from the profile.",
    "profile/synthesis": "Settings for sampling candidate replies.",
    "profile/grader": "Settings of the grader: how it is asked, and how its answers are read.",
    "profile/fit": "Settings for fitting the weights.",
    "profile/sft": "Settings of supervised fine-tuning.",
    "profile/rl": "Settings of reinforcement learning.",
    "profile/evaluation": "Settings of the evaluation: test split, sampling, intervals.",
}


class Sources(dg.ConfigurableResource):
    """Paths of the files that the snapshot assets read.

    Attributes:
        profile: YAML file of the profile.
        rulebook: Directory of the rulebook.
    """

    profile: str
    rulebook: str


def snapshot_key(name: str) -> dg.AssetKey:
    """Returns the asset key of a snapshot such as `rulebook/behavior`."""
    return dg.AssetKey(name.split("/"))


def data_versions(contents: SourceContents) -> dict[dg.AssetKey, str]:
    """Returns the data version of each content; `UNREADABLE` if the content is an error.

    A snapshot with the version `UNREADABLE` is always stale. Its materialization reports the error. A content that
    nobody knows, because a server is away, has no version: an earlier snapshot counts as unchanged.
    """
    return {
        snapshot_key(name): UNREADABLE if isinstance(content, InputError) else content_hash(content)
        for name, content in contents.items()
        if not isinstance(content, ServerAway)
    }


def read_sources(profile: str | Path, rulebook: str | Path) -> SourceContents:
    """Reads the profile, the rulebook and the data files, each file once."""
    loaded = _result_or_error(lambda: _load(profile))
    settings = {**_section_contents(loaded), **_model_contents(loaded)}
    return {**settings, **read_rulebook(rulebook), **_data_contents(loaded)}


def read_rulebook(directory: str | Path) -> SourceContents:
    """Reads the parts of a rulebook. If a file has a problem, the other parts are still read."""
    files = _result_or_error(lambda: read_rulebook_files(directory))
    if isinstance(files, InputError):
        return dict.fromkeys(snapshot_names("rulebook"), files)
    return {
        "rulebook/propositions": _part(files.propositions),
        "rulebook/synthesis": _part(files.synthesis),
        "rulebook/behavior": _part(files.behavior),
        "rulebook/content_policy": _part(files.content_policy),
        "rulebook/longest_texts": _result_or_error(
            lambda: longest_texts(files.propositions.usable(), files.synthesis.usable()).model_dump(mode="json")
        ),
        "rulebook/applicability": _result_or_error(lambda: _applicability(files.behavior.usable())),
    }


def read_data(profile: str | Path) -> SourceContents:
    """Reads the data files that a profile names. The order of their lines does not change the content."""
    return _data_contents(_result_or_error(lambda: _load(profile)))


def unknown_names_in_data(profile: str | Path, contents: SourceContents) -> list[InputError]:
    """Finds the names in the data files that the rulebook does not define: categories, and misspelled propositions.

    The content of the data files does not depend on the rulebook, so `read_sources` does not check this.

    Args:
        profile: The profile that names the data files.
        contents: Content of the sources, from `read_sources`. Nothing is compared with a part of the rulebook that has
            an error.

    Returns:
        One problem per name and line, with file and line.
    """
    policy, propositions = contents["rulebook/content_policy"], contents["rulebook/propositions"]
    categories = None if isinstance(policy, InputError) else policy["categories"]
    names = None if isinstance(propositions, InputError) else propositions
    problems: list[InputError] = []
    for name in snapshot_names("data"):
        rows = contents[name]
        # Read the file again only for a problem: the content has no line numbers, because the order of lines has no
        # meaning. Rows with an error are read again too, so that all problems of a file are reported together.
        is_broken = isinstance(rows, InputError)
        with suppress(InputError):
            if categories and (is_broken or {row["category"] for row in rows} - {None, *categories}):
                problems += unknown_categories(located_categories(_data_file(profile, name)), categories)
            if names and (is_broken or any(row.get("labels", {}).keys() - names for row in rows)):
                problems += misspelled_labels(located_labels(_data_file(profile, name)), names)
    return sorted_by_line(problems)


def locate_prompts(profile: str | Path) -> dict[str, Location]:
    """Reads in which line of the data file each prompt is.

    Assets call this only to name a prompt in words. The data version of an asset must not depend on it.

    Returns:
        File and line by prompt id; nothing if the profile or the file has a problem, because it was edited meanwhile.
    """
    try:
        return located_prompts(_data_file(profile, "data/prompts"))
    except InputError:
        return {}


def _data_file(profile: str | Path, name: str) -> str:
    settings = _load(profile).settings
    return {"data/prompts": settings.prompts, "data/gold_labels": settings.gold_labels}[name]


def read_sections(profile: str | Path) -> SourceContents:
    """Reads the sections of a profile."""
    return _section_contents(_result_or_error(lambda: _load(profile)))


def read_models(profile: str | Path, on_wait: Callable[[str], None] | None = None) -> SourceContents:
    """Reads the models of a profile one by one, with the fingerprints of their weights.

    Args:
        profile: The profile that names the models.
        on_wait: Called with a note while the server of the grader is waited for; None does not wait.
    """
    return _model_contents(_result_or_error(lambda: _load(profile)), on_wait)


class _LoadedProfile(NamedTuple):
    """A profile, and its document for the locations of the settings."""

    settings: Profile
    document: ProfileDocument


def _load(profile: str | Path) -> _LoadedProfile:
    document = read_profile_document(profile)
    return _LoadedProfile(parse_profile(document), document)


def _section_contents(loaded: _LoadedProfile | InputError) -> SourceContents:
    sections = snapshot_names("profile")
    if isinstance(loaded, InputError):
        return dict.fromkeys(sections, loaded)
    values = loaded.settings.model_dump(mode="json")
    # A separate snapshot, so that an edit of another setting of a stage does not check the prompts again.
    values["reply_lengths"] = loaded.settings.reply_lengths().model_dump(mode="json")
    return {
        **{name: values[name.removeprefix("profile/")] for name in sections},
        "profile/grader": _result_or_error(partial(_grader_settings, loaded)),
    }


def _model_contents(
    loaded: _LoadedProfile | InputError, on_wait: Callable[[str], None] | None = None
) -> SourceContents:
    models = snapshot_names("models")
    if isinstance(loaded, InputError):
        return dict.fromkeys(models, loaded)
    return {name: _result_or_error(partial(_model, loaded, name.removeprefix("models/"), on_wait)) for name in models}


def _data_contents(loaded: _LoadedProfile | InputError) -> SourceContents:
    if isinstance(loaded, InputError):
        return dict.fromkeys(snapshot_names("data"), loaded)
    return {
        "data/prompts": _result_or_error(lambda: _prompts(loaded.settings)),
        "data/gold_labels": _result_or_error(lambda: _gold_labels(loaded.settings)),
    }


def _part(file: RulebookFile) -> Any:
    return _result_or_error(lambda: file.usable().model_dump(mode="json"))


def _applicability(behavior: Behavior) -> dict[str, list[str]]:
    # A separate snapshot, so that an edit of a rank or a margin makes no grade stale. It is not a later asset, because
    # `rbr plan` must know it from the files alone.
    return {name: list(propositions_needed(behavior, name)) for name in behavior.response_types}


def _prompts(settings: Profile) -> list[dict[str, Any]]:
    prompts = sorted(load_prompts(settings.prompts), key=lambda prompt: prompt.prompt_id)
    return [
        {
            "prompt_id": prompt.prompt_id,
            "messages": list(prompt.messages),
            "category": prompt.category,
            "held_out": prompt.held_out,
        }
        for prompt in prompts
    ]


def _gold_labels(settings: Profile) -> list[dict[str, Any]]:
    rows = [
        {
            "prompt_id": prompt_id(row.messages),
            "messages": list(row.messages),
            "reply": row.reply,
            "category": row.category,
            "labels": row.labels,
            "unclosed_thought": row.output.unclosed,
            "unopened_thought": row.output.unopened,
        }
        for row in load_gold_labels(settings.gold_labels)
    ]
    return sorted(rows, key=lambda row: (row["prompt_id"], row["reply"], content_hash(row["labels"])))


def _model(loaded: _LoadedProfile, role: str, on_wait: Callable[[str], None] | None) -> dict[str, Any]:
    ref = getattr(loaded.settings.models, role)
    try:
        if role == "grader":
            return _grader(ref, loaded.settings.grader, on_wait)
        if isinstance(ref, ModelRef):
            return _pinned(ref, writes=role == "policy")
        if ref is not None:
            # Report an unknown judge now, not after hours of training.
            open_judge(ref)
        return {"judge": ref}
    except InputError as error:
        if isinstance(error, ServerAway):
            raise
        where = loaded.document.location(("models", role))
        raise InputError(error.what, where=where, hint=error.hint) from error


def _grader_settings(loaded: _LoadedProfile) -> dict[str, Any]:
    """Returns the section `grader`, after a check of the prompt template that it names."""
    settings = loaded.settings.grader
    try:
        JudgePrompt(settings.prompt_template)
    except InputError as error:
        where = loaded.document.location(("grader", "prompt_template"))
        raise InputError(error.what, where=where, hint=error.hint) from error
    return settings.model_dump(mode="json")


def _grader(ref: ModelRef | None, settings: GraderSettings, on_wait: Callable[[str], None] | None) -> dict[str, Any]:
    """Returns the model of the grader, and what its server says about the model that it serves."""
    local: dict[str, Any] = dict.fromkeys([*ModelRef.model_fields, "fingerprint"])
    if ref is not None:
        local = {**ref.model_dump(mode="json"), "fingerprint": grader_fingerprint(ref, settings)}
    return {**local, "served": model_behind(settings, settings.wait_s if on_wait else 0.0, on_wait)}


def _pinned(ref: ModelRef, *, writes: bool) -> dict[str, Any]:
    return {**ref.model_dump(mode="json"), "fingerprint": model_fingerprint(ref, writes=writes)}


def snapshot_names(group: str) -> list[str]:
    """Returns the names of the snapshots of a group: rulebook, data, models or profile."""
    return [name for name in SNAPSHOT_DESCRIPTIONS if name.startswith(f"{group}/")]


def _result_or_error(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except InputError as error:
        return error
