"""`rbr plan`: shows which assets a run would make, and what the run would cost."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from rbr.changes import describe_changes
from rbr.errors import ServerAway
from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.plan.dry_run_store import DryRunStore
from rbr_dagster.plan.estimate import CostEstimate, count_canary_calls, count_cells, estimate_cost
from rbr_dagster.plan.forecast import Forecast, PlannedAsset
from rbr_dagster.plan.planned_checks import PlannedProblem
from rbr_dagster.plan.run_history import RunHistory
from rbr_dagster.plan.wall_time import latest_rate
from rbr_dagster.run.driver import read_valid_sources
from rbr_dagster.run.gates import unpassed_checks
from rbr_dagster.run.staleness import AssetGraph, latest_tags
from resources.sources import SourceContents, data_versions
from resources.store import Store


@dataclass(frozen=True)
class SourceChange:
    """A part of the rulebook, profile or data that differs from its stored snapshot.

    Attributes:
        part: Name of the snapshot, for example ``rulebook/behavior``.
        lines: The changes in words, one line each.
    """

    part: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """The assets that a run would make, why, and what the run would cost.

    Attributes:
        changes: Edited parts of the rulebook, profile and data.
        unchecked: Snapshots that count as unchanged, because the server that knows their content is away.
        problems: Checks that the run will not pass or may not pass.
        assets: Assets that will or may be made, parents before children.
        cells_missing: Number of cells that are known to be missing, by cell table.
        cells_expected: Number of further cells if every planned asset is made, by cell table.
        estimate: Cost of making every planned asset.
    """

    changes: Sequence[SourceChange]
    unchecked: Sequence[str]
    problems: Sequence[PlannedProblem]
    assets: Sequence[PlannedAsset]
    cells_missing: Mapping[str, int]
    cells_expected: Mapping[str, int]
    estimate: CostEstimate

    @property
    def certain(self) -> list[PlannedAsset]:
        """Assets that will be made."""
        return [asset for asset in self.assets if asset.certain]

    @property
    def possible(self) -> list[PlannedAsset]:
        """Assets that may be made, depending on the new content of their ancestors."""
        return [asset for asset in self.assets if not asset.certain]

    @property
    def trainings(self) -> list[PlannedAsset]:
        """Assets that will or may train a model."""
        return [asset for asset in self.assets if asset.samples is not None]


def make_plan(environment: Environment, only: str | None = None) -> Plan:
    """Plans a run from the files, the tables and the earlier runs. Changes nothing and runs no model.

    Args:
        environment: State directory, profile and rulebook.
        only: Name of an asset that is planned with its ancestors; None plans every asset.

    Raises:
        InputError: A file of the user cannot be used, or the asset does not exist.
        ServerAway: The server of the grader is away, and no earlier run has asked it for its model.
    """
    contents = read_valid_sources(environment)
    definitions = build_definitions(environment)
    graph = AssetGraph.from_definitions(definitions).only_upstream_of(only)
    unchecked = _unchecked(environment.store, contents, graph)
    with (
        _open_existing_instance(environment) as instance,
        _temporary_home(environment) as scratch,
        DryRunStore.copy_of(environment.store, scratch.store.path) as copy,
        # Assets that run on the copy must not be recorded in the user's instance.
        dg.DagsterInstance.ephemeral() as scratch_instance,
        dg.build_asset_context(instance=scratch_instance) as context,
    ):
        history = RunHistory(instance)
        forecast = Forecast(
            definitions=definitions,
            graph=graph,
            tags=dict(latest_tags(instance, graph.specs)) if instance else {},
            sources=environment.sources,
            contents=contents,
            source_versions=data_versions(contents),
            unpassed=unpassed_checks(instance, graph) if instance else {},
            history=history.tags,
            store=copy,
            artifacts=environment.artifacts,
            progress=scratch.progress,
            context=context,
        )
        changes = list(_changes(environment.store, contents, [key.to_user_string() for key in graph.specs]))
        planned = list(forecast.planned_assets())
        rates = {asset.key: latest_rate(history, asset) for asset in planned}
        canary_calls = count_canary_calls(copy, graph, planned)
    return Plan(
        changes=changes,
        unchecked=unchecked,
        problems=forecast.problems,
        assets=planned,
        cells_missing=count_cells(graph, [asset for asset in planned if asset.parents_known]),
        cells_expected=count_cells(graph, [asset for asset in planned if not asset.parents_known]),
        estimate=estimate_cost(graph, planned, rates, contents, canary_calls),
    )


@contextmanager
def _open_existing_instance(environment: Environment) -> Iterator[dg.DagsterInstance | None]:
    # Opening an instance that does not exist would create it.
    if not (environment.dagster_home / "history").is_dir():
        yield None
        return
    with environment.open_instance() as instance:
        yield instance


@contextmanager
def _temporary_home(environment: Environment) -> Iterator[Environment]:
    """Yields the environment with an empty state directory, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="rbr-plan-") as home:
        yield replace(environment, home=Path(home))


def _changes(store: Store, contents: SourceContents, parts: Sequence[str]) -> Iterator[SourceChange]:
    stored = store.snapshots()
    for part in sorted(contents.keys() & set(parts)):
        if part not in stored:
            yield SourceChange(part, ["read for the first time"])
        elif not isinstance(contents[part], ServerAway) and (lines := _describe(part, stored[part], contents[part])):
            yield SourceChange(part, lines)


def _describe(part: str, old: Any, new: Any) -> list[str]:
    if part != "models/grader":
        return describe_changes(old, new)
    served = describe_changes(old["served"] or {}, new["served"] or {})
    words = "; ".join(line.replace(": removed", " is missing").replace(": added", " is new") for line in served)
    return [
        *describe_changes({**old, "served": None}, {**new, "served": None}),
        *([f"the server reports another model: {words}"] if old["served"] and new["served"] and served else ()),
        *(["a server has the grader now"] if not old["served"] and new["served"] else ()),
        *(["no server has the grader any more"] if old["served"] and not new["served"] else ()),
    ]


def _unchecked(store: Store, contents: SourceContents, graph: AssetGraph) -> list[str]:
    """Returns the snapshots whose content nobody knows now; an earlier run has stored each of them."""
    stored = store.snapshots()
    away = {key.to_user_string(): contents.get(key.to_user_string()) for key in graph.specs}
    for part, content in away.items():
        if isinstance(content, ServerAway) and part not in stored:
            raise content
    return [part for part, content in away.items() if isinstance(content, ServerAway)]
