"""Decides which assets are stale, and why, from the tags that Dagster adds to every materialization.

An asset is also stale as long as its latest content has not passed its blocking checks; `rbr_dagster.run.gates` reads
the results of the checks.

Dagster's UI has its own rules for staleness. They are not part of Dagster's public interface, and they look at direct
parents only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from graphlib import TopologicalSorter

import dagster as dg

from rbr.errors import InputError

CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"
INPUT_VERSION = "dagster/input_data_version/"


@dataclass(frozen=True)
class StaleReason:
    """A reason why an asset is stale.

    Attributes:
        text: The reason in words.
        parent: The parent that changed; None if the reason is not a parent.
        check: The blocking check that the asset has not passed; None if the reason is not a check.
    """

    text: str
    parent: dg.AssetKey | None = None
    check: str | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class AssetGraph:
    """The assets of a code location and their dependencies.

    Attributes:
        specs: Dagster's specification of each asset, by key.
        blocking_checks: Names of the blocking checks of each asset, by key; an asset without one is left out.
    """

    specs: Mapping[dg.AssetKey, dg.AssetSpec]
    blocking_checks: Mapping[dg.AssetKey, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_definitions(cls, definitions: dg.Definitions) -> "AssetGraph":
        """Returns the graph of all assets of the definitions."""
        blocking_checks: dict[dg.AssetKey, tuple[str, ...]] = {}
        for definition in [*(definitions.assets or []), *(definitions.asset_checks or [])]:
            if isinstance(definition, dg.AssetsDefinition):
                for check in definition.check_specs:
                    if check.blocking:
                        names = blocking_checks.get(check.asset_key, ())
                        blocking_checks[check.asset_key] = (*names, check.name)
        return cls({spec.key: spec for spec in definitions.resolve_all_asset_specs()}, blocking_checks)

    def only_upstream_of(self, asset: str | None) -> "AssetGraph":
        """Returns the graph of one asset and all its ancestors; the whole graph if `asset` is None.

        Raises:
            InputError: The asset does not exist.
        """
        if asset is None:
            return self
        keys = {key.to_user_string(): key for key in self.specs}
        if asset not in keys:
            similar = get_close_matches(asset, keys, 3, 0.4)
            hint = f"Did you mean {' or '.join(similar)}?" if similar else f"Assets: {', '.join(sorted(keys))}."
            raise InputError(f"unknown asset {asset!r}", hint=hint)
        selected = {keys[asset]}
        # Children come before their parents in this order, so one pass reaches every ancestor.
        for key in reversed(self.parents):
            if key in selected:
                selected.update(self.parents[key])
        return AssetGraph(
            {key: spec for key, spec in self.specs.items() if key in selected},
            {key: checks for key, checks in self.blocking_checks.items() if key in selected},
        )

    @cached_property
    def parents(self) -> dict[dg.AssetKey, list[dg.AssetKey]]:
        """The direct parents of each asset. Parents come before children, in a stable order."""
        unsorted = {key: sorted(dep.asset_key for dep in spec.deps) for key, spec in sorted(self.specs.items())}
        return {key: unsorted[key] for key in TopologicalSorter(unsorted).static_order()}


def latest_tags(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Mapping[str, str]]:
    """Returns the tags of the latest materialization of each asset; an asset without one is left out."""
    tags: dict[dg.AssetKey, Mapping[str, str]] = {}
    for record in instance.get_asset_records(list(keys)):
        materialization = record.asset_entry.last_materialization
        if materialization is not None and materialization.asset_materialization is not None:
            tags[record.asset_entry.asset_key] = materialization.asset_materialization.tags or {}
    return tags


def stale_assets(
    graph: AssetGraph,
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    source_versions: Mapping[dg.AssetKey, str],
    unpassed: Mapping[dg.AssetKey, Sequence[StaleReason]],
) -> dict[dg.AssetKey, list[StaleReason]]:
    """Returns the stale assets with their reasons.

    Args:
        graph: The assets.
        tags: Tags of their latest materializations, from `latest_tags`.
        source_versions: Data version that each snapshot of a file would get now.
        unpassed: The blocking checks that each asset has not passed, from `gates.unpassed_checks`.

    Returns:
        The reasons of each stale asset, parents before children. An asset that is fresh now may become stale when one
        of its parents is materialized.
    """
    reasons_by_key = {key: stale_reasons(graph, tags, source_versions, unpassed, key) for key in graph.parents}
    return {key: reasons for key, reasons in reasons_by_key.items() if reasons}


def stale_reasons(
    graph: AssetGraph,
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    source_versions: Mapping[dg.AssetKey, str],
    unpassed: Mapping[dg.AssetKey, Sequence[StaleReason]],
    key: dg.AssetKey,
) -> list[StaleReason]:
    """Returns the reasons why one asset is stale; an empty list if the asset is fresh.

    Args:
        graph: The assets.
        tags: Tags of their latest materializations, from `latest_tags`.
        source_versions: Data version that each snapshot of a file would get now.
        unpassed: The blocking checks that each asset has not passed, from `gates.unpassed_checks`.
        key: The asset.
    """
    if key not in tags:
        return [StaleReason("not made yet")]
    asset_tags = tags[key]
    reasons = []
    # 1. The code changed.
    code_version = graph.specs[key].code_version
    if asset_tags.get(CODE_VERSION) != code_version:
        reasons.append(StaleReason(f"its code version changed: {asset_tags.get(CODE_VERSION)} -> {code_version}"))
    # 2. The asset is a snapshot, and its content changed. That of a model can be what a server says.
    if key in source_versions and asset_tags.get(DATA_VERSION) != source_versions[key]:
        reasons.append(StaleReason("the model changed" if key.path[0] == "models" else "its file changed"))
    # 3. A parent changed since the asset was made from it.
    for parent in graph.parents[key]:
        name = parent.to_user_string()
        if asset_tags.get(INPUT_VERSION + name) != tags.get(parent, {}).get(DATA_VERSION):
            reasons.append(StaleReason(f"{name} changed", parent))
    # 4. The latest content has not passed the asset's blocking checks.
    return [*reasons, *unpassed.get(key, ())]


def ready_assets(graph: AssetGraph, stale: Iterable[dg.AssetKey]) -> list[dg.AssetKey]:
    """Returns the stale assets that have no stale ancestor."""
    stale = set(stale)
    stale_or_descendant: set[dg.AssetKey] = set()
    ready: list[dg.AssetKey] = []
    for key, parents in graph.parents.items():
        if not stale_or_descendant.isdisjoint(parents):
            stale_or_descendant.add(key)
        elif key in stale:
            stale_or_descendant.add(key)
            ready.append(key)
    return ready


def next_wave(ready: Sequence[dg.AssetKey], unpassed: Mapping[dg.AssetKey, Sequence[StaleReason]]) -> list[dg.AssetKey]:
    """Returns the assets to make next: those that have not passed a blocking check, or else all ready assets.

    If the check fails again, the run stops before it spends time on other assets.

    Args:
        ready: The stale assets that have no stale ancestor, from `ready_assets`.
        unpassed: The blocking checks that each asset has not passed, from `gates.unpassed_checks`.
    """
    return [key for key in ready if key in unpassed] or list(ready)
