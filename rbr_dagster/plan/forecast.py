"""Predicts which assets a run would make. Works on a copy of the store and runs no model.

The forecast walks the graph from parents to children:

1. Fast assets run for real on the copy. The copy fills in each missing cell, and the forecast counts the cells.
2. If no cell was missing, the new content is known, and the forecast continues with it.
3. A slow asset does not run. Its data version comes from an earlier materialization with the same inputs.
4. Otherwise the new content is unknown, and the descendants *may* run.
5. If a blocking check fails on the copy, or failed in the last run, the descendants *may* run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from rbr.hashing import content_hash
from rbr_dagster.plan.dry_run_store import DryRunStore
from rbr_dagster.plan.planned_checks import (
    PROMPT_COUNTS,
    PlannedProblem,
    problems_of_counts,
    problems_of_last_run,
    problems_on_copy,
)
from rbr_dagster.run.staleness import (
    CODE_VERSION,
    DATA_VERSION,
    INPUT_VERSION,
    AssetGraph,
    StaleReason,
    stale_reasons,
)
from resources.artifacts import Artifacts
from resources.cells import CELLS_TAG
from resources.checkpoints import Checkpoint
from resources.models import Models
from resources.progress import Progress
from resources.sources import SourceContents, Sources
from resources.store.tables import TABLES
from resources.training_recipes import TRAININGS, TrainingForecast

Tags = Mapping[str, str]

_UNKNOWN = "unknown"
"""Data version of an asset whose new content cannot be predicted."""

_LABELED_PROMPTS = dg.AssetKey("labeled_prompts")

# Assets that take long or write files, so they do not run on the copy.
_TOO_SLOW = {dg.AssetKey(name) for name in ("fitted_weights", "reward", "evaluation_metrics", "safety_report")}
# Assets that decide which cells are needed. The values of other cells do not change this decision. So these assets run
# even if a parent is unknown, like the assets that make cells.
_DECIDE_CELLS = {dg.AssetKey(name) for name in ("training_prompts", "test_prompts")}


@dataclass(frozen=True)
class PlannedAsset:
    """An asset that a run would make, or may make.

    Attributes:
        key: Asset key.
        because: Why the asset is, or may become, stale; one text per reason.
        certain: True if the asset will run; False if that depends on the new content of its ancestors.
        wave: Number of the wave that the asset runs in if every planned asset runs, from 1.
        parents_known: True if the content of every parent is known, so that the missing cells are known too.
        cells: Number of missing completions, grades or scores.
        samples: Amount of work for the trainer: rollouts, or rows times epochs; None if nothing is trained.
    """

    key: dg.AssetKey
    because: tuple[str, ...]
    certain: bool
    wave: int
    parents_known: bool
    cells: int = 0
    samples: int | None = None

    @property
    def name(self) -> str:
        """Name of the asset, for example ``rl_checkpoint/rbr``."""
        return self.key.to_user_string()


@dataclass
class Forecast:
    """A walk through the graph, parents before children. Use each object once: the walk changes `tags` and `store`.

    Attributes:
        definitions: The assets.
        graph: Dependencies of the assets to plan.
        tags: Tags of the latest materialization of each asset. The walk replaces them by the tags of the next one.
        sources: Paths of the source files.
        contents: Content of each source file now.
        source_versions: Data version of each content.
        unpassed: The blocking checks that each asset has not passed.
        history: Returns the tags of an asset's earlier materializations, newest first.
        store: A copy of the store, on which fast assets run.
        artifacts: Finds existing checkpoints; the walk writes nothing there.
        progress: Progress files of the assets that run on the copy.
        context: The context that the assets are called with.
        problems: Checks that the run would not pass, or may not pass; the walk adds them.
    """

    definitions: dg.Definitions
    graph: AssetGraph
    tags: dict[dg.AssetKey, Tags]
    sources: Sources
    contents: SourceContents
    source_versions: Mapping[dg.AssetKey, str]
    unpassed: Mapping[dg.AssetKey, Sequence[StaleReason]]
    history: Callable[[dg.AssetKey], Iterator[Tags]]
    store: DryRunStore
    artifacts: Artifacts
    progress: Progress
    context: dg.AssetExecutionContext
    problems: list[PlannedProblem] = field(default_factory=list)
    # Assets that did not run on the copy, so their tables there are out of date.
    _not_on_copy: set[dg.AssetKey] = field(default_factory=set)
    # Results of the checks of assets that ran on the copy with the inputs that a run would use.
    _check_results: dict[dg.AssetKey, Sequence[dg.AssetCheckResult]] = field(default_factory=dict)
    # Asset -> the asset at or above it that may not pass a blocking check.
    _gates: dict[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    # Ids of the prompts whose category is a placeholder on the copy.
    _without_category: frozenset[str] = frozenset()

    def planned_assets(self) -> Iterator[PlannedAsset]:
        """Yields the assets that a run would make or may make, parents before children."""
        waves: dict[dg.AssetKey, int] = {}  # Asset -> wave after which it is up to date; 0 if it is up to date now.
        for key, parents in self.graph.parents.items():
            waves[key] = max((waves[parent] for parent in parents), default=0)
            gate = next((self._gates[parent] for parent in parents if parent in self._gates), None)
            reasons = stale_reasons(self.graph, self.tags, self.source_versions, self.unpassed, key)
            if reasons:
                waves[key] += 1
                yield self._plan_asset(key, reasons, waves[key], gate)
                problems = list(self._problems_of(key, reasons))
                self.problems += problems
                if gate is None and any(problem.stops for problem in problems):
                    gate = key
            if gate is not None:
                self._gates[key] = gate

    def _problems_of(self, key: dg.AssetKey, reasons: Sequence[StaleReason]) -> Iterator[PlannedProblem]:
        """Yields the checks that a stale asset would not pass, or may not pass."""
        if key in self._check_results:
            yield from problems_on_copy(key, self._check_results[key])
        elif key == PROMPT_COUNTS and self._without_category:
            yield from problems_of_counts(self.store, self._without_category)
        else:
            yield from problems_of_last_run(key, reasons)

    def _plan_asset(
        self, key: dg.AssetKey, reasons: list[StaleReason], wave: int, gate: dg.AssetKey | None
    ) -> PlannedAsset:
        # 1. Is it certain that the asset runs? Yes, unless every reason is a parent whose content is unknown, or an
        # ancestor may not pass its checks.
        uncertain = [reason for reason in reasons if reason.parent is not None and self._is_unknown(reason.parent)]
        certain = len(uncertain) < len(reasons)
        because = tuple(str(reason) for reason in reasons if reason not in uncertain) if certain else _may(uncertain)
        if gate is not None:
            certain, because = False, (*because, f"{gate.to_user_string()} has to pass its checks first")
        # 2. What would the asset contain, and how much work would that be?
        parents_known = not any(self._is_unknown(parent) for parent in self.graph.parents[key])
        inputs = self._input_tags(key)
        cells, samples = 0, None
        training = TRAININGS.get(key.to_user_string())
        if training is not None:
            version, samples = self._forecast_training(key, training, inputs, parents_known)
        else:
            version, cells = self._forecast_content(key, inputs, parents_known)
        # 3. From here on, the asset counts as made, with the predicted data version.
        self.tags[key] = {**inputs, DATA_VERSION: version}
        return PlannedAsset(key, because, certain, wave, parents_known, cells, samples)

    def _forecast_content(self, key: dg.AssetKey, inputs: Tags, parents_known: bool) -> tuple[str, int]:
        """Returns the data version, or `_UNKNOWN`, and the number of missing cells."""
        # A snapshot contains what the file contains.
        name = key.to_user_string()
        if key in self.source_versions:
            self.store.save_snapshot(name, self.contents[name], self.source_versions[key])
            return self.source_versions[key], 0
        # If the server that knows the content is away, the stored content counts.
        if name in self.contents:
            return content_hash(self.store.snapshot(name)), 0
        # A fast asset runs on the copy. The result is certain if its inputs are up to date and no cell was missing.
        inputs_on_copy = parents_known and self._not_on_copy.isdisjoint(self.graph.parents[key])
        makes_cells = CELLS_TAG in self.graph.specs[key].tags
        if makes_cells or key in _DECIDE_CELLS or (inputs_on_copy and key not in _TOO_SLOW):
            before = self.store.count_cells()
            result = self._run_on_copy(key)
            version = result.data_version.value
            cells = self.store.count_cells() - before
            if inputs_on_copy and not cells:
                self._check_results[key] = result.check_results or []
            return (version if inputs_on_copy and not cells else _UNKNOWN), cells
        # For any other asset, look for an earlier materialization from the same inputs.
        self._not_on_copy.add(key)
        return self._version_from_history(key, inputs) if parents_known else _UNKNOWN, 0

    def _forecast_training(
        self, key: dg.AssetKey, training: TrainingForecast, inputs: Tags, parents_known: bool
    ) -> tuple[str, int | None]:
        """Returns the data version, or `_UNKNOWN`, and the samples to train on; None if a checkpoint exists."""
        checkpoint = self._find_checkpoint(key, training, inputs) if parents_known else None
        if checkpoint is not None:
            self._make_current(checkpoint)
            return checkpoint.version, None
        # The descendants read a checkpoint from the store. Store one with an unknown fingerprint for them.
        unknown = Checkpoint(training.variant, _UNKNOWN, "", None, "float32", f"{_UNKNOWN} {training.variant}", None)
        self._make_current(unknown)
        return _UNKNOWN, training.samples(self.store)

    def _find_checkpoint(self, key: dg.AssetKey, training: TrainingForecast, inputs: Tags) -> Checkpoint | None:
        """Returns the checkpoint that a run would use instead of training; None if the run would train."""
        rows = self.store.read("checkpoints", "variant = ?", [training.variant]).iter_rows(named=True)
        checkpoints = [Checkpoint(**row) for row in rows]
        existing = [checkpoint for checkpoint in checkpoints if self.artifacts.absolute(checkpoint.path).is_dir()]
        # Find the checkpoint by the data version of an earlier materialization. Without one, find it by the name in the
        # recipe, but only if the tables that the recipe reads are up to date on the copy.
        version = self._version_from_history(key, inputs)
        name = None
        if version == _UNKNOWN and self._not_on_copy.isdisjoint(self.graph.parents[key]):
            name = training.recipe(self.store, self.artifacts, self.progress).name
        matches = (candidate for candidate in existing if candidate.version == version or candidate.checkpoint == name)
        return next(matches, None)

    def _make_current(self, checkpoint: Checkpoint) -> None:
        """Stores a checkpoint on the copy, as the current checkpoint of its variant."""
        row = pl.DataFrame([vars(checkpoint)], schema_overrides={"mlflow_run_id": pl.String})
        self.store.append("checkpoints", row)
        current = row.select("variant", "checkpoint")
        self.store.replace("current_checkpoints", current, within={"variant": checkpoint.variant})

    def _run_on_copy(self, key: dg.AssetKey) -> Any:
        """Runs an asset on the copy and returns its result, a `dg.MaterializeResult`."""
        asset = self.definitions.resolve_assets_def(key)
        resources = {name: self._resources[name] for name in asset.required_resource_keys & self._resources.keys()}
        graded = self.store.read("grades") if key == _LABELED_PROMPTS else None
        result = asset(self.context, **resources)
        if graded is not None:
            filled = self.store.read("grades").join(graded, on=TABLES["grades"].key, how="anti")
            self._without_category = frozenset(filled["completion_id"])
        return result

    def _version_from_history(self, key: dg.AssetKey, inputs: Tags) -> str:
        """Returns the data version of the latest materialization with the same code and inputs, or `_UNKNOWN`."""
        return next((tags[DATA_VERSION] for tags in self.history(key) if inputs.items() <= tags.items()), _UNKNOWN)

    def _input_tags(self, key: dg.AssetKey) -> dict[str, str]:
        """Returns the tags that a materialization would get for its code version and for the data of its parents."""
        versions = {
            INPUT_VERSION + parent.to_user_string(): self.tags[parent][DATA_VERSION]
            for parent in self.graph.parents[key]
        }
        return {CODE_VERSION: self.graph.specs[key].code_version or "", **versions}

    def _is_unknown(self, key: dg.AssetKey) -> bool:
        return self.tags[key][DATA_VERSION] == _UNKNOWN

    @cached_property
    def _resources(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "sources": self.sources,
            "artifacts": self.artifacts,
            "models": Models(),
            "progress": self.progress,
        }


def _may(uncertain: list[StaleReason]) -> tuple[str, ...]:
    return tuple(f"{reason.parent.to_user_string()} may change" for reason in uncertain if reason.parent)
