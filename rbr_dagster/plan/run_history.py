"""Reads the earlier materializations of assets: their tags, durations and amounts of work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

_MAX_MATERIALIZATIONS = 50


@dataclass
class RunHistory:
    """The latest materializations of each asset. Those of an asset are read when they are first needed.

    Attributes:
        instance: The Dagster instance; None before the first run.
    """

    instance: dg.DagsterInstance | None
    _records: dict[dg.AssetKey, list[dg.EventLogRecord]] = field(default_factory=dict)
    _durations: dict[str, dict[str, float]] = field(default_factory=dict)

    def tags(self, key: dg.AssetKey) -> Iterator[Mapping[str, str]]:
        """Yields the tags of an asset's materializations, newest first."""
        for record in self._materializations(key):
            if record.asset_materialization is not None:
                yield record.asset_materialization.tags or {}

    def work(self, key: dg.AssetKey) -> Iterator[tuple[float, Mapping[str, Any]]]:
        """Yields the duration of the step in seconds and the metadata of the materialization, newest first."""
        for record in self._materializations(key):
            seconds = self._step_seconds(record.run_id, record.event_log_entry.step_key or "")
            if record.asset_materialization is not None and seconds is not None:
                yield seconds, {name: entry.value for name, entry in record.asset_materialization.metadata.items()}

    def _materializations(self, key: dg.AssetKey) -> list[dg.EventLogRecord]:
        if self.instance is None:
            return []
        if key not in self._records:
            self._records[key] = list(self.instance.fetch_materializations(key, limit=_MAX_MATERIALIZATIONS).records)
        return self._records[key]

    def _step_seconds(self, run_id: str, step: str) -> float | None:
        if run_id not in self._durations and self.instance is not None:
            self._durations[run_id] = {
                stats.step_key: stats.end_time - stats.start_time
                for stats in self.instance.get_run_step_stats(run_id)
                if stats.end_time is not None and stats.start_time is not None
            }
        return self._durations.get(run_id, {}).get(step)
