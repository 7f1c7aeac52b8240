"""Text of other people is printed as it is: words of a server, replies, prompts and names."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from rich.console import RenderableType

from rbr_dagster import progress_line
from rbr_dagster.diff.diff_view import as_text as diff_as_text
from rbr_dagster.diff.rulebook_diff import MovedReplies, ReplayDiff, RulebookDiff
from rbr_dagster.plain_console import plain_console
from rbr_dagster.plan.estimate import CostEstimate
from rbr_dagster.plan.forecast import PlannedAsset
from rbr_dagster.plan.plan import Plan, SourceChange
from rbr_dagster.plan.plan_view import as_text as plan_as_text
from rbr_dagster.plan.planned_checks import PlannedProblem
from rbr_dagster.progress_line import ProgressLine
from rbr_dagster.run import terminal
from rbr_dagster.run.terminal import Terminal
from resources.progress_file import ProgressFile

# The first is an error of markup, the second would vanish, and the third would be an emoji.
WORDS = "bad [/INST] token, split [test] lost :smile:"


def printed(shown: RenderableType, **options: object) -> str:
    console = plain_console(file=io.StringIO(), record=True, **options)
    console.print(shown)
    return console.export_text()


@pytest.fixture
def show(tmp_path: Path) -> Terminal:
    shown = Terminal(tmp_path / "progress", tmp_path / "run.log")
    shown.console = plain_console(file=io.StringIO(), record=True)
    return shown


def wait_for(words: str, read: Callable[[], str]) -> None:
    deadline = time.monotonic() + 10
    while words not in read():
        assert time.monotonic() < deadline, read()
        time.sleep(0.01)


def test_a_warning_and_the_names_of_a_wave_are_printed_as_they_are(show: Terminal) -> None:
    with show.wave(1, [WORDS]):
        pass
    show.wave_done({"a": 1.0}, 1.0, [WORDS])
    lines = show.console.export_text().splitlines()
    assert (lines[0], lines[2]) == (f"Wave 1  {WORDS}", f"        warning  {WORDS}")


@pytest.mark.parametrize("is_terminal", [False, True], ids=["lines", "bars"])
def test_the_note_of_a_job_is_printed_as_it_is(
    is_terminal: bool, show: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_POLL_S", 0.01)
    output = io.StringIO()
    show.console = plain_console(file=output, width=300, force_terminal=is_terminal, color_system=None)
    with show.wave(1, ["a"]):
        ProgressFile(tmp_path / "progress" / "a.json", "a", 2, "replies").update(2, WORDS)
        wait_for(WORDS, output.getvalue)


@pytest.mark.parametrize("is_terminal", [False, True], ids=["lines", "bars"])
def test_the_note_of_a_progress_line_is_printed_as_it_is(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stderr", output)
    monkeypatch.setitem(os.environ, "COLUMNS", "300")
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    monkeypatch.setattr(progress_line, "_LINE_EVERY_S", 0.0)
    with ProgressLine("grade [a]", 2, "replies") as line:
        line.update(1, WORDS)
        wait_for(WORDS, output.getvalue)
    assert "grade [a]" in output.getvalue()


def test_names_and_problems_of_a_plan_are_printed_as_they_are() -> None:
    plan = Plan(
        problems=[PlannedProblem("a", "check", stops=True, certain=True, text=WORDS)],
        changes=[SourceChange("profile/grader", [WORDS])],
        unchecked=(),
        assets=[PlannedAsset(dg.AssetKey("b"), ("data [y] changed",), True, 1, True, cells=3)],
        cells_missing={},
        cells_expected={},
        estimate=CostEstimate(0, None, 0, None, None, 0, 0),
    )
    text = printed(plan_as_text(plan))
    assert f"  a  {WORDS} (stops the run)" in text
    assert f"  profile/grader  {WORDS}" in text
    assert "  b  3 cells  data [y] changed" in text


def test_replies_in_a_difference_are_printed_as_they_are() -> None:
    moved = MovedReplies(("comply", "ideal"), ("comply", "[b]"), 1, [("c" * 16, "[/INST] a", "[test] b")])
    replay = ReplayDiff(3, 1, [moved], {"kept": 0, "turned": 0, "gone": 0, "new": 0}, {})
    text = printed(diff_as_text(RulebookDiff({"behavior": [WORDS]}, {}, replay)))
    assert WORDS in text
    assert "      1  comply: ideal -> [b]\n         cccccccc  [/INST] a  ->  [test] b\n" in text


def test_replies_without_a_class_are_no_unchanged_replies() -> None:
    moved = MovedReplies(("comply", "ideal"), ("comply", "unacceptable"), 2, [])
    replay = ReplayDiff(10, 5, [moved], {"kept": 0, "turned": 0, "gone": 0, "new": 0}, {})
    lines = printed(diff_as_text(RulebookDiff({"behavior": ["changed"]}, {}, replay))).splitlines()
    assert "Stored replies: 2 of 10 change class, 3 keep their class" in lines
    assert "      5  have no class by the old or by the new rulebook: not compared" in lines
