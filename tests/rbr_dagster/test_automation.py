"""Scheduled waves, through Dagster's own evaluation of sensors and schedules."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from assets.snapshots import data_snapshots, model_snapshots, profile_snapshots, rulebook_snapshots, snapshot_key
from rbr_dagster.automation import automation
from tests.assets.project import Project

JOB = "everything"
PROPOSITIONS = snapshot_key("rulebook/propositions")
READER = dg.AssetKey("reader")


@dataclass
class Automated:
    """A project's snapshots and one asset that reads them, which can be made to fail."""

    project: Project
    instance: dg.DagsterInstance
    fails: bool = False

    def __post_init__(self) -> None:
        @dg.asset(deps=[PROPOSITIONS], code_version="1")
        def reader() -> dg.MaterializeResult:
            if self.fails:
                raise RuntimeError("no luck")
            return dg.MaterializeResult(data_version=dg.DataVersion("same"))

        assets = [rulebook_snapshots, data_snapshots, profile_snapshots, model_snapshots, reader]
        self.resources = {name: self.project.resources[name] for name in ("sources", "store")}
        self.sensor, self.schedule = automation(lambda: self.definitions, JOB)
        self.definitions = dg.Definitions(
            assets=assets,
            jobs=[dg.define_asset_job(JOB, selection=dg.AssetSelection.all())],
            sensors=[self.sensor],
            schedules=[self.schedule],
            resources=self.resources,
        )

    def tick(self) -> dg.RunRequest | str:
        """What the sensor asks for, or the reason why it asks for nothing."""
        with dg.build_sensor_context(instance=self.instance, resources=self.resources) as context:
            return self._outcome(self.sensor.evaluate_tick(context))

    def nightly_tick(self) -> dg.RunRequest | str:
        """The same of the schedule."""
        with dg.build_schedule_context(instance=self.instance, resources=self.resources) as context:
            return self._outcome(self.schedule.evaluate_tick(context))

    def make(self, request: dg.RunRequest) -> bool:
        """Runs what was asked for; whether it went well."""
        job = self.definitions.resolve_job_def(JOB)
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=list(request.asset_selection or []),
            tags=request.tags,
            raise_on_error=False,
        ).success

    def settle(self) -> list[set[str]]:
        """Ticks until there is nothing to do; the assets of each wave."""
        waves = []
        while isinstance(request := self.tick(), dg.RunRequest):
            waves.append({key.to_user_string() for key in request.asset_selection or []})
            self.make(request)
        return waves

    def _outcome(self, evaluated) -> dg.RunRequest | str:
        if evaluated.run_requests:
            (request,) = evaluated.run_requests
            return request
        return evaluated.skip_message


@pytest.fixture
def automated(tmp_path: Path):
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Automated(Project.create(tmp_path / "project"), instance)


def test_both_are_off_until_they_are_switched_on(automated: Automated) -> None:
    assert automated.sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert automated.schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_a_tick_asks_for_one_wave_until_nothing_is_stale(automated: Automated) -> None:
    first, second = automated.settle()
    assert len(first) == 18
    assert second == {"reader"}
    assert automated.tick() == automated.nightly_tick() == "Everything is up to date."


def test_the_schedule_asks_for_the_same_wave_as_the_sensor(automated: Automated) -> None:
    sensor, schedule = automated.tick(), automated.nightly_tick()
    assert isinstance(sensor, dg.RunRequest)
    assert isinstance(schedule, dg.RunRequest)
    assert (sensor.run_key, sensor.asset_selection) == (schedule.run_key, schedule.asset_selection)


def test_an_edit_its_reversal_and_the_same_edit_again_are_three_different_requests(automated: Automated) -> None:
    automated.settle()
    old, new = "exactly one short apology?", "exactly one apology?"
    keys = []
    for before, after in [(old, new), (new, old), (old, new)]:
        automated.project.edit("rulebook/propositions.yaml", before, after)
        request = automated.tick()
        assert isinstance(request, dg.RunRequest)
        assert request.asset_selection == [PROPOSITIONS]
        keys.append(request.run_key)
        assert len(automated.settle()) == 2
    assert len(set(keys)) == 3


def test_a_comment_asks_for_nothing(automated: Automated) -> None:
    automated.settle()
    path = automated.project.rulebook / "propositions.yaml"
    path.write_text(f"# more\n{path.read_text()}")
    assert automated.tick() == "Everything is up to date."


def test_a_failed_wave_is_tried_twice_and_again_after_an_edit(automated: Automated) -> None:
    automated.fails = True
    waves = automated.settle()
    assert waves[1:] == [{"reader"}, {"reader"}]
    reason = automated.tick()
    assert isinstance(reason, str)
    assert reason.startswith("reader failed 2 times, last in run ")
    automated.project.edit("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
    automated.fails = False
    assert automated.settle() == [{"rulebook/propositions"}, {"reader"}]


def test_nothing_is_asked_for_while_a_wave_is_in_flight(automated: Automated) -> None:
    job = automated.definitions.resolve_job_def(JOB)
    run = automated.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert automated.tick() == f"Run {run.run_id} is at work; the next tick looks again."


def test_a_broken_file_is_named_and_holds_up_its_readers_only(automated: Automated) -> None:
    automated.settle()
    broken = automated.project.rulebook / "propositions.yaml"
    shutil.copy(broken, kept := broken.with_suffix(".kept"))
    broken.write_text("apology: [")
    automated.project.edit("profiles/current.yaml", "epochs: 1", "epochs: 2")
    request = automated.tick()
    assert isinstance(request, dg.RunRequest)
    assert PROPOSITIONS not in (request.asset_selection or [])
    automated.settle()
    reason = automated.tick()
    assert isinstance(reason, str)
    assert str(broken) in reason
    shutil.copy(kept, broken)
    assert automated.tick() == "Everything is up to date."
