"""An asset that fails stops the run with a readable reason."""

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
def test_settings_that_leave_no_training_prompts_are_reported(tmp_path: Path) -> None:
    process = run(tmp_path, "evaluation:\n  test_fraction: 1.0\n")
    assert process.returncode == 1, process.stdout + process.stderr
    assert process.stderr.startswith(
        "prompt_counts: the check response_types_have_training_prompts failed: comply has "
    )
    assert "0 training prompts (5 needed)" in process.stderr
    assert "A smaller evaluation.test_fraction also gives more training prompts." in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_a_training_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    process = run(tmp_path, "sft:\n  max_length: 2\n")
    assert process.returncode == 1, process.stdout + process.stderr
    assert process.stderr.startswith("sft_checkpoint: Training sft_checkpoint failed.")
    assert "Raise sft.max_length in the profile." in process.stderr
    assert "Traceback" not in process.stderr


def test_a_failed_run_survives_pickling() -> None:
    # A process pool passes the exception of a worker on as a pickle.
    error = pickle.loads(pickle.dumps(RunFailed("no prompt", is_input=True)))
    assert (str(error), error.is_input) == ("no prompt", True)
