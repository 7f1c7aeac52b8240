"""Snapshots: the parsed content of every file a user edits, as assets.

Everything downstream reads the snapshot and never the file, so what an asset was made from is what its
provenance says. The data version is a hash of the parsed content: comments, key order and white space
cost nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from rbr.conversation import prompt_id, read_gold, read_prompts
from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef, ModelSettings, Profile, load_profile
from rbr.rulebook import (
    BEHAVIOR_FILE,
    CONTENT_POLICY_FILE,
    PROPOSITIONS_FILE,
    SYNTHESIS_FILE,
    Behavior,
    load_behavior,
    load_content_policy,
    load_propositions,
    load_rulebook,
    load_synthesis,
    propositions_needed,
)
from resources.sources import Sources
from resources.store import Store

Contents: TypeAlias = dict[str, Any]
"""Snapshot name -> JSON-able content, or the InputError that says why there is none."""

UNREADABLE = "unreadable"
"""Stands for the data version of a source that cannot be parsed; no snapshot ever has it."""

DESCRIPTIONS: dict[str, str] = {
    "rulebook/propositions": "The yes/no questions about a reply, with examples.",
    "rulebook/synthesis": "Recipes for synthetic comparisons: slots, labels, allowed classes, instructions.",
    "rulebook/behavior": "Class rules, features, ranking, margins, agreement bars and metrics.",
    "rulebook/applicability": "Which propositions each response type needs, read off `behavior.yaml`.",
    "rulebook/content_policy": "The categories of requests and how each is to be answered.",
    "data/prompts": "The prompts of the profile.",
    "data/gold_labels": "The replies whose propositions people have judged.",
    "models/policy": "The helpful-only policy: path, pinned revision, and a fingerprint of the weights.",
    "models/grader": "The model that answers the propositions.",
    "models/helpful_reward_model": "R_rm, trained on helpfulness alone.",
    "models/human_reward_model": "The reward model of human preferences, for a baseline.",
    "models/oracle": "The world that knows every true label, if there is one.",
    "profile/synthesis": "Sampling of candidate replies.",
    "profile/grader": "How propositions are asked and answers read.",
    "profile/fit": "Weight fitting.",
    "profile/sft": "Supervised fine-tuning.",
    "profile/rl": "Reinforcement learning.",
    "profile/evaluation": "Test split, sampling and intervals of the evaluation.",
}


def snapshot_key(name: str) -> dg.AssetKey:
    """Asset key of a snapshot such as `rulebook/behavior`."""
    return dg.AssetKey(name.split("/"))


def versions(contents: Contents) -> dict[dg.AssetKey, str]:
    """Data version that the snapshot of each content has; `UNREADABLE` where there is none.

    That differs from whatever is stored, and materializing the snapshot tells the user why.
    """
    return {
        snapshot_key(name): UNREADABLE if isinstance(content, InputError) else content_hash(content)
        for name, content in contents.items()
    }


def read_sources(profile: str | Path, rulebook: str | Path) -> Contents:
    """Every part of profile, rulebook and data; reads files only."""
    return {**read_settings(profile), **read_rulebook(rulebook), **read_data(profile)}


def read_rulebook(directory: str | Path) -> Contents:
    """The parts of a rulebook; a file with a problem costs its own part only."""
    root = Path(directory)
    problems: tuple[InputError, ...] = ()
    try:
        load_rulebook(root)
    except InputError as error:
        problems = error.problems
    parts = {
        "rulebook/propositions": _part(root / PROPOSITIONS_FILE, load_propositions, problems),
        "rulebook/synthesis": _part(root / SYNTHESIS_FILE, load_synthesis, problems),
        "rulebook/behavior": _part(root / BEHAVIOR_FILE, load_behavior, problems),
        "rulebook/content_policy": _part(root / CONTENT_POLICY_FILE, load_content_policy, problems),
    }
    return {**parts, "rulebook/applicability": _applicability(parts["rulebook/behavior"])}


def read_data(profile: str | Path) -> Contents:
    """The data files that a profile names, in an order that does not depend on their lines'."""
    settings = _attempt(lambda: load_profile(profile))
    if isinstance(settings, InputError):
        return dict.fromkeys(("data/prompts", "data/gold_labels"), settings)
    return {
        "data/prompts": _attempt(lambda: _prompts(settings)),
        "data/gold_labels": _attempt(lambda: _gold_labels(settings)),
    }


def read_settings(profile: str | Path) -> Contents:
    """The sections of a profile, and its models one by one, with the fingerprints of their weights."""
    sections, models = (
        [name for name in DESCRIPTIONS if name.startswith(f"{group}/")] for group in ("profile", "models")
    )
    settings = _attempt(lambda: load_profile(profile))
    if isinstance(settings, InputError):
        return dict.fromkeys([*sections, *models], settings)
    values = settings.model_dump(mode="json")
    return {
        **{name: values[name.removeprefix("profile/")] for name in sections},
        **{name: _attempt(partial(_model, settings.models, name.removeprefix("models/"))) for name in models},
    }


def _part(path: Path, load: Callable[[Path], Any], problems: Collection[InputError]) -> Any:
    # What the parts disagree about is told where it is to be mended.
    own = [problem for problem in problems if problem.where.startswith(f"{path}:")]
    if own:
        return InputError.collect(own)
    return _attempt(lambda: load(path).model_dump(mode="json"))


def _applicability(behavior: Any) -> Any:
    # A snapshot of its own: a new rank or margin must not make a grade stale, and `rbr plan` has to know
    # that from the files alone.
    if isinstance(behavior, InputError):
        return behavior
    policy = Behavior.model_validate(behavior)
    return {name: list(propositions_needed(policy, name)) for name in policy.response_types}


def _prompts(settings: Profile) -> list[dict[str, Any]]:
    prompts = sorted(read_prompts(settings.prompts), key=lambda prompt: prompt.prompt_id)
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
        }
        for row in read_gold(settings.gold_labels)
    ]
    return sorted(rows, key=lambda row: (row["prompt_id"], row["reply"], content_hash(row["labels"])))


def _model(settings: ModelSettings, role: str) -> dict[str, Any]:
    ref = getattr(settings, role)
    if not isinstance(ref, ModelRef):
        return {"world": ref}
    return {**ref.model_dump(mode="json"), "fingerprint": model_fingerprint(ref)}


def _attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except InputError as error:
        return error


def _snapshots(group: str, read: Callable[[Sources], Contents]) -> dg.AssetsDefinition:
    names = [name for name in DESCRIPTIONS if name.startswith(f"{group}/")]

    @dg.multi_asset(
        name=f"{group}_snapshots",
        can_subset=True,
        specs=[
            dg.AssetSpec(
                snapshot_key(name),
                description=DESCRIPTIONS[name],
                group_name="snapshots",
                code_version="1",
                skippable=True,
                kinds={"yaml"} if group != "data" else {"json"},
            )
            for name in names
        ],
    )
    def materialize(
        context: dg.AssetExecutionContext, sources: Sources, store: Store
    ) -> Iterator[dg.MaterializeResult]:
        yield from _stored(store, context.selected_asset_keys, read(sources))

    return materialize


def _stored(
    store: Store, selected: Collection[dg.AssetKey], contents: Mapping[str, Any]
) -> Iterator[dg.MaterializeResult]:
    broken: list[InputError] = []
    for name, content in contents.items():
        if snapshot_key(name) not in selected:
            continue
        if isinstance(content, InputError):
            broken.append(content)
            continue
        version = content_hash(content)
        store.save_snapshot(name, content, version)
        yield dg.MaterializeResult(
            asset_key=snapshot_key(name),
            data_version=dg.DataVersion(version),
            metadata={"entries": len(content)},
        )
    # Raised last: a broken file leaves the other snapshots alone.
    if broken:
        raise _together(broken)


def _together(errors: list[InputError]) -> InputError:
    return InputError.collect({str(error): error for error in errors}.values())


rulebook_snapshots = _snapshots("rulebook", lambda sources: read_rulebook(sources.rulebook))
data_snapshots = _snapshots("data", lambda sources: read_data(sources.profile))
profile_snapshots = _snapshots("profile", lambda sources: read_settings(sources.profile))
model_snapshots = _snapshots("models", lambda sources: read_settings(sources.profile))
