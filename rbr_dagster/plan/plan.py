"""`rbr plan`: what a run would do and what it would cost, before it does anything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import dagster as dg

from assets.snapshots import Contents, versions
from rbr.changes import describe_changes
from rbr_dagster.environment import Environment
from rbr_dagster.plan.dry_run_store import DryRunStore
from rbr_dagster.plan.estimate import History, Rate, rate_of, seconds_of
from rbr_dagster.plan.forecast import Forecast, Step
from rbr_dagster.run.driver import check_sources, select
from rbr_dagster.run.staleness import Graph, latest_tags
from resources.artifacts import Artifacts
from resources.asset_tags import CELLS, MODEL_WORK
from resources.store import Store

KINDS = ("completions", "grades", "scores")
_RULES = "rl_checkpoint/rbr"


@dataclass(frozen=True)
class Change:
    """A part of rulebook, profile or data that says something else than what is stored.

    Attributes:
        part: Its snapshot, such as ``rulebook/behavior``.
        lines: What changed, in words.
    """

    part: str
    lines: Sequence[str]


@dataclass(frozen=True)
class CostEstimate:
    """What the steps would cost, if all of them are made.

    Attributes:
        grader_calls: P(yes) to be read, rollouts apart.
        tokens: Tokens to be sampled, graded and scored, rollouts apart; None where nothing was ever counted.
        seconds: Wall time, trainings included; None where a step was never timed.
        certain_seconds: The same for the steps that are certain.
        rl_rollouts: Replies sampled in reinforcement learning.
        rl_grader_calls: P(yes) read of these.
    """

    grader_calls: int
    tokens: int | None
    seconds: float | None
    certain_seconds: float | None
    rl_rollouts: int
    rl_grader_calls: int


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        changes: Edited parts.
        steps: Assets that will or may be made, parents before children.
        cells_missing: Completions, grades and scores that are known to be missing, by kind.
        cells_expected: Those that come beside them if all steps are made, by kind.
        estimate: What it would cost.
    """

    changes: Sequence[Change]
    steps: Sequence[Step]
    cells_missing: Mapping[str, int]
    cells_expected: Mapping[str, int]
    estimate: CostEstimate

    @property
    def stale(self) -> list[Step]:
        """The steps that are certain."""
        return [step for step in self.steps if step.certain]

    @property
    def downstream(self) -> list[Step]:
        """The steps that depend on what the certain ones turn out as."""
        return [step for step in self.steps if not step.certain]

    @property
    def trainings(self) -> list[Step]:
        """The steps that train a model, or may."""
        return [step for step in self.steps if step.samples is not None]


def make_plan(environment: Environment, only: str | None = None) -> Plan:
    """Looks at files, tables and earlier runs; changes nothing and runs no model.

    Args:
        environment: State directory, profile and rulebook.
        only: Asset that alone is to be brought up to date, with all it is made from; None for every asset.

    Raises:
        InputError: A file of the user's cannot be used, or there is no such asset.
    """
    contents = check_sources(environment)
    graph = select(environment, only)
    from rbr_dagster.definitions import defs

    store = Store(path=str(environment.home / "rbr.duckdb"))
    with (
        _instance(environment) as instance,
        DryRunStore.copy_of(store) as copy,
        dg.DagsterInstance.ephemeral() as unrecorded,
        dg.build_asset_context(instance=unrecorded) as context,
    ):
        history = History(instance)
        tags = dict(latest_tags(instance, graph.specs)) if instance else {}
        changes = list(_changes(store, contents, [key.to_user_string() for key in graph.specs]))
        forecast = Forecast(
            definitions=defs,
            graph=graph,
            tags=tags,
            contents=contents,
            sources=versions(contents),
            history=history.tags,
            store=copy,
            artifacts=Artifacts(home=str(environment.home)),
            context=context,
        )
        steps = list(forecast.steps())
        rates = {step.key: rate_of(history, step) for step in steps}
    return Plan(
        changes=changes,
        steps=steps,
        cells_missing=_cells(graph, [step for step in steps if step.ready]),
        cells_expected=_cells(graph, [step for step in steps if not step.ready]),
        estimate=_estimate(graph, steps, rates, contents),
    )


@contextmanager
def _instance(environment: Environment) -> Iterator[dg.DagsterInstance | None]:
    # Opening an instance that is not there would make one.
    if not (environment.dagster_home / "history").is_dir():
        yield None
        return
    with dg.DagsterInstance.from_config(str(environment.dagster_home.absolute())) as instance:
        yield instance


def _changes(store: Store, contents: Contents, parts: Sequence[str]) -> Iterator[Change]:
    stored = store.snapshots()
    for part in sorted(contents.keys() & set(parts)):
        if part not in stored:
            yield Change(part, ["read for the first time"])
        elif lines := describe_changes(stored[part], contents[part]):
            yield Change(part, lines)


def _cells(graph: Graph, steps: Iterable[Step]) -> dict[str, int]:
    counts = dict.fromkeys(KINDS, 0)
    for step in steps:
        if step.cells:
            counts[graph.specs[step.key].tags[CELLS]] += step.cells
    return counts


def _estimate(
    graph: Graph, steps: Sequence[Step], rates: Mapping[dg.AssetKey, Rate | None], contents: Contents
) -> CostEstimate:
    cells = _cells(graph, steps)
    making = [(step.cells, rates[step.key]) for step in steps if step.cells]
    rollouts = {step.name: step.samples for step in steps if step.samples is not None and "rl_" in step.name}
    forked = {key for key, spec in graph.specs.items() if spec.tags.items() >= MODEL_WORK.items()}
    return CostEstimate(
        grader_calls=cells["grades"],
        tokens=None
        if any(rate is None for _, rate in making)
        else round(sum(count * rate.tokens for count, rate in making if rate is not None)),
        seconds=seconds_of(steps, rates, forked),
        certain_seconds=seconds_of([step for step in steps if step.certain], rates, forked),
        rl_rollouts=sum(rollouts.values()),
        rl_grader_calls=round(rollouts.get(_RULES, 0) * _questions_per_prompt(contents)),
    )


def _questions_per_prompt(contents: Contents) -> float:
    """Propositions asked about a rollout: training draws as many prompts of each category."""
    applicable = contents["rulebook/applicability"]
    categories = contents["rulebook/content_policy"]["categories"].values()
    return fmean(len(applicable[category["response_type"]]) for category in categories)
