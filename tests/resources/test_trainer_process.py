"""The training process: job files, exit codes, progress, and checkpoints that equal jobs write equally."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from rbr.hashing import directory_digest
from rbr.profile import ModelRef, SftSettings
from rbr.training.checkpoint import read_training_metrics
from resources.trainer_process.job import GrpoJob, RewardSource, SftJob, parse_job
from tests.rl_settings import rl_settings
from tests.tiny_models import save_policy, save_reward_model

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["How do I boil an egg?", "I feel low today.", "Tell me a story.", "Hi"]
SFT = SftSettings(epochs=1, learning_rate=1e-2, batch_size=2, max_length=64, seed=0)
RL = rl_settings(max_unscored=0.1, save_steps=1)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_reward_model(tmp_path_factory.mktemp("reward_model"))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def sft_job(policy: ModelRef, directory: Path, completions: list[str], **changes: Any) -> SftJob:
    data = directory / "rows.parquet"
    pl.DataFrame({"prompt": [user(text) for text in PROMPTS], "completion": completions}).write_parquet(data)
    job = {
        "name": "sft_checkpoint",
        "model": policy,
        "data": str(data),
        "output": str(directory / "out"),
        "settings": SFT,
    }
    return SftJob(**{**job, **changes})


def grpo_job(policy: ModelRef, reward_model: ModelRef, directory: Path, **changes: Any) -> GrpoJob:
    data = directory / "prompts.parquet"
    pl.DataFrame({"prompt": [user(text) for text in PROMPTS], "category": ["None"] * 4}).write_parquet(data)
    job = {
        "name": "rl_checkpoint/helpful",
        "model": policy,
        "data": str(data),
        "output": str(directory / "out"),
        "settings": RL,
        "reward": RewardSource(reward_model=reward_model),
    }
    return GrpoJob(**{**job, **changes})


def run(job: SftJob | GrpoJob, directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "job.json").write_text(job.model_dump_json())
    return subprocess.run(
        [sys.executable, "-m", "resources.trainer_process", str(directory / "job.json"), str(os.getpid())],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def values(directory: Path, metric: str) -> list[float]:
    frame = read_training_metrics(directory / "out")
    return frame.filter(pl.col("metric") == metric).sort("step")["value"].to_list()


def test_a_job_file_parses_to_the_job_that_wrote_it(policy: ModelRef, reward_model: ModelRef, tmp_path: Path) -> None:
    for job in (sft_job(policy, tmp_path, PROMPTS), grpo_job(policy, reward_model, tmp_path)):
        assert parse_job(job.model_dump_json()) == job


def test_a_reward_artifact_without_a_grader_is_refused(reward_model: ModelRef) -> None:
    with pytest.raises(ValidationError, match="needs grader_settings"):
        RewardSource(reward_model=reward_model, artifact="reward")


def test_reading_a_job_does_not_import_torch() -> None:
    heavy = "{'torch', 'transformers', 'dagster'}"
    code = f"import sys; import resources.trainer_process.job; print({heavy} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "set()"


@pytest.mark.slow
def test_equal_jobs_write_equal_checkpoints_and_report_progress(policy: ModelRef, tmp_path: Path) -> None:
    replies = ["Ten minutes.", "I'm sorry.", "Once upon a time.", "Hello."]
    digests = []
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        job = sft_job(policy, directory, replies, progress=str(directory / "progress.json"))
        done = run(job, directory)
        assert done.returncode == 0, done.stderr
        digests.append(directory_digest(directory / "out"))
    assert digests[0] == digests[1] != directory_digest(policy.path)
    assert len(values(directory, "loss")) == 2
    report = json.loads((directory / "progress.json").read_text())
    assert (report["asset"], report["done"], report["total"]) == ("sft_checkpoint", 2, 2)
    assert report["finished"] is not None
    assert not list(tmp_path.glob("*/out.partial"))


@pytest.mark.slow
def test_sft_learns_the_replies_and_leaves_out_rows_that_are_too_long(policy: ModelRef, tmp_path: Path) -> None:
    from rbr.models.policy import Policy

    replies = ["No.", "No.", "No.", "and so on " * 50]
    settings = SFT.model_copy(update={"epochs": 60})
    done = run(sft_job(policy, tmp_path, replies, settings=settings), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 4 rows exceed sft.max_length" in done.stdout
    trained = Policy(ModelRef(path=str(tmp_path / "out"), revision=None), batch_size=4)
    completions = trained.sample([user(text) for text in PROMPTS[:3]], [0, 1, 2], 0.0, 1.0, 12)
    assert [(completion.text, completion.finished) for completion in completions] == [("No.", True)] * 3


@pytest.mark.slow
def test_if_all_rows_are_too_long_the_error_names_the_setting_to_change(policy: ModelRef, tmp_path: Path) -> None:
    done = run(sft_job(policy, tmp_path, ["and so on " * 50] * 4), tmp_path)
    assert done.returncode == 2
    assert "sft.max_length: all 4 training rows are longer than 64 tokens" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_equal_rl_jobs_write_equal_checkpoints(policy: ModelRef, reward_model: ModelRef, tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        done = run(grpo_job(policy, reward_model, directory), directory)
        assert done.returncode == 0, done.stderr
        digests.append(directory_digest(directory / "out"))
    assert digests[0] == digests[1]
    for metric in ("loss", "reward", "kl", "completion_length", "r_rm", "unscored"):
        assert len(values(directory, metric)) == 2, metric
    assert values(directory, "reward") == pytest.approx(values(directory, "r_rm"))
    assert values(directory, "unscored") == [0.0, 0.0]
