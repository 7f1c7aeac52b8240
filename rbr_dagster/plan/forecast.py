"""What a run would make, found out on a copy of the state, without a model and without a trace.

The cheap stages run for real on the copy, with the cells that they miss imagined. Where nothing had to be
imagined, the content of the next stage is certain too, and the forecast goes on with it; an earlier
materialization from the same inputs stands in for a stage that would take long. Behind anything else, what
comes *may* run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.snapshots import Contents
from assets.training import RECIPES, Training
from rbr_dagster.plan.dry_run_store import DryRunStore
from rbr_dagster.run.staleness import CODE_VERSION, DATA_VERSION, INPUT_VERSION, Graph, Reason, reasons
from resources.artifacts import Artifacts
from resources.asset_tags import CELLS
from resources.checkpoints import Checkpoint
from resources.models import Models
from resources.progress import Progress

Tags = Mapping[str, str]

_UNKNOWN = "unknown"
# Their bodies take long or write files.
_COSTLY = {dg.AssetKey(name) for name in ("fitted_weights", "reward", "evaluation_metrics", "safety_report")}
# Beside the makers of cells these decide which cells there are, and no value of a cell moves that.
_NAMING = {dg.AssetKey(name) for name in ("training_prompts", "test_prompts")}


@dataclass(frozen=True)
class Step:
    """An asset that a run would make, or may make.

    Attributes:
        key: The asset.
        because: Why.
        certain: It will be made; otherwise that depends on what the ones before it turn out as.
        wave: Number of the wave, from 1, if all of them are made.
        ready: Nothing that comes before it is uncertain, so that its cells are known to be missing.
        cells: Completions, grades or scores that it lacks.
        samples: What a trainer works through; None where nothing is trained.
    """

    key: dg.AssetKey
    because: tuple[str, ...]
    certain: bool
    wave: int
    ready: bool
    cells: int = 0
    samples: int | None = None

    @property
    def name(self) -> str:
        """The asset's name."""
        return self.key.to_user_string()


@dataclass
class Forecast:
    """Walks the graph once, parents before children.

    Attributes:
        definitions: The assets.
        graph: Their dependencies.
        tags: Tags of their latest materializations; those that they would get are added on the way.
        contents: What the user's files say now.
        sources: The data versions of these.
        history: Tags of an asset's earlier materializations, newest first.
        store: A copy of the store.
        artifacts: Where checkpoints are looked for; nothing is written there.
        context: What the assets are called with.
    """

    definitions: dg.Definitions
    graph: Graph
    tags: dict[dg.AssetKey, Tags]
    contents: Contents
    sources: Mapping[dg.AssetKey, str]
    history: Callable[[dg.AssetKey], Iterator[Tags]]
    store: DryRunStore
    artifacts: Artifacts
    context: dg.AssetExecutionContext
    _elsewhere: set[dg.AssetKey] = field(default_factory=set)

    def steps(self) -> Iterator[Step]:
        """The assets that a run would or may make, parents before children."""
        depth: dict[dg.AssetKey, int] = {}
        for key, parents in self.graph.parents.items():
            before = max((depth[parent] for parent in parents), default=0)
            depth[key] = before
            why = reasons(self.graph, self.tags, self.sources, key)
            if not why:
                continue
            depth[key] = before + 1
            yield self._step(key, why, depth[key])

    def _step(self, key: dg.AssetKey, why: list[Reason], wave: int) -> Step:
        uncertain = [reason for reason in why if reason.parent is not None and self._is_unknown(reason.parent)]
        known = not any(self._is_unknown(parent) for parent in self.graph.parents[key])
        certain = len(uncertain) < len(why)
        because = tuple(str(reason) for reason in why if reason not in uncertain) if certain else _may(uncertain)
        inputs = self._inputs(key)
        if key in RECIPES:
            version, samples = self._trained(key, inputs, known)
            cells = 0
        else:
            version, cells = self._made(key, inputs, known)
            samples = None
        self.tags[key] = {**inputs, DATA_VERSION: version}
        return Step(key, because, certain, wave, known, cells, samples)

    def _made(self, key: dg.AssetKey, inputs: Tags, known: bool) -> tuple[str, int]:
        """Data version, or `_UNKNOWN`, and cells imagined."""
        if key in self.sources:
            name = key.to_user_string()
            self.store.save_snapshot(name, self.contents[name], self.sources[key])
            return self.sources[key], 0
        readable = known and self._elsewhere.isdisjoint(self.graph.parents[key])
        if key in _NAMING or CELLS in self.graph.specs[key].tags or (readable and key not in _COSTLY):
            before = self.store.cells()
            version = self._run(key)
            cells = self.store.cells() - before
            return (version if readable and not cells else _UNKNOWN), cells
        earlier = self._earlier(key, inputs) if known else _UNKNOWN
        self._elsewhere.add(key)
        return earlier, 0

    def _trained(self, key: dg.AssetKey, inputs: Tags, known: bool) -> tuple[str, int | None]:
        """Data version, or `_UNKNOWN`, and samples to train on, None where there is a checkpoint already."""
        training = RECIPES[key]
        found = self._find_checkpoint(key, training, inputs) if known else None
        if found is not None:
            self._use(found)
            return found.version, None
        self._use(Checkpoint(training.variant, _UNKNOWN, "", f"{_UNKNOWN} {training.variant}", None))
        return _UNKNOWN, training.samples(self.store)

    def _find_checkpoint(self, key: dg.AssetKey, training: Training, inputs: Tags) -> Checkpoint | None:
        stored = [
            Checkpoint(**row)
            for row in self.store.read("checkpoints", "variant = ?", [training.variant]).iter_rows(named=True)
        ]
        there = [checkpoint for checkpoint in stored if self.artifacts.absolute(checkpoint.path).is_dir()]
        version = self._earlier(key, inputs)
        name = None
        if version == _UNKNOWN and self._elsewhere.isdisjoint(self.graph.parents[key]):
            name = training.recipe(self.store, self.artifacts, self._resources["progress"]).name
        return next((found for found in there if found.version == version or found.checkpoint == name), None)

    def _use(self, checkpoint: Checkpoint) -> None:
        row = pl.DataFrame([vars(checkpoint)], schema_overrides={"mlflow_run_id": pl.String})
        self.store.append("checkpoints", row)
        owner = row.select("variant", "checkpoint")
        self.store.replace("current_checkpoints", owner, within={"variant": checkpoint.variant})

    def _run(self, key: dg.AssetKey) -> str:
        asset = self.definitions.resolve_assets_def(key)
        given = {name: self._resources[name] for name in asset.required_resource_keys & self._resources.keys()}
        result: Any = asset(self.context, **given)
        return result.data_version.value

    def _earlier(self, key: dg.AssetKey, inputs: Tags) -> str:
        """The data version that the same code made of the same inputs at some time."""
        return next((tags[DATA_VERSION] for tags in self.history(key) if inputs.items() <= tags.items()), _UNKNOWN)

    def _inputs(self, key: dg.AssetKey) -> dict[str, str]:
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
            "artifacts": self.artifacts,
            "models": Models(),
            "progress": Progress(directory=str(Path(self.store.path).parent / "progress")),
        }


def _may(uncertain: list[Reason]) -> tuple[str, ...]:
    return tuple(f"{reason.parent.to_user_string()} may come out differently" for reason in uncertain if reason.parent)
