"""Which assets are out of date, and why, from the tags that Dagster keeps on every materialization.

Dagster's own notion of staleness is shown in its UI but is no public interface, and it looks one hop up only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from graphlib import TopologicalSorter

import dagster as dg

from rbr.errors import InputError

CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"
INPUT_VERSION = "dagster/input_data_version/"


@dataclass(frozen=True)
class Reason:
    """Why an asset is stale.

    Attributes:
        text: In words.
        parent: The input that moved, where one did.
    """

    text: str
    parent: dg.AssetKey | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Graph:
    """The assets of a code location."""

    specs: Mapping[dg.AssetKey, dg.AssetSpec]

    @classmethod
    def of(cls, definitions: dg.Definitions) -> "Graph":
        """The graph of some definitions."""
        return cls({spec.key: spec for spec in definitions.resolve_all_asset_specs()})

    def leading_to(self, asset: str | None) -> "Graph":
        """One asset and all it is made from; the whole graph where it is None.

        Raises:
            InputError: There is no such asset.
        """
        if asset is None:
            return self
        names = {key.to_user_string(): key for key in self.specs}
        if asset not in names:
            near = get_close_matches(asset, names, 3, 0.4)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Assets: {', '.join(sorted(names))}."
            raise InputError(f"there is no asset {asset!r}", hint=hint)
        wanted = {names[asset]}
        for key in reversed(self.parents):
            if key in wanted:
                wanted.update(self.parents[key])
        return Graph({key: spec for key, spec in self.specs.items() if key in wanted})

    @cached_property
    def parents(self) -> dict[dg.AssetKey, list[dg.AssetKey]]:
        """What each asset reads, parents before children, in a stable order."""
        unsorted = {key: sorted(dep.asset_key for dep in spec.deps) for key, spec in sorted(self.specs.items())}
        return {key: unsorted[key] for key in TopologicalSorter(unsorted).static_order()}


def latest_tags(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Mapping[str, str]]:
    """Tags of the latest materialization of each asset that has one."""
    found: dict[dg.AssetKey, Mapping[str, str]] = {}
    for record in instance.get_asset_records(list(keys)):
        materialization = record.asset_entry.last_materialization
        if materialization is not None and materialization.asset_materialization is not None:
            found[record.asset_entry.asset_key] = materialization.asset_materialization.tags or {}
    return found


def stale_assets(
    graph: Graph, tags: Mapping[dg.AssetKey, Mapping[str, str]], sources: Mapping[dg.AssetKey, str]
) -> dict[dg.AssetKey, list[Reason]]:
    """The assets that do not follow from what is there now, each with the reasons in words.

    Args:
        graph: The assets.
        tags: Tags of their latest materializations, as `latest_tags` gives them.
        sources: Data version that each snapshot of a file would get now.

    Returns:
        Only the stale ones, parents before children. Their children may become stale after them.
    """
    found = {key: reasons(graph, tags, sources, key) for key in graph.parents}
    return {key: why for key, why in found.items() if why}


def reasons(
    graph: Graph,
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    sources: Mapping[dg.AssetKey, str],
    key: dg.AssetKey,
) -> list[Reason]:
    """Why one asset is stale; empty where it is not. Arguments as for `stale_assets`."""
    if key not in tags:
        return [Reason("it was never made")]
    own = tags[key]
    found = []
    code = graph.specs[key].code_version
    if own.get(CODE_VERSION) != code:
        found.append(Reason(f"its code is version {code}, it was made by {own.get(CODE_VERSION)}"))
    if key in sources and own.get(DATA_VERSION) != sources[key]:
        found.append(Reason("the file says something else than what is stored"))
    for parent in graph.parents[key]:
        name = parent.to_user_string()
        if own.get(INPUT_VERSION + name) != tags.get(parent, {}).get(DATA_VERSION):
            found.append(Reason(f"{name} has other content now", parent))
    return found


def frontier(graph: Graph, stale: Iterable[dg.AssetKey]) -> list[dg.AssetKey]:
    """The stale assets that no other stale asset leads to: what can be made now without doing it twice."""
    outdated = set(stale)
    tainted: set[dg.AssetKey] = set()
    first: list[dg.AssetKey] = []
    for key, parents in graph.parents.items():
        if not tainted.isdisjoint(parents):
            tainted.add(key)
        elif key in outdated:
            tainted.add(key)
            first.append(key)
    return first
