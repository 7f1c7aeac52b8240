"""A lock on the state directory. Either one driver (`rbr run`) has it, or steps of runs from the UI share it.

Without the lock, two drivers could make the same assets twice, and so could a driver and a run from the UI.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rbr.errors import InputError

LOCK = "driver.lock"


@contextmanager
def lease(home: Path) -> Iterator[None]:
    """Locks a state directory for a driver. The system releases the lock if the process is killed.

    Args:
        home: The state directory, which must exist.

    Raises:
        InputError: Another process has the lock. The message contains the id and the start time of that process.
    """
    with (home / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "Wait until that process ends, or stop it."
            raise InputError(_describe_holder(home), where=str(home), hint=hint) from error
        _write_holder(file)
        yield


@contextmanager
def step_lease(home: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Locks a state directory for a step of a run from the UI. If a driver has the lock, waits for it.

    Several steps can have the lock at the same time.

    Args:
        home: The state directory; created if it does not exist.
        on_wait: Called before waiting, with a message that names the driver.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(f"Waiting: {_describe_holder(home)}.")
            fcntl.flock(file, fcntl.LOCK_SH)
        _write_holder(file)
        yield


def _write_holder(file: TextIO) -> None:
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    file.flush()


def _describe_holder(home: Path) -> str:
    try:
        holder = json.loads((home / LOCK).read_text(encoding="utf-8"))
        return f"process {holder['pid']} has been working on this state directory since {holder['since']}"
    except (ValueError, KeyError):
        return "another process is working on this state directory"
