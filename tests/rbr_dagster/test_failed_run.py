"""A stage that fails stops the run with a reason for people."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from rbr_dagster.run.driver import RunFailed

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, profile: str) -> subprocess.CompletedProcess[str]:
    for name in ("sandbox", "tiny"):
        (tmp_path / f"{name}.yaml").write_text((ROOT / "profiles" / f"{name}.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(f"extends: tiny\n{profile}")
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", "run", "--profile", str(tmp_path / "mine.yaml")],
        cwd=ROOT,
        env={**os.environ, "RBR_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_input_that_leaves_nothing_to_train_on_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "evaluation:\n  test_fraction: 1.0\n")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "there is no training prompt to learn from" in done.stderr
    assert "lower evaluation.test_fraction" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_training_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    done = run(tmp_path, "sft:\n  max_length: 2\n")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("sft_checkpoint: Training sft_checkpoint failed.")
    assert "within sft.max_length 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_wave_can_be_told_from_one_process_to_another() -> None:
    # A process pool hands a worker's exception on as a pickle; this one is our own.
    told = pickle.loads(pickle.dumps(RunFailed("no prompt", is_input=True)))
    assert (str(told), told.is_input) == ("no prompt", True)
