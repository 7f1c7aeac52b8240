"""`rbr run`: brings every asset up to date, wave after wave.

Dagster executes every asset that a run selects, even if no input changed. A wave therefore selects only the stale
assets that have no stale ancestor. After each wave, the driver decides again which assets are stale. If an asset was
made again with equal content, the assets below it stay fresh.

An asset whose blocking check failed stays stale in every later run, so no run makes the assets below it. The driver
makes such an asset again before all others.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from rbr.errors import InputError, ServerAway
from rbr.files.schema_errors import sorted_by_line
from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.run import waves
from rbr_dagster.run.gates import unpassed_checks
from rbr_dagster.run.interrupts import stop_requests
from rbr_dagster.run.staleness import AssetGraph, latest_tags, next_wave, ready_assets, stale_assets
from rbr_dagster.run.terminal import Terminal
from resources.sources import SourceContents, data_versions, read_sources, unknown_names_in_data
from resources.state.lease import lease
from resources.state.lifeline import DRIVER_PID

MAX_WAVES = 99


class RunFailed(Exception):
    """A wave failed.

    Args:
        message: Which asset failed, why, and what the user can do about it.
        is_input: True if a file or setting of the user is wrong.
    """

    def __init__(self, message: str, is_input: bool = False) -> None:
        super().__init__(message)
        self.is_input = is_input


def bring_up_to_date(environment: Environment, contents: SourceContents, graph: AssetGraph, terminal: Terminal) -> int:
    """Runs waves until no asset is stale.

    Args:
        environment: State directory, profile and rulebook.
        contents: Content of every source file, from `read_valid_sources`.
        graph: The assets, from `select_assets`.
        terminal: Shows the progress.

    Returns:
        Number of assets made.

    Raises:
        InputError: Another driver works on the state directory, or a file was edited during the run and cannot be
            used.
        RunFailed: An asset could not be made, a blocking check failed, or assets are still stale after `MAX_WAVES`.
        KeyboardInterrupt: The user stopped the run (SIGINT or SIGTERM). Finished assets are kept.
    """
    environment.prepare()
    with lease(environment.home):
        # Forked steps inherit these variables: they build the same definitions, and they end when this process ends.
        # No other code changes the variables of this process.
        os.environ.update({**environment.variables(), DRIVER_PID: str(os.getpid())})
        with stop_requests() as stop_requested, environment.open_instance() as instance:
            waves.cancel_abandoned_runs(instance)
            driver = _Driver(environment, graph, terminal, instance, stop_requested)
            return driver.run_waves(contents)


def select_assets(environment: Environment, only: str | None) -> AssetGraph:
    """Returns the assets that a run brings up to date.

    Args:
        environment: State directory, profile and rulebook.
        only: Name of an asset that is brought up to date with its ancestors; None selects every asset.

    Raises:
        InputError: The asset does not exist.
    """
    return AssetGraph.from_definitions(build_definitions(environment)).only_upstream_of(only)


def read_valid_sources(environment: Environment) -> SourceContents:
    """Reads the profile, the rulebook and the data files.

    Returns:
        The content of each part; no content is an error, except that a server may be away.

    Raises:
        InputError: One or several files cannot be used. The error lists all problems.
    """
    environment.check_profile()
    contents = read_sources(environment.profile, environment.rulebook)
    # One problem can affect several parts.
    problems = {
        str(problem): problem
        for content in contents.values()
        if isinstance(content, InputError) and not isinstance(content, ServerAway)
        for problem in content.problems
    } | {str(problem): problem for problem in unknown_names_in_data(environment.profile, contents)}
    if problems:
        raise InputError.collect(sorted_by_line(problems.values()))
    return contents


@dataclass(frozen=True)
class _Driver:
    """Runs waves on one state directory. The caller holds the lease on the directory.

    Attributes:
        environment: State directory, profile and rulebook.
        graph: The assets to bring up to date.
        terminal: Shows the progress.
        instance: Records the runs.
        stop_requested: Returns True if the user asked the run to stop.
    """

    environment: Environment
    graph: AssetGraph
    terminal: Terminal
    instance: dg.DagsterInstance
    stop_requested: Callable[[], bool]

    def run_waves(self, contents: SourceContents) -> int:
        """Runs waves until no asset is stale. Returns the number of assets made."""
        source_versions = data_versions(contents)
        asset_count = 0
        for number in range(1, MAX_WAVES + 1):
            tags = latest_tags(self.instance, self.graph.specs)
            unpassed = unpassed_checks(self.instance, self.graph)
            ready = ready_assets(self.graph, stale_assets(self.graph, tags, source_versions, unpassed))
            wave = next_wave(ready, unpassed)
            if not wave:
                return asset_count
            asset_count += self._run_wave(number, wave)
            # If the wave took snapshots, read the files again. A file may have been edited since the first reading, and
            # its snapshot would stay stale forever.
            if not source_versions.keys().isdisjoint(wave):
                source_versions = data_versions(read_valid_sources(self.environment))
        raise RunFailed(
            f"Assets are still stale after {MAX_WAVES} waves: an asset has other content each time it is made. "
            "Its code may depend on time or randomness."
        )

    def _run_wave(self, number: int, wave: Sequence[dg.AssetKey]) -> int:
        """Runs one wave and shows its result. Returns the number of assets made."""
        started = time.monotonic()
        with self.terminal.wave(number, [key.to_user_string() for key in wave]):
            try:
                result = waves.run_wave(wave, self.graph, self.instance)
            finally:
                # Dagster reports a stop signal as a failed run, so ask for the signal before looking at the result.
                if self.stop_requested():
                    raise KeyboardInterrupt
        self.terminal.wave_done(result.seconds, time.monotonic() - started, result.warnings)
        if result.failures:
            is_input = all(failure.is_input for failure in result.failures)
            is_explained = all(failure.is_explained for failure in result.failures)
            hint = "" if is_explained else f"\n  See run {result.run_id} in the Dagster UI (`rbr ui`)."
            message = "\n".join(f"{failure.asset}: {failure.message}" for failure in result.failures)
            raise RunFailed(f"{message}{hint}", is_input=is_input)
        return len(result.seconds)
