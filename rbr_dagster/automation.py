"""The sensor and the schedule. They request the waves that `rbr run` would run, one wave per tick.

Both are off until a user switches them on in the UI.
"""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr_dagster.run.gates import unpassed_checks
from rbr_dagster.run.staleness import (
    DATA_VERSION,
    AssetGraph,
    StaleReason,
    latest_tags,
    next_wave,
    ready_assets,
    stale_assets,
)
from resources.sources import Sources, data_versions, read_sources, snapshot_key

MAX_ATTEMPTS = 2

_INPUTS_TAG = "rbr.asset/"
"""Prefix of the run tags. A run has a tag for each requested asset; its value is a hash of the asset's inputs, and the
storage id of the materialization that the inputs differ from."""

_IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

TickResult = dg.RunRequest | dg.SkipReason


def build_automation(
    load_graph: Callable[[], AssetGraph], job: str
) -> tuple[dg.SensorDefinition, dg.ScheduleDefinition]:
    """Builds the sensor and the schedule.

    Args:
        load_graph: Returns the assets. The function is called at each tick and not now, because the definitions that it
            reads contain the sensor and the schedule.
        job: Name of the job that the requested runs belong to.
    """

    @dg.sensor(
        name="rulebook_sensor",
        job_name=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Watches rulebook, profile and data files. Brings stale assets up to date, one wave per tick.",
    )
    def rulebook_sensor(context: dg.SensorEvaluationContext, sources: Sources) -> TickResult:
        return request_next_wave(context.instance, load_graph(), sources)

    @dg.schedule(
        name="nightly_sync",
        job_name=job,
        cron_schedule="*/5 0-5 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Requests the next wave every five minutes from midnight to six, until no asset is stale.",
    )
    def nightly_sync(context: dg.ScheduleEvaluationContext, sources: Sources) -> TickResult:
        return request_next_wave(context.instance, load_graph(), sources)

    return rulebook_sensor, nightly_sync


def request_next_wave(instance: dg.DagsterInstance, graph: AssetGraph, sources: Sources) -> TickResult:
    """Returns a request for the next wave, or the reason why nothing is requested.

    An asset that failed, or whose blocking check failed, is requested a second time. If it fails again, it is not
    requested until one of its inputs changes. Assets that do not depend on the failed asset are still requested.

    Args:
        instance: Records the runs and the materializations.
        graph: The assets.
        sources: Paths of the files that a user edits.
    """
    in_flight = instance.get_runs(dg.RunsFilter(statuses=_IN_FLIGHT), limit=1)
    if in_flight:
        return dg.SkipReason(f"Run {in_flight[0].run_id} is in progress; the next tick checks again.")
    # 1. Find the stale assets. A file that cannot be used stops only the assets that depend on it.
    contents = read_sources(sources.profile, sources.rulebook)
    source_versions = data_versions(contents)
    broken = {snapshot_key(name): error for name, error in contents.items() if isinstance(error, InputError)}
    tags = latest_tags(instance, graph.specs)
    unpassed = unpassed_checks(instance, graph)
    stale = stale_assets(graph, tags, source_versions, unpassed)
    ready = [key for key in ready_assets(graph, stale) if key not in broken]
    # 2. Drop the assets that failed too often on the same inputs.
    inputs = _inputs(instance, graph, ready, source_versions, unpassed)
    earlier_runs = {key: instance.get_runs(dg.RunsFilter(tags={_tag(key): inputs[key]})) for key in ready}
    due = [key for key in ready if len(earlier_runs[key]) < MAX_ATTEMPTS]
    given_up = [_given_up(key, earlier_runs[key][0], unpassed.get(key, [])) for key in ready if key not in due]
    if not due:
        problems = [*dict.fromkeys(map(str, broken.values())), *given_up]
        return dg.SkipReason("\n".join(problems) or "Everything is up to date.")
    # 3. Request the next wave. Dagster ignores a run key that it has seen, so the key contains the attempt.
    wave = next_wave(due, unpassed)
    run_tags = {_tag(key): inputs[key] for key in wave}
    attempts = [len(earlier_runs[key]) + 1 for key in wave]
    return dg.RunRequest(run_key=content_hash([run_tags, attempts]), asset_selection=wave, tags=run_tags)


def _given_up(key: dg.AssetKey, last_run: dg.DagsterRun, unpassed: Sequence[StaleReason]) -> str:
    """Returns in words why an asset is not requested a third time."""
    failed = f"{key.to_user_string()} failed {MAX_ATTEMPTS} times, last in run {last_run.run_id}."
    return " ".join([failed, *(f"{reason.text[:1].upper()}{reason.text[1:]}" for reason in unpassed)])


def _inputs(
    instance: dg.DagsterInstance,
    graph: AssetGraph,
    keys: Sequence[dg.AssetKey],
    source_versions: Mapping[dg.AssetKey, str],
    unpassed: Mapping[dg.AssetKey, Sequence[StaleReason]],
) -> dict[dg.AssetKey, str]:
    """Returns, for each asset, a text that all attempts on the same inputs have in common.

    The text consists of a hash of code version, checks and inputs, and of the storage id of a materialization. The id
    is included because an edit can be made, reverted and made again. The second edit must get another text than the
    first edit, or Dagster would ignore the request. It is the id of the latest materialization. If that has not passed
    a check, it came from a failed attempt, and the text has the id that the attempt had. A further attempt on the same
    inputs then counts as the second one.
    """
    tags = latest_tags(instance, graph.specs)
    latest = {
        record.asset_entry.asset_key: record.asset_entry.last_materialization_record
        for record in instance.get_asset_records(list(keys))
    }

    def materialization_before(key: dg.AssetKey) -> str:
        record = latest.get(key)
        if record is None:
            return "none"
        run = instance.get_run_by_id(record.run_id) if key in unpassed else None
        if run is not None and _tag(key) in run.tags:
            return run.tags[_tag(key)].rpartition("-")[2]
        return str(record.storage_id)

    def input_hash(key: dg.AssetKey) -> str:
        spec, checks = graph.specs[key], graph.blocking_checks.get(key, ())
        parents = [tags[parent].get(DATA_VERSION) for parent in graph.parents[key]]
        return content_hash([spec.code_version, checks, source_versions.get(key), parents])

    return {key: f"{input_hash(key)}-{materialization_before(key)}" for key in keys}


def _tag(key: dg.AssetKey) -> str:
    """Returns the name of an asset's run tag."""
    return _INPUTS_TAG + ".".join(key.path)
