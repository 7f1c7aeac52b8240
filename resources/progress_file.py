"""Progress of one long job, kept in a small file that other processes read.

Knows nothing of Dagster, so that a trainer process can report through it too.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

_THROTTLE_S = 0.3


@dataclass(frozen=True)
class JobProgress:
    """How far a job has come.

    Attributes:
        asset: Name of the asset that is being made.
        done: Units finished, of `total`.
        total: Units of the whole job.
        unit: What is counted, in the plural: ``replies``, ``steps``.
        started: When the job began, in seconds since the epoch.
        finished: When it ended; None while it runs.
    """

    asset: str
    done: int
    total: int
    unit: str
    started: float
    finished: float | None


class ProgressFile:
    """Writes the reports of one job, at most about three a second and always the last one.

    Use it as a context manager: leaving it without an exception marks the job finished.

    Args:
        path: The file; replaced as a whole, so a reader never meets half a report.
        asset: Name of the asset that is being made.
        total: Units of the whole job.
        unit: What is counted, in the plural.
    """

    def __init__(self, path: str | Path, asset: str, total: int, unit: str) -> None:
        self._path = Path(path)
        self._report = JobProgress(asset, 0, total, unit, started=time.time(), finished=None)
        self._written = float("-inf")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def update(self, done: int) -> None:
        """Reports `done` units of the total as finished."""
        self._report = replace(self._report, done=done)
        if done >= self._report.total or time.monotonic() - self._written >= _THROTTLE_S:
            self._write()

    def finish(self) -> None:
        """Reports the job as finished."""
        self._report = replace(self._report, finished=time.time())
        self._write()

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    def _write(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        fresh.write_text(json.dumps(asdict(self._report)), encoding="utf-8")
        os.replace(fresh, self._path)
        self._written = time.monotonic()


def read_progress(directory: str | Path) -> list[JobProgress]:
    """The reports of a directory, by start time; a directory that does not exist has none."""
    reports = []
    for path in Path(directory).glob("*.json"):
        try:
            reports.append(JobProgress(**json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue
    return sorted(reports, key=lambda report: (report.started, report.asset))


def clear_progress(directory: str | Path) -> None:
    """Forgets the reports of a directory."""
    for path in [*Path(directory).glob("*.json"), *Path(directory).glob("*.new")]:
        path.unlink(missing_ok=True)
