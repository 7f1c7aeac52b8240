"""The sensor and the schedule. They request the waves that `rbr run` would run, one wave per tick.

Both are off until a user switches them on in the UI.
"""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr_dagster.run.staleness import DATA_VERSION, AssetGraph, latest_tags, ready_assets, stale_assets
from resources.sources import Sources, data_versions, read_sources, snapshot_key

MAX_ATTEMPTS = 2

_INPUTS_TAG = "rbr.asset/"
"""Prefix of the run tags. A run has a tag for each requested asset; its value is a hash of the asset's inputs."""

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

    An asset that failed is requested a second time. If it fails again, it is not requested until one of its inputs
    changes. Assets that do not depend on the failed asset are still requested.

    Args:
        instance: Records the runs and the materializations.
        graph: The assets.
        sources: Paths of the files that a user edits.
    """
    in_flight = instance.get_runs(dg.RunsFilter(statuses=_IN_FLIGHT), limit=1)
    if in_flight:
        return dg.SkipReason(f"Run {in_flight[0].run_id} is in progress; the next tick checks again.")
    # 1. Find the wave. A file that cannot be used stops only the assets that depend on it.
    contents = read_sources(sources.profile, sources.rulebook)
    source_versions = data_versions(contents)
    broken = {snapshot_key(name): error for name, error in contents.items() if isinstance(error, InputError)}
    tags = latest_tags(instance, graph.specs)
    stale = stale_assets(graph, tags, source_versions)
    wave = [key for key in ready_assets(graph, stale) if key not in broken]
    # 2. Drop the assets that failed too often on the same inputs.
    input_hashes = _input_hashes(instance, graph, wave, source_versions)
    earlier_runs = {key: instance.get_runs(dg.RunsFilter(tags={_tag(key): input_hashes[key]})) for key in wave}
    due = [key for key in wave if len(earlier_runs[key]) < MAX_ATTEMPTS]
    given_up = [
        f"{key.to_user_string()} failed {MAX_ATTEMPTS} times, last in run {earlier_runs[key][0].run_id}."
        for key in wave
        if key not in due
    ]
    if not due:
        problems = [*dict.fromkeys(map(str, broken.values())), *given_up]
        return dg.SkipReason("\n".join(problems) or "Everything is up to date.")
    # 3. Request the other assets. Dagster ignores a run key that it has seen, so the key contains the attempt.
    run_tags = {_tag(key): input_hashes[key] for key in due}
    attempts = [len(earlier_runs[key]) + 1 for key in due]
    return dg.RunRequest(run_key=content_hash([run_tags, attempts]), asset_selection=due, tags=run_tags)


def _input_hashes(
    instance: dg.DagsterInstance,
    graph: AssetGraph,
    wave: Sequence[dg.AssetKey],
    source_versions: Mapping[dg.AssetKey, str],
) -> dict[dg.AssetKey, str]:
    """Returns, for each asset, a hash of its code version, its inputs, and its latest materialization.

    The latest materialization is included because an edit can be made, reverted and made again. The second edit must
    get another hash than the first edit, or Dagster would ignore the request.
    """
    entries = {
        record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(list(graph.specs))
    }

    def latest_storage_id(key: dg.AssetKey) -> int | None:
        record = entries[key].last_materialization_record if key in entries else None
        return record.storage_id if record is not None else None

    tags = latest_tags(instance, graph.specs)
    return {
        key: content_hash(
            [
                graph.specs[key].code_version,
                source_versions.get(key),
                [tags[parent].get(DATA_VERSION) for parent in graph.parents[key]],
                latest_storage_id(key),
            ]
        )
        for key in wave
    }


def _tag(key: dg.AssetKey) -> str:
    """Returns the name of an asset's run tag."""
    return _INPUTS_TAG + ".".join(key.path)
