"""The resource that trains in a separate process, and what it reports if the process fails."""

import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from rbr.profile import ModelRef, SftSettings
from rbr.training.checkpoint import read_training_metrics
from resources.trainer import Trainer, trainer_environment
from resources.trainer_process.job import SftJob
from tests.tiny_models import save_policy


def job(directory: Path, model: ModelRef) -> SftJob:
    rows = {"prompt": [[{"role": "user", "content": "Hi"}]] * 2, "completion": ["Hello.", "Good day."]}
    pl.DataFrame(rows).write_parquet(directory / "rows.parquet")
    return SftJob(
        name="sft_checkpoint",
        model=model,
        data=str(directory / "rows.parquet"),
        output=str(directory / "checkpoints" / "sft" / "0123"),
        progress=str(directory / "progress.json"),
        settings=SftSettings(epochs=2, learning_rate=1e-3, batch_size=2, max_length=64, seed=0),
    )


def materialize(directory: Path, model: ModelRef) -> tuple[dg.ExecuteInProcessResult, list[float]]:
    seconds: list[float] = []

    @dg.asset
    def sft_checkpoint(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult:
        seconds.append(trainer.train(context, job(directory, model)))
        return dg.MaterializeResult()

    outcome = dg.materialize(
        [sft_checkpoint],
        resources={"trainer": Trainer(directory=str(directory / "work"))},
        raise_on_error=False,
    )
    return outcome, seconds


@pytest.mark.slow
def test_a_training_writes_a_checkpoint_with_metrics_and_deletes_its_job_file(tmp_path: Path) -> None:
    outcome, seconds = materialize(tmp_path, save_policy(tmp_path / "policy"))
    assert outcome.success
    assert len(seconds) == 1 and seconds[0] > 0
    checkpoint = tmp_path / "checkpoints" / "sft" / "0123"
    assert (checkpoint / "model.safetensors").exists()
    metrics = read_training_metrics(checkpoint)
    assert metrics.filter(pl.col("metric") == "loss")["step"].to_list() == [1, 2]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_a_failed_training_says_why_and_keeps_its_log(tmp_path: Path) -> None:
    outcome, seconds = materialize(tmp_path, ModelRef(path=str(tmp_path / "nowhere"), revision=None))
    assert not outcome.success and not seconds
    (failure,) = outcome.get_step_failure_events()
    error = failure.step_failure_data.user_failure_data
    assert error is not None and error.description is not None
    assert f"{tmp_path / 'nowhere'}: the directory does not exist" in error.description
    log = str(error.metadata["log"].value)
    assert "the directory does not exist" in Path(log).read_text()


@pytest.mark.slow
def test_a_training_that_crashes_names_the_signal_and_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trl.py").write_text("import ctypes\nctypes.string_at(0)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome, _ = materialize(tmp_path, save_policy(tmp_path / "policy"))
    (failure,) = outcome.get_step_failure_events()
    error = failure.step_failure_data.user_failure_data
    assert error is not None and error.description is not None
    assert error.description.startswith("Training sft_checkpoint failed: killed by signal SIGSEGV.")
    assert f'File "{tmp_path / "trl.py"}", line 2' in error.description


@pytest.mark.parametrize(
    ("visible", "in_trainer"),
    [
        (None, "0"),
        ("0,1", "0"),
        ("3, 1", "3"),
        ("GPU-8932f937,GPU-21fab8f2", "GPU-8932f937"),
        # The user has chosen: one GPU, or none.
        ("2", "2"),
        ("", ""),
        ("-1", "-1"),
    ],
)
def test_a_trainer_sees_one_gpu(visible: str | None, in_trainer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert {**os.environ, **trainer_environment()}["CUDA_VISIBLE_DEVICES"] == in_trainer
