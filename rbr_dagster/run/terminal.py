"""What `rbr run` shows: waves, progress bars of long stages, and nothing that libraries print."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from resources.progress_file import JobProgress, clear_progress, read_progress

_LOOK_S = 0.5
_LINE_EVERY_S = 15.0
_WIDTH = 140


class Terminal:
    """The console of a run, apart from the streams that libraries print to.

    Args:
        progress: Directory of the progress reports.
        log: File for everything that libraries and workers print.
    """

    def __init__(self, progress: Path, log: Path) -> None:
        self._progress = progress
        self._log = log
        # A pipe has no width, and tables cut to 80 columns say little.
        self.console = Console(width=None if sys.stdout.isatty() else _WIDTH)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Sends what this process and its children print to the log; the console stays where it is."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        saved = os.dup(1), os.dup(2)
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as ours, self._log.open("a", encoding="utf-8") as log:
            shown = self.console
            self.console = Console(file=ours, force_terminal=shown.is_terminal, width=shown.width)
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                for stream, original in zip((1, 2), saved, strict=True):
                    os.dup2(original, stream)
                    os.close(original)
                self.console = shown

    @contextmanager
    def wave(self, number: int, assets: Sequence[str]) -> Iterator[None]:
        """Announces a wave and shows the progress of its long stages until it is done."""
        self.console.print(f"[bold]Wave {number}[/bold]  {', '.join(assets)}", highlight=False)
        clear_progress(self._progress)
        done = threading.Event()
        show = self._show_bars if self.console.is_terminal else self._show_lines
        watcher = threading.Thread(target=show, args=(done,), name="progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def wave_done(self, seconds: Mapping[str, float], total: float, warnings: Sequence[str]) -> None:
        """Tells how long the wave took, and what its checks warn of."""
        slow = [f"{asset} {taken:.0f} s" for asset, taken in seconds.items() if taken >= 1]
        details = f" ({', '.join(slow)})" if len(slow) > 1 else ""
        self.console.print(f"        {len(seconds)} made in {total:.0f} s{details}", style="dim", highlight=False)
        for warning in warnings:
            self.console.print(f"        warning  {warning}", style="yellow", highlight=False)

    def _show_bars(self, done: threading.Event) -> None:
        columns = (
            TextColumn("        {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
        )
        tasks: dict[str, TaskID] = {}
        with Progress(*columns, console=self.console, transient=True) as bars:
            while not done.wait(_LOOK_S):
                for report in read_progress(self._progress):
                    if report.asset not in tasks:
                        tasks[report.asset] = bars.add_task(report.asset, total=report.total, unit=report.unit)
                    bars.update(tasks[report.asset], completed=report.done)

    def _show_lines(self, done: threading.Event) -> None:
        """For logs and pipes: a line for each long stage now and then."""
        told: dict[str, tuple[int, float]] = {}
        while not done.wait(_LOOK_S):
            now = time.monotonic()
            for report in read_progress(self._progress):
                steps, when = told.get(report.asset, (0, now))
                told.setdefault(report.asset, (steps, when))
                if report.done > steps and now - when >= _LINE_EVERY_S:
                    told[report.asset] = report.done, now
                    self.console.print(f"        {_line(report)}", highlight=False)


def _line(report: JobProgress) -> str:
    return f"{report.asset}: {report.done} of {report.total} {report.unit}"
