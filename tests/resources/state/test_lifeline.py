"""The lifeline: a worker ends with the process it works for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.state.lifeline import is_alive

ROOT = Path(__file__).resolve().parents[3]
WORKER = (
    "import sys, time; from resources.state import lifeline; lifeline.watch(int(sys.argv[1])); {ready}; time.sleep(60)"
)
READY = "print('ready', flush=True)"


def ends_within(seconds: float, pid: int) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def sleeper() -> subprocess.Popen[str]:
    process = start("import time; print('ready', flush=True); time.sleep(60)")
    assert first_line(process) == "ready"
    return process


def test_a_worker_ends_soon_after_its_parent_is_killed() -> None:
    parent = start(
        "import os, subprocess, sys\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {WORKER.format(ready=READY)!r}, str(os.getpid())],"
        " stdout=subprocess.PIPE, text=True)\n"
        "worker.stdout.readline()\n"
        "print(worker.pid, flush=True)\n"
        "worker.wait()"
    )
    worker = int(first_line(parent))
    assert is_alive(worker)
    parent.send_signal(signal.SIGKILL)
    assert ends_within(3, worker)
    parent.wait()


@pytest.mark.parametrize("named", [lambda pid: ([pid], {}), lambda pid: ([str(os.getpid())], {"RBR_DRIVER_PID": pid})])
def test_a_worker_ends_soon_after_a_watched_process_that_is_not_its_parent(
    named: Callable[[str], tuple[list[str], dict[str, str]]],
) -> None:
    watched = sleeper()
    arguments, environment = named(str(watched.pid))
    worker = start(WORKER.format(ready=READY), *arguments, **environment)
    assert first_line(worker) == "ready"
    # The killed process is not waited for, so it becomes a zombie, which must count as ended.
    watched.send_signal(signal.SIGKILL)
    assert worker.wait(timeout=3) == 1
    watched.wait()


def test_a_worker_ends_at_once_if_the_watched_process_has_already_ended() -> None:
    finished = start("pass")
    finished.wait()
    worker = start(WORKER.format(ready=READY), str(finished.pid))
    assert worker.wait(timeout=3) == 1
    assert first_line(worker) == ""


def test_a_worker_keeps_running_while_the_watched_process_runs() -> None:
    worker = start(WORKER.format(ready=READY), str(os.getpid()))
    assert first_line(worker) == "ready"
    time.sleep(0.8)
    assert worker.poll() is None
    worker.kill()
    worker.wait()


def test_importing_the_lifeline_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'dagster', 'polars', 'pydantic'}"
    code = f"import sys; import resources.state.lifeline; print({heavy} & set(sys.modules))"
    assert first_line(start(code)) == "set()"
