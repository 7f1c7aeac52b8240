import os
import subprocess
import sys
from pathlib import Path

import pytest

from rbr.errors import InputError
from resources.state.lease import LOCK, lease, step_lease

ROOT = Path(__file__).resolve().parents[3]
HOLD = (
    "import sys, time; from pathlib import Path; from resources.state.lease import lease\n"
    "with lease(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_driver_gets_an_error_that_names_the_first(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    refused = pytest.raises(InputError, match=f"process {holder.pid} has been working on this state directory since 20")
    with refused, lease(tmp_path):
        pass


def test_a_killed_driver_has_no_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with lease(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_the_lease_can_be_taken_again_after_its_end(tmp_path: Path) -> None:
    for _ in range(2):
        with lease(tmp_path):
            pass


def test_a_driver_is_kept_out_while_a_step_of_the_ui_works(tmp_path: Path) -> None:
    refused = pytest.raises(
        InputError, match=f"process {os.getpid()} has been working on this state directory since 20"
    )
    with step_lease(tmp_path / "home", print), refused, lease(tmp_path / "home"):
        pass
    with lease(tmp_path / "home"):
        pass


def test_steps_of_the_ui_work_side_by_side(tmp_path: Path) -> None:
    with step_lease(tmp_path, print), step_lease(tmp_path, print):
        pass


def test_a_step_of_the_ui_names_the_driver_that_it_waits_for(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    messages = []

    def stop_holder(message: str) -> None:
        messages.append(message)
        holder.kill()

    with step_lease(tmp_path, stop_holder):
        assert len(messages) == 1
        assert f"process {holder.pid} has been working on this state directory" in messages[0]
