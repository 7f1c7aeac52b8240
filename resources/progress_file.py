"""The progress of one long job, in a small file that other processes read.

This module does not import Dagster, so the trainer process can use it too.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

# Shortest time between two writes.
_THROTTLE_S = 0.3


@dataclass(frozen=True)
class JobProgress:
    """The content of a progress file.

    Attributes:
        asset: Name of the asset that is being made.
        done: Number of finished units, at most `total`.
        total: Number of units of the whole job.
        unit: The unit in the plural: ``replies`` or ``steps``.
        started: Start of the job, in seconds since the epoch.
        finished: End of the job, in seconds since the epoch; None while the job runs.
        note: What the job waits for, such as a server that is away; empty if it does not wait.
    """

    asset: str
    done: int
    total: int
    unit: str
    started: float
    finished: float | None
    note: str = ""


class ProgressFile:
    """Writes the progress of one job, at most about three times a second. The last update is always written.

    As a context manager, a progress file marks the job as finished, unless an exception is raised.

    Args:
        path: Path of the file. Every write replaces the whole file, so a reader never sees half of it.
        asset: Name of the asset that is being made.
        total: Number of units of the whole job.
        unit: The unit in the plural: ``replies`` or ``steps``.
    """

    def __init__(self, path: str | Path, asset: str, total: int, unit: str) -> None:
        self._path = Path(path)
        self._progress = JobProgress(asset, 0, total, unit, started=time.time(), finished=None)
        self._last_write = float("-inf")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def update(self, done: int, note: str = "") -> None:
        """Sets the number of finished units, and what the job waits for."""
        self._progress = replace(self._progress, done=done, note=note)
        if done >= self._progress.total or time.monotonic() - self._last_write >= _THROTTLE_S:
            self._write()

    def finish(self) -> None:
        """Marks the job as finished."""
        self._progress = replace(self._progress, finished=time.time())
        self._write()

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    def _write(self) -> None:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        new.write_text(json.dumps(asdict(self._progress)), encoding="utf-8")
        os.replace(new, self._path)
        self._last_write = time.monotonic()


def read_progress(directory: str | Path) -> list[JobProgress]:
    """Reads all progress files of a directory, in the order in which the jobs started.

    Returns:
        One entry per file; empty if the directory does not exist.
    """
    jobs = []
    for path in Path(directory).glob("*.json"):
        try:
            jobs.append(JobProgress(**json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            # Another process has deleted the file since it was listed.
            continue
    return sorted(jobs, key=lambda job: (job.started, job.asset))


def clear_progress(directory: str | Path) -> None:
    """Deletes all progress files of a directory."""
    for path in [*Path(directory).glob("*.json"), *Path(directory).glob("*.new")]:
        path.unlink(missing_ok=True)
