"""Who may work on a state directory: one driver alone, or the steps of runs that were started in the UI.

Two drivers, or a driver and a person at the UI, would make the same things twice.
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
    """Holds a state directory for a driver; the system gives it back when the process ends, however it ends.

    Args:
        home: The state directory; it exists.

    Raises:
        InputError: Another process works on it; the message says which, and since when.
    """
    with (home / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "Wait until it is done, or stop it."
            raise InputError(_holder(home), where=str(home), hint=hint) from error
        _sign(file)
        yield


@contextmanager
def step_lease(home: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Keeps drivers out while a step works that no driver stands behind; waits while one is at work.

    Steps do not keep each other out.

    Args:
        home: The state directory; made where it is missing.
        on_wait: Told who is waited for.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(f"Waiting: {_holder(home)}.")
            fcntl.flock(file, fcntl.LOCK_SH)
        _sign(file)
        yield


def _sign(file: TextIO) -> None:
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
    file.flush()


def _holder(home: Path) -> str:
    try:
        holder = json.loads((home / LOCK).read_text(encoding="utf-8"))
        return f"process {holder['pid']} has been working on this state since {holder['since']}"
    except (ValueError, KeyError):
        return "another process works on this state"
