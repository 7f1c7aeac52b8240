"""One driver at a time: two that work on one state directory would make the same things twice."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbr.errors import InputError


@contextmanager
def lease(path: Path) -> Iterator[None]:
    """Holds the lease of a state directory; the system gives it back when the process ends, however it ends.

    Args:
        path: The lease file; its directory exists.

    Raises:
        InputError: Another process holds it; the message says which, and since when.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held(path) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
        file.flush()
        yield


def _held(path: Path) -> InputError:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {holder['pid']} has been working on this state since {holder['since']}"
    except (ValueError, KeyError):
        who = "another process works on this state"
    return InputError(who, where=str(path.parent), mend="Wait until it is done, or stop it.")
