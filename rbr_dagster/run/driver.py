"""`rbr run`: brings every asset up to date, wave after wave.

Dagster runs everything that is selected, whether or not its inputs moved. A wave therefore selects only what has no
stale ancestor; what a wave made decides what is stale after it, so equal content stops there.
"""

import os
import time
from collections.abc import Callable, Mapping

import dagster as dg

from assets.snapshots import Contents, read_sources, versions
from rbr.errors import InputError
from rbr_dagster.environment import Environment, check_profile
from rbr_dagster.run.interrupts import stop_requests
from rbr_dagster.run.staleness import Graph, frontier, latest_tags, stale_assets
from rbr_dagster.run.terminal import Terminal
from resources.lease import lease
from resources.trainer_process.lifeline import DRIVER_PID

MAX_WAVES = 100


class RunFailed(Exception):
    """A wave failed.

    Args:
        message: What failed and what to do about it.
        is_input: Whether an input of the user's is at fault.
    """

    def __init__(self, message: str, is_input: bool = False) -> None:
        super().__init__(message)
        self.is_input = is_input


def bring_up_to_date(environment: Environment, graph: Graph, terminal: Terminal) -> int:
    """Makes waves until nothing is stale.

    Args:
        environment: State directory, profile and rulebook.
        graph: The assets, as `select` gives them.
        terminal: Shows what happens.

    Returns:
        Number of assets made.

    Raises:
        InputError: A file of the user's cannot be used (nothing was written then), or another driver is at work.
        RunFailed: An asset could not be made, or a blocking check failed.
        KeyboardInterrupt: The user stopped it (SIGINT or SIGTERM). What was made stays.
    """
    sources = versions(check_sources(environment))
    environment.prepare()
    with lease(environment.home):
        # Every process of a wave ends with this one.
        os.environ[DRIVER_PID] = str(os.getpid())
        with (
            stop_requests() as stop_requested,
            dg.DagsterInstance.from_config(str(environment.dagster_home.absolute())) as instance,
        ):
            return _waves(instance, graph, environment, sources, terminal, stop_requested)


def select(environment: Environment, only: str | None) -> Graph:
    """The assets of one pipeline that a run is about.

    Args:
        environment: State directory, profile and rulebook.
        only: An asset that alone is brought up to date, with all it is made from; None for every asset.

    Raises:
        InputError: There is no such asset.
    """
    os.environ.update(environment.variables())
    # Imported here: the code location reads the environment variables that were just set.
    from rbr_dagster.definitions import defs

    return Graph.of(defs).leading_to(only)


def check_sources(environment: Environment) -> Contents:
    """Reads every file of the user's.

    Returns:
        The content of each part, none of it an error.

    Raises:
        InputError: One of them cannot be used.
    """
    check_profile(environment.profile)
    contents = read_sources(environment.profile, environment.rulebook)
    broken = list(dict.fromkeys(str(content) for content in contents.values() if isinstance(content, InputError)))
    if broken:
        raise InputError("\n".join(broken))
    return contents


def _waves(
    instance: dg.DagsterInstance,
    graph: Graph,
    environment: Environment,
    sources: Mapping[dg.AssetKey, str],
    terminal: Terminal,
    stop_requested: Callable[[], bool],
) -> int:
    from rbr_dagster.run.waves import close_abandoned, make

    close_abandoned(instance)
    made = 0
    for number in range(1, MAX_WAVES):
        stale = stale_assets(graph, latest_tags(instance, graph.specs), sources)
        wave = frontier(graph, stale)
        if not wave:
            return made
        started = time.monotonic()
        with terminal.wave(number, [key.to_user_string() for key in wave]):
            try:
                result = make(wave, instance)
            finally:
                if stop_requested():
                    raise KeyboardInterrupt
        made += len(result.seconds)
        terminal.wave_done(result.seconds, time.monotonic() - started, result.warnings)
        if result.failures:
            first = result.failures[0]
            hint = "" if first.is_input else f"\n  Run {result.run_id} in the Dagster UI (`rbr ui`) has the details."
            raise RunFailed(f"{first.asset}: {first.message}{hint}", is_input=first.is_input)
        # A file that was edited between the first look and its snapshot would stay stale for ever.
        if not sources.keys().isdisjoint(wave):
            sources = versions(check_sources(environment))
    raise RunFailed("The assets do not come to rest: some stage makes other content every time.", is_input=False)
