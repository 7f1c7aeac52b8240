from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from rbr.profile import ModelRef, SftSettings
from rbr.training.job import SftJob
from resources.trainer import Trainer, TrainingResult
from tests.tiny_models import save_policy

pytestmark = pytest.mark.slow


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


def materialize(directory: Path, model: ModelRef) -> tuple[dg.ExecuteInProcessResult, list[TrainingResult]]:
    results: list[TrainingResult] = []

    @dg.asset
    def sft_checkpoint(context: dg.AssetExecutionContext, trainer: Trainer) -> dg.MaterializeResult:
        results.append(trainer.train(context, job(directory, model)))
        return dg.MaterializeResult()

    outcome = dg.materialize(
        [sft_checkpoint],
        resources={"trainer": Trainer(directory=str(directory / "work"))},
        raise_on_error=False,
    )
    return outcome, results


def test_a_training_leaves_a_checkpoint_its_metrics_and_nothing_else(tmp_path: Path) -> None:
    outcome, results = materialize(tmp_path, save_policy(tmp_path / "policy"))
    assert outcome.success
    (result,) = results
    assert (result.checkpoint / "model.safetensors").exists()
    assert result.metrics.filter(pl.col("metric") == "loss")["step"].to_list() == [1, 2]
    assert result.seconds > 0
    assert list((tmp_path / "work").iterdir()) == []


def test_a_failed_training_says_why_and_keeps_its_log(tmp_path: Path) -> None:
    outcome, results = materialize(tmp_path, ModelRef(path=str(tmp_path / "nowhere"), revision=None))
    assert not outcome.success and not results
    (failure,) = outcome.get_step_failure_events()
    error = failure.step_failure_data.user_failure_data
    assert error is not None and error.description is not None
    assert f"{tmp_path / 'nowhere'}: there is no such directory" in error.description
    log = str(error.metadata["log"].value)
    assert "no such directory" in Path(log).read_text()


def test_a_training_that_crashes_names_the_signal_and_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trl.py").write_text("import ctypes\nctypes.string_at(0)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome, _ = materialize(tmp_path, save_policy(tmp_path / "policy"))
    (failure,) = outcome.get_step_failure_events()
    error = failure.step_failure_data.user_failure_data
    assert error is not None and error.description is not None
    assert error.description.startswith("Training sft_checkpoint failed: signal SIGSEGV ended it.")
    assert f'File "{tmp_path / "trl.py"}", line 2' in error.description
