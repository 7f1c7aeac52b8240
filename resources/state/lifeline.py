"""Ends a worker process when the process that it works for ends.

A parent that is killed cannot stop its children. Without this module, its training would go on for hours, keep a core
or a GPU busy, and write a checkpoint that is no longer needed.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

DRIVER_PID = "RBR_DRIVER_PID"
"""Environment variable with the process id of the driver (`rbr run`); not set for runs from the UI."""

_INTERVAL_S = 0.5
_PR_SET_PDEATHSIG = 1


def watch(pid: int) -> None:
    """Makes this process exit soon after another process ends, without clean-up.

    Two processes are watched: `pid`, and the driver if the environment variable `DRIVER_PID` is set. The function
    returns at once; a daemon thread checks twice a second. On Linux, if `pid` is the parent, the kernel also kills this
    process when the thread that started it ends, even while native code blocks the interpreter.

    Args:
        pid: Id of the process to watch, usually the parent.
    """
    if os.getppid() == pid and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    driver = os.environ.get(DRIVER_PID, "")
    watched = {pid, int(driver)} if driver.isdigit() else {pid}
    _exit_if_gone(watched)
    threading.Thread(target=_poll, args=(watched,), name="lifeline", daemon=True).start()


def is_alive(pid: int) -> bool:
    """Returns whether a process runs. A zombie does not run."""
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
        _exit_if_gone(watched)


def _exit_if_gone(watched: set[int]) -> None:
    if not all(is_alive(pid) for pid in watched):
        # Not sys.exit(), which ends only the thread.
        os._exit(1)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The state follows the name of the command, which is in parentheses and may contain any character.
    return stat.rpartition(")")[2].split()[0] == "Z"
