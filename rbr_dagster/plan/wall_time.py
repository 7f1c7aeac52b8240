"""Estimates how long planned assets take, from the durations of their earlier materializations."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import dagster as dg

from rbr_dagster.plan.forecast import PlannedAsset
from rbr_dagster.plan.run_history import RunHistory
from rbr_dagster.run.waves import CONCURRENT_STEPS
from resources.cells import CELLS_MADE, MAKING_SECONDS, OPENING_SECONDS, TOKENS
from resources.checkpoints import SAMPLES, TRAINING_SECONDS

# Measured on two cores: the overhead of a wave, and the first import of torch and transformers.
_WAVE_S = 1.0
_FORKED_WAVE_S = 2.0
_FIRST_FORK_S = 8.0


@dataclass(frozen=True)
class StepRate:
    """The duration of an asset's step as a linear function of its work.

    Attributes:
        fixed_s: Seconds that do not depend on the amount of work.
        per_unit_s: Seconds per cell or sample.
        tokens: Tokens per cell.
    """

    fixed_s: float
    per_unit_s: float = 0.0
    tokens: float = 0.0

    def seconds(self, planned: PlannedAsset) -> float:
        """Returns the seconds that a planned asset takes at this rate."""
        return self.fixed_s + self.per_unit_s * (planned.samples or planned.cells)


def latest_rate(history: RunHistory, planned: PlannedAsset) -> StepRate | None:
    """Returns the rate of the asset's latest materialization that did work of the planned kind; None if there is none.

    The kinds of work are: to train, to make cells, and neither of them.
    """
    rates = (_rate(planned, seconds, metadata) for seconds, metadata in history.work(planned.key))
    return next((rate for rate in rates if rate is not None), None)


def wall_time(
    planned: Iterable[PlannedAsset], rates: Mapping[dg.AssetKey, StepRate | None], forked: Collection[dg.AssetKey]
) -> float | None:
    """Returns how long it takes to make planned assets, wave after wave.

    Args:
        planned: The planned assets.
        rates: Rate of each planned asset; None if it is unknown.
        forked: Assets whose steps run in separate processes, `CONCURRENT_STEPS` at a time.

    Returns:
        Seconds; None if the rate of a planned asset is unknown.
    """
    total, is_first_fork = 0.0, True
    for _, group in groupby(sorted(planned, key=lambda asset: asset.wave), key=lambda asset: asset.wave):
        wave = [(asset, rates[asset.key]) for asset in group]
        seconds = [rate.seconds(asset) for asset, rate in wave if rate is not None]
        if len(seconds) < len(wave):
            return None
        if forked.isdisjoint(asset.key for asset, _ in wave):
            total += sum(seconds) + _WAVE_S
        else:
            # The wave lasts at least as long as its longest step, and as all steps spread over the processes.
            total += max(*seconds, sum(seconds) / CONCURRENT_STEPS) + _FORKED_WAVE_S + _FIRST_FORK_S * is_first_fork
            is_first_fork = False
    return total


def _rate(planned: PlannedAsset, seconds: float, metadata: Mapping[str, Any]) -> StepRate | None:
    """Returns the rate of one materialization; None if it did not do the planned kind of work."""
    if planned.samples is not None:
        if not metadata.get(SAMPLES):
            return None
        training = metadata[TRAINING_SECONDS]
        return StepRate(seconds - training, training / metadata[SAMPLES])
    if planned.cells:
        if not metadata.get(CELLS_MADE):
            return None
        making, cells = metadata[MAKING_SECONDS], metadata[CELLS_MADE]
        return StepRate(seconds - making, making / cells, metadata[TOKENS] / cells)
    # No cell is missing and nothing is trained. Subtract the seconds that an earlier run spent on models.
    model_seconds = sum(metadata.get(name, 0.0) for name in (OPENING_SECONDS, MAKING_SECONDS, TRAINING_SECONDS))
    return StepRate(max(seconds - model_seconds, 0.0))
