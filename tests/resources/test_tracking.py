"""MLflow has one finished run per checkpoint."""

import math
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from mlflow.tracking import MlflowClient

from resources.tracking import Tracking


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(home=str(tmp_path_factory.mktemp("state")))


def curve(steps: int) -> pl.DataFrame:
    values = [float("nan") if step == 1 else step / 10 for step in range(steps)]
    return pl.DataFrame({"step": range(steps), "metric": "reward", "value": values})


def test_a_training_is_logged_once_as_a_finished_run(tracking: Tracking) -> None:
    params = {f"setting_{number}": number for number in range(150)}
    run_id = tracking.log_training("rbr", "0123456789abcdef", params, curve(1500), {"rbr.profile": "tiny"})
    again = tracking.log_training("rbr", "0123456789abcdef", params, curve(1500))
    other = tracking.log_training("helpful", "0123456789abcdef", {}, curve(2))
    assert again == run_id != other

    client = MlflowClient(tracking_uri=tracking.uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "rbr-01234567"
    assert run.data.tags["rbr.checkpoint"] == "0123456789abcdef"
    assert run.data.tags["rbr.profile"] == "tiny"
    assert len(run.data.params) == 150
    history = client.get_metric_history(run_id, "reward")
    assert len(history) == 1499
    assert {point.step for point in history} == set(range(1500)) - {1}


def test_a_run_that_was_interrupted_is_logged_again(tracking: Tracking) -> None:
    client = MlflowClient(tracking_uri=tracking.uri)
    finished = tracking.log_training("sft", "cut", {}, curve(2))
    client.update_run(finished, "RUNNING")
    run_id = tracking.log_training("sft", "cut", {}, curve(2))
    assert run_id != finished
    assert client.get_run(finished).info.status == "KILLED"
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_failure_while_logging_marks_the_run_failed(tracking: Tracking) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        tracking.log_training("sft", "broken", {}, pl.DataFrame({"step": [0]}))
    client = MlflowClient(tracking_uri=tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    (run,) = client.search_runs([experiment.experiment_id], "tags.`rbr.checkpoint` = 'broken'")
    assert run.info.status == "FAILED"


def test_a_newer_evaluation_replaces_an_older_one_even_if_a_metric_is_not_known_any_more(tracking: Tracking) -> None:
    run_id = tracking.log_training("human", "evaluated", {}, curve(2))
    tracking.log_evaluation(
        run_id, {"grader.test.f1": 0.5, "oracle.test.f1": 0.9, "grader.test.illogical": float("nan")}
    )
    tracking.log_evaluation(run_id, {"grader.test.f1": 0.75, "oracle.test.f1": None}, {"rbr.rulebook": "abc"})
    run = MlflowClient(tracking_uri=tracking.uri).get_run(run_id)
    assert run.data.metrics["grader.test.f1"] == 0.75
    assert math.isnan(run.data.metrics["oracle.test.f1"])
    assert math.isnan(run.data.metrics["grader.test.illogical"])
    assert run.data.tags["rbr.rulebook"] == "abc"
    assert run.info.status == "FINISHED"


def test_importing_the_resource_does_not_import_mlflow() -> None:
    check = "import sys, resources.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], check=False).returncode == 0
