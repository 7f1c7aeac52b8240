"""No process outlives `rbr run`, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from resources.state.lifeline import DRIVER_PID

ROOT = Path(__file__).resolve().parents[2]


def start(home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "RBR_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "rbr_dagster.cli", "run", "--profile", "tiny"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of_driver(pid: int) -> list[str]:
    """Returns the command lines of the live processes that a driver started."""
    variable = f"{DRIVER_PID}={pid}".encode()
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != pid and variable in (process / "environ").read_bytes().split(b"\0"):
                commands.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return commands


def wait_for_training(run: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and run.poll() is None:
        if any("resources.trainer_process" in command for command in processes_of_driver(run.pid)):
            return
        time.sleep(0.2)
    raise AssertionError(f"no training began: {run.communicate()}")


def processes_left_after(seconds: float, pid: int) -> list[str]:
    end = time.monotonic() + seconds
    while time.monotonic() < end and processes_of_driver(pid):
        time.sleep(0.2)
    return processes_of_driver(pid)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
def test_a_killed_run_leaves_no_process_and_the_next_run_continues(tmp_path: Path) -> None:
    killed = start(tmp_path / "home")
    wait_for_training(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert processes_left_after(10, killed.pid) == []

    stopped = start(tmp_path / "home")
    wait_for_training(stopped)
    stopped.send_signal(signal.SIGTERM)
    output, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the next run continues from there" in errors
    # The second run does not make the assets again that the killed run made.
    assert "rulebook/behavior" not in output
    assert processes_left_after(10, stopped.pid) == []
    with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
        statuses = {run.status for run in instance.get_runs()}
    assert statuses <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE}
