import os
import subprocess
import sys
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr_dagster.lease import lease

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from rbr_dagster.lease import lease\n"
    "with lease(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "driver.lock")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_driver_is_told_who_holds_the_state(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    told = pytest.raises(InputError, match=f"process {holder.pid} has been working on this state since 20")
    with told, lease(tmp_path / "driver.lock"):
        pass


def test_a_killed_driver_holds_nothing(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with lease(tmp_path / "driver.lock"):
        assert str(os.getpid()) in (tmp_path / "driver.lock").read_text()


def test_the_lease_can_be_taken_again_after_it_was_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with lease(tmp_path / "driver.lock"):
            pass
