"""The progress line of a command that asks a grader: a bar on a terminal, or lines in a pipe or a log."""

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rbr_dagster.plain_console import plain_console

_LINE_EVERY_S = 15.0


class ProgressLine:
    """Shows on standard error how much of a job is done. Use it as a context manager.

    Args:
        name: Name of the job.
        total: Number of units of the whole job.
        unit: The unit in the plural, such as ``replies``.
    """

    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        is_terminal = sys.stderr.isatty()
        self._console = plain_console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="yellow", markup=False),
            console=self._console,
            transient=True,
            disable=not is_terminal,
        )
        self._task = self._bar.add_task(name, total=total, note="")
        self._printed_at = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Sets the number of finished units, and what the job waits for."""
        self._bar.update(self._task, completed=done, note=note)
        now = time.monotonic()
        if self._bar.disable and now - self._printed_at >= _LINE_EVERY_S:
            self._printed_at = now
            after = f" ({note})" if note else ""
            self._console.print(f"{self._name}: {done:,} of {self._total:,} {self._unit}{after}")

    def __enter__(self) -> "ProgressLine":
        self._bar.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
