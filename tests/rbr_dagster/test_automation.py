"""The sensor and the schedule, evaluated by Dagster."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from assets.snapshots import data_snapshots, model_snapshots, profile_snapshots, rulebook_snapshots
from rbr_dagster.automation import build_automation
from rbr_dagster.run.staleness import AssetGraph
from resources.pages.check_results import check_result
from resources.sources import snapshot_key
from tests.assets.project import Project

JOB = "everything"
PROPOSITIONS = snapshot_key("rulebook/propositions")
READER = dg.AssetKey("reader")


@dataclass
class Automated:
    """The snapshots of a project, an asset that reads them, and an asset below it.

    The first asset fails if `fails` is set, and its blocking check fails unless `passes` is set.
    """

    project: Project
    instance: dg.DagsterInstance
    fails: bool = False
    passes: bool = True

    def __post_init__(self) -> None:
        check = dg.AssetCheckSpec("reader_is_lucky", asset="reader", blocking=True)

        @dg.asset(deps=[PROPOSITIONS], code_version="1", check_specs=[check])
        def reader() -> dg.MaterializeResult:
            if self.fails:
                raise RuntimeError("no luck")
            result = check_result(check.name, passed=self.passes, words="Luck is 0, the bar is 1.", blocks=True)
            return dg.MaterializeResult(data_version=dg.DataVersion("same"), check_results=[result])

        @dg.asset(deps=[reader], code_version="1")
        def below() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion("same"))

        assets = [rulebook_snapshots, data_snapshots, profile_snapshots, model_snapshots, reader, below]
        self.resources = {name: self.project.resources[name] for name in ("sources", "store", "progress")}
        self.sensor, self.schedule = build_automation(lambda: AssetGraph.from_definitions(self.definitions), JOB)
        self.definitions = dg.Definitions(
            assets=assets,
            jobs=[dg.define_asset_job(JOB, selection=dg.AssetSelection.all())],
            sensors=[self.sensor],
            schedules=[self.schedule],
            resources=self.resources,
        )

    def tick(self) -> dg.RunRequest | str:
        """Returns the request of the sensor, or the reason why there is none."""
        with dg.build_sensor_context(instance=self.instance, resources=self.resources) as context:
            return self._request_or_reason(self.sensor.evaluate_tick(context))

    def nightly_tick(self) -> dg.RunRequest | str:
        """Returns the request of the schedule, or the reason why there is none."""
        with dg.build_schedule_context(instance=self.instance, resources=self.resources) as context:
            return self._request_or_reason(self.schedule.evaluate_tick(context))

    def make(self, request: dg.RunRequest) -> bool:
        """Runs a request. Returns True if the run succeeded."""
        job = self.definitions.resolve_job_def(JOB)
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=list(request.asset_selection or []),
            tags=request.tags,
            raise_on_error=False,
        ).success

    def run_waves(self) -> list[set[str]]:
        """Runs requests until there is none. Returns the assets of each wave."""
        waves = []
        while isinstance(request := self.tick(), dg.RunRequest):
            waves.append({key.to_user_string() for key in request.asset_selection or []})
            self.make(request)
        return waves

    def _request_or_reason(self, tick) -> dg.RunRequest | str:
        if tick.run_requests:
            (request,) = tick.run_requests
            return request
        return tick.skip_message


@pytest.fixture
def automated(tmp_path: Path):
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Automated(Project.create(tmp_path / "project"), instance)


def test_sensor_and_schedule_are_off_by_default(automated: Automated) -> None:
    assert automated.sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert automated.schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_each_tick_requests_one_wave_until_no_asset_is_stale(automated: Automated) -> None:
    first, second, third = automated.run_waves()
    assert len(first) == 21
    assert (second, third) == ({"reader"}, {"below"})
    assert automated.tick() == automated.nightly_tick() == "Everything is up to date."


def test_the_schedule_requests_the_same_wave_as_the_sensor(automated: Automated) -> None:
    sensor, schedule = automated.tick(), automated.nightly_tick()
    assert isinstance(sensor, dg.RunRequest)
    assert isinstance(schedule, dg.RunRequest)
    assert (sensor.run_key, sensor.asset_selection) == (schedule.run_key, schedule.asset_selection)


def test_an_edit_its_reversal_and_the_same_edit_again_are_three_different_requests(automated: Automated) -> None:
    automated.run_waves()
    old, new = "give at least a part of", "give a part of"
    keys = []
    for before, after in [(old, new), (new, old), (old, new)]:
        automated.project.edit("rulebook/propositions.yaml", before, after)
        request = automated.tick()
        assert isinstance(request, dg.RunRequest)
        assert request.asset_selection == [PROPOSITIONS]
        keys.append(request.run_key)
        assert len(automated.run_waves()) == 2
    assert len(set(keys)) == 3


def test_a_comment_causes_no_request(automated: Automated) -> None:
    automated.run_waves()
    path = automated.project.rulebook / "propositions.yaml"
    path.write_text(f"# more\n{path.read_text()}")
    assert automated.tick() == "Everything is up to date."


def test_a_failed_wave_is_tried_twice_and_again_after_an_edit(automated: Automated) -> None:
    automated.fails = True
    waves = automated.run_waves()
    assert waves[1:] == [{"reader"}, {"reader"}]
    reason = automated.tick()
    assert isinstance(reason, str)
    assert reason.startswith("reader failed 2 times, last in run ")
    automated.project.edit("rulebook/propositions.yaml", "give at least a part of", "give a part of")
    automated.fails = False
    assert automated.run_waves() == [{"rulebook/propositions"}, {"reader"}, {"below"}]


def test_an_asset_whose_check_fails_is_tried_twice_and_again_after_an_edit(automated: Automated) -> None:
    automated.passes = False
    assert automated.run_waves()[1:] == [{"reader"}, {"reader"}]
    for tick in (automated.tick, automated.nightly_tick, automated.tick):
        reason = tick()
        assert isinstance(reason, str)
        assert reason.startswith("reader failed 2 times, last in run ")
        assert reason.endswith(". Its check reader_is_lucky failed: Luck is 0, the bar is 1.")
    old, new = "give at least a part of", "give a part of"
    automated.project.edit("rulebook/propositions.yaml", old, new)
    assert automated.run_waves() == [{"rulebook/propositions"}, {"reader"}, {"reader"}]
    # The same inputs as in the first two attempts.
    automated.project.edit("rulebook/propositions.yaml", new, old)
    assert automated.run_waves() == [{"rulebook/propositions"}]
    automated.project.edit("rulebook/propositions.yaml", old, "give some of")
    automated.passes = True
    assert automated.run_waves() == [{"rulebook/propositions"}, {"reader"}, {"below"}]
    assert automated.tick() == "Everything is up to date."


def test_a_check_that_failed_in_a_run_by_hand_is_tried_twice_too(automated: Automated) -> None:
    automated.run_waves()
    automated.passes = False
    job = automated.definitions.resolve_job_def(JOB)
    job.execute_in_process(instance=automated.instance, asset_selection=[READER], raise_on_error=False)
    assert automated.run_waves() == [{"reader"}, {"reader"}]


def test_an_asset_that_has_not_passed_its_check_is_requested_before_the_others(automated: Automated) -> None:
    automated.passes = False
    automated.make(automated.tick())
    automated.make(automated.tick())
    automated.project.edit("profiles/current.yaml", "epochs: 1", "epochs: 2")
    assert automated.run_waves() == [{"reader"}, {"profile/sft"}]


def test_there_is_no_request_while_a_run_is_in_progress(automated: Automated) -> None:
    job = automated.definitions.resolve_job_def(JOB)
    run = automated.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert automated.tick() == f"Run {run.run_id} is in progress; the next tick checks again."


def test_a_broken_file_is_reported_and_holds_up_only_its_readers(automated: Automated) -> None:
    automated.run_waves()
    broken = automated.project.rulebook / "propositions.yaml"
    shutil.copy(broken, kept := broken.with_suffix(".kept"))
    broken.write_text("apology: [")
    automated.project.edit("profiles/current.yaml", "epochs: 1", "epochs: 2")
    request = automated.tick()
    assert isinstance(request, dg.RunRequest)
    assert PROPOSITIONS not in (request.asset_selection or [])
    automated.run_waves()
    reason = automated.tick()
    assert isinstance(reason, str)
    assert str(broken) in reason
    shutil.copy(kept, broken)
    assert automated.tick() == "Everything is up to date."
