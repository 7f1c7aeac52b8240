"""A worker that ends when the process it works for ends, however that one ended.

A killed parent cannot tell its children to stop, and a trainer left behind keeps a core or a GPU busy
for hours and writes a checkpoint that nobody asked for any more.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

DRIVER_PID = "RBR_DRIVER_PID"
"""Environment variable with the process that stands behind all of a run, if there is one."""

_INTERVAL_S = 0.5
_PR_SET_PDEATHSIG = 1


def watch(pid: int) -> None:
    """Ends this process without clean-up soon after `pid`, or the process named by `DRIVER_PID`, is gone.

    Returns at once; a daemon thread looks twice a second. Where `pid` is the parent and the system is Linux,
    the kernel kills this process together with the thread that started it, even while native code blocks
    the interpreter.

    Args:
        pid: Process to depend on, as a rule the parent's id as the parent knows it.
    """
    if os.getppid() == pid and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    driver = os.environ.get(DRIVER_PID, "")
    watched = {pid, int(driver)} if driver.isdigit() else {pid}
    _end_with(watched)
    threading.Thread(target=_poll, args=(watched,), name="lifeline", daemon=True).start()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _poll(watched: set[int]) -> None:
    while True:
        time.sleep(_INTERVAL_S)
        _end_with(watched)


def _end_with(watched: set[int]) -> None:
    if not all(is_alive(pid) for pid in watched):
        # Not sys.exit(), which in a thread ends the thread.
        os._exit(1)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The command's name stands in parentheses and may hold any character.
    return stat.rpartition(")")[2].split()[0] == "Z"
