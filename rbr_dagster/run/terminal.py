"""The terminal output of `rbr run`: waves, progress bars and warnings. The output of libraries goes to a log file."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from rbr_dagster.plain_console import plain_console
from resources.progress_file import JobProgress, clear_progress, read_progress

_POLL_S = 0.5
_LINE_EVERY_S = 15.0


class Terminal:
    """The console of a run. It still prints while the output of libraries is redirected to a log file.

    Args:
        progress: Directory of the progress files.
        log: Log file for the output of libraries and child processes.

    Attributes:
        console: Prints to the terminal.
    """

    def __init__(self, progress: Path, log: Path) -> None:
        self._progress = progress
        self._log = log
        self.console = plain_console()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Redirects the output of this process and its child processes to the log. The console still prints."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        originals = os.dup(1), os.dup(2)
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout, self._log.open("a", encoding="utf-8") as log:
            original_console = self.console
            self.console = plain_console(
                file=stdout, force_terminal=original_console.is_terminal, width=original_console.width
            )
            # File descriptors, not sys.stdout: child processes inherit them, and native code writes to them.
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                for descriptor, original in zip((1, 2), originals, strict=True):
                    os.dup2(original, descriptor)
                    os.close(original)
                self.console = original_console

    @contextmanager
    def wave(self, number: int, assets: Sequence[str]) -> Iterator[None]:
        """Prints the assets of a wave and shows their progress until the wave ends."""
        self.console.print(Text.assemble((f"Wave {number}", "bold"), f"  {', '.join(assets)}"))
        clear_progress(self._progress)
        done = threading.Event()
        show_progress = self._show_bars if self.console.is_terminal else self._show_lines
        watcher = threading.Thread(target=show_progress, args=(done,), name="progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def wave_done(self, seconds: Mapping[str, float], total: float, warnings: Sequence[str]) -> None:
        """Prints how long a wave took, and the warnings of its checks.

        Args:
            seconds: Wall time of each asset that was made.
            total: Wall time of the wave in seconds.
            warnings: Failed checks that do not block, and warnings of assets; one line each.
        """
        slow = [f"{asset} {duration:.0f} s" for asset, duration in seconds.items() if duration >= 1]
        details = f" ({', '.join(slow)})" if len(slow) > 1 else ""
        self.console.print(f"        {len(seconds)} made in {total:.0f} s{details}", style="dim")
        for warning in warnings:
            self.console.print(f"        warning  {warning}", style="yellow")

    def _show_bars(self, done: threading.Event) -> None:
        """Shows the progress of each job as a bar, for terminals."""
        columns = (
            TextColumn("        {task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="yellow", markup=False),
        )
        tasks: dict[str, TaskID] = {}
        with Progress(*columns, console=self.console, transient=True) as bars:
            while not done.wait(_POLL_S):
                for job in read_progress(self._progress):
                    if job.asset not in tasks:
                        tasks[job.asset] = bars.add_task(job.asset, total=job.total, unit=job.unit, note="")
                    bars.update(tasks[job.asset], completed=job.done, note=job.note)

    def _show_lines(self, done: threading.Event) -> None:
        """Prints the progress of each job as lines, at most one per job every `_LINE_EVERY_S`. For pipes and logs.

        The first note of a job is printed at once.
        """
        printed: dict[str, tuple[int, float]] = {}  # Asset -> units done and time, both at its last line.
        noted: set[str] = set()
        while not done.wait(_POLL_S):
            now = time.monotonic()
            for job in read_progress(self._progress):
                units, printed_at = printed.setdefault(job.asset, (0, now))
                is_due = (job.done > units or job.note) and now - printed_at >= _LINE_EVERY_S
                if is_due or (job.note and job.asset not in noted):
                    noted |= {job.asset} if job.note else set()
                    printed[job.asset] = job.done, now
                    self.console.print(f"        {_line(job)}")


def _line(job: JobProgress) -> str:
    note = f" ({job.note})" if job.note else ""
    return f"{job.asset}: {job.done} of {job.total} {job.unit}{note}"
