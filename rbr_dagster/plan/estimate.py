"""How long a forecast's steps take, by what earlier materializations of the same assets took."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import dagster as dg

from rbr_dagster.plan.forecast import Step
from rbr_dagster.run.waves import CONCURRENT_STEPS
from resources.cells import CELLS_MADE, MAKING_SECONDS, OPENING_SECONDS, TOKENS
from resources.checkpoints import SAMPLES, TRAINING_SECONDS

_LOOK_BACK = 50
# Measured on two cores: what a wave costs beside its steps, and the first import of torch and transformers.
_WAVE_S = 1.0
_FORKED_WAVE_S = 2.0
_FIRST_FORK_S = 8.0


@dataclass
class History:
    """Earlier materializations; each asset's are read once.

    Attributes:
        instance: Where they are recorded; None where nothing was ever made.
    """

    instance: dg.DagsterInstance | None
    _events: dict[dg.AssetKey, list[dg.EventLogRecord]] = field(default_factory=dict)
    _durations: dict[str, dict[str, float]] = field(default_factory=dict)

    def tags(self, key: dg.AssetKey) -> Iterator[Mapping[str, str]]:
        """Tags of an asset's materializations, newest first."""
        for event in self._of(key):
            if event.asset_materialization is not None:
                yield event.asset_materialization.tags or {}

    def work(self, key: dg.AssetKey) -> Iterator[tuple[float, Mapping[str, Any]]]:
        """Seconds that the step took, and the entries of the asset's page, newest first."""
        for event in self._of(key):
            seconds = self._duration(event.run_id, event.event_log_entry.step_key or "")
            if event.asset_materialization is not None and seconds is not None:
                yield seconds, {name: entry.value for name, entry in event.asset_materialization.metadata.items()}

    def _of(self, key: dg.AssetKey) -> list[dg.EventLogRecord]:
        if self.instance is None:
            return []
        if key not in self._events:
            self._events[key] = list(self.instance.fetch_materializations(key, limit=_LOOK_BACK).records)
        return self._events[key]

    def _duration(self, run_id: str, step: str) -> float | None:
        if run_id not in self._durations and self.instance is not None:
            self._durations[run_id] = {
                stats.step_key: stats.end_time - stats.start_time
                for stats in self.instance.get_run_step_stats(run_id)
                if stats.end_time is not None and stats.start_time is not None
            }
        return self._durations.get(run_id, {}).get(step)


@dataclass(frozen=True)
class Rate:
    """What a step took, apart from what grows with its work.

    Attributes:
        fixed_s: Seconds whatever there is to do.
        per_unit_s: Seconds for each cell or sample.
        tokens: Tokens of a cell.
    """

    fixed_s: float
    per_unit_s: float = 0.0
    tokens: float = 0.0

    def seconds(self, step: Step) -> float:
        """What a step would take at this rate."""
        return self.fixed_s + self.per_unit_s * (step.samples or step.cells)


def rate_of(history: History, step: Step) -> Rate | None:
    """The latest rate at which an asset did work of this kind; None where it never did."""
    rates = (_rate(step, seconds, page) for seconds, page in history.work(step.key))
    return next((rate for rate in rates if rate is not None), None)


def seconds_of(
    steps: Iterable[Step], rates: Mapping[dg.AssetKey, Rate | None], forked: Collection[dg.AssetKey]
) -> float | None:
    """Wall time of some steps in their waves.

    Args:
        steps: The steps.
        rates: The rate of each.
        forked: Assets that run in processes of their own, a few at a time.

    Returns:
        Seconds; None where one of the steps was never timed.
    """
    total, is_first = 0.0, True
    for _, group in groupby(sorted(steps, key=lambda step: step.wave), key=lambda step: step.wave):
        wave = [(step, rates[step.key]) for step in group]
        taken = [rate.seconds(step) for step, rate in wave if rate is not None]
        if len(taken) < len(wave):
            return None
        if forked.isdisjoint(step.key for step, _ in wave):
            total += sum(taken) + _WAVE_S
        else:
            total += max(*taken, sum(taken) / CONCURRENT_STEPS) + _FORKED_WAVE_S + _FIRST_FORK_S * is_first
            is_first = False
    return total


def _rate(step: Step, seconds: float, page: Mapping[str, Any]) -> Rate | None:
    if step.samples is not None:
        if not page.get(SAMPLES):
            return None
        training = page[TRAINING_SECONDS]
        return Rate(seconds - training, training / page[SAMPLES])
    if step.cells:
        if not page.get(CELLS_MADE):
            return None
        making, cells = page[MAKING_SECONDS], page[CELLS_MADE]
        return Rate(seconds - making, making / cells, page[TOKENS] / cells)
    growing = sum(page.get(name, 0.0) for name in (OPENING_SECONDS, MAKING_SECONDS, TRAINING_SECONDS))
    return Rate(max(seconds - growing, 0.0))
