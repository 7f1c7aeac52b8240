"""Scheduled re-runs: the waves of `rbr run`, one per tick, requested by Dagster's own daemon.

Both are off until they are switched on in the UI.
"""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg

from assets.snapshots import read_sources, snapshot_key, versions
from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr_dagster.run.staleness import DATA_VERSION, Graph, frontier, latest_tags, stale_assets
from resources.sources import Sources

ATTEMPTS = 2
_ASSET = "rbr.asset/"
"""Begins the tags of the runs that a tick requested: by asset, the hash of what it was to be made from."""

_IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Request = dg.RunRequest | dg.SkipReason


def automation(
    definitions: Callable[[], dg.Definitions], job: str
) -> tuple[dg.SensorDefinition, dg.ScheduleDefinition]:
    """The sensor and the schedule over the assets of some definitions.

    Args:
        definitions: Gives the assets; asked at a tick, as these two are part of the definitions themselves.
        job: Name of the job that a requested run is one of.
    """

    @dg.sensor(
        name="rulebook_sensor",
        job_name=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Watches rulebook, profile and data; brings what an edit reaches up to date, one wave per tick.",
    )
    def rulebook_sensor(context: dg.SensorEvaluationContext, sources: Sources) -> Request:
        return next_wave(context.instance, Graph.of(definitions()), sources)

    @dg.schedule(
        name="nightly_sync",
        job_name=job,
        cron_schedule="*/5 0-5 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="From midnight to six, every five minutes: the next wave, until nothing is stale.",
    )
    def nightly_sync(context: dg.ScheduleEvaluationContext, sources: Sources) -> Request:
        return next_wave(context.instance, Graph.of(definitions()), sources)

    return rulebook_sensor, nightly_sync


def next_wave(instance: dg.DagsterInstance, graph: Graph, sources: Sources) -> Request:
    """The next wave, or why there is none.

    An asset that failed is requested once more, and then no more until one of its inputs changes; what does not
    depend on it goes on.
    """
    working = instance.get_runs(dg.RunsFilter(statuses=_IN_FLIGHT), limit=1)
    if working:
        return dg.SkipReason(f"Run {working[0].run_id} is at work; the next tick looks again.")
    contents = read_sources(sources.profile, sources.rulebook)
    broken = {snapshot_key(name): error for name, error in contents.items() if isinstance(error, InputError)}
    tags = latest_tags(instance, graph.specs)
    # A file that cannot be read holds up its readers, not the others.
    wave = [key for key in frontier(graph, stale_assets(graph, tags, versions(contents))) if key not in broken]
    marks = {_tag(key): mark for key, mark in _marks(instance, graph, wave, versions(contents)).items()}
    tried = {tag: instance.get_runs(dg.RunsFilter(tags={tag: mark})) for tag, mark in marks.items()}
    due = [key for key in wave if len(tried[_tag(key)]) < ATTEMPTS]
    given_up = [
        f"{key.to_user_string()} failed {ATTEMPTS} times, last in run {tried[_tag(key)][0].run_id}."
        for key in wave
        if key not in due
    ]
    if not due:
        problems = [*dict.fromkeys(map(str, broken.values())), *given_up]
        return dg.SkipReason("\n".join(problems) or "Everything is up to date.")
    own = {_tag(key): marks[_tag(key)] for key in due}
    attempt = [len(tried[tag]) + 1 for tag in own]
    return dg.RunRequest(run_key=content_hash([own, attempt]), asset_selection=due, tags=own)


def _marks(
    instance: dg.DagsterInstance, graph: Graph, wave: Sequence[dg.AssetKey], sources: Mapping[dg.AssetKey, str]
) -> dict[dg.AssetKey, str]:
    """By asset, a hash of its code, of its inputs, and of the materialization that is to be replaced.

    Without the last, an edit that was made, reverted and made again would look like the first one.
    """
    records = {
        record.asset_entry.asset_key: record.asset_entry for record in instance.get_asset_records(list(graph.specs))
    }

    def latest(key: dg.AssetKey) -> int | None:
        record = records[key].last_materialization_record if key in records else None
        return record.storage_id if record is not None else None

    tags = latest_tags(instance, graph.specs)
    return {
        key: content_hash(
            [
                graph.specs[key].code_version,
                sources.get(key),
                [tags[parent].get(DATA_VERSION) for parent in graph.parents[key]],
                latest(key),
            ]
        )
        for key in wave
    }


def _tag(key: dg.AssetKey) -> str:
    return _ASSET + ".".join(key.path)
