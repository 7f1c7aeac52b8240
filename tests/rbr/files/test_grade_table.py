"""The table of `rbr grade` on disk: continued, never mixed, never half written."""

import fcntl
import json
import os
import subprocess
import sys
from math import nan
from pathlib import Path
from typing import TextIO

import polars as pl
import pytest

from rbr.errors import InputError
from rbr.files.grade_table import GRADE_SCHEMA, GradeRow, GradeTable

FORMATS = ["grades.csv", "grades.jsonl", "grades.parquet"]


def row(reply: str, name: str = "apology", p_yes: float | None = 0.1 + 0.2, **changes: object) -> GradeRow:
    outcome, reason = ("answered", None) if p_yes is not None else ("unreadable", 'likeliest tokens: "The",\n0.9')
    return GradeRow(reply, name, p_yes, outcome, 0.001, 0.98, reason, "c", "q", "g")._replace(**changes)


def write(path: Path, *rows: GradeRow, grader: str = "g") -> None:
    with GradeTable(path, grader) as table:
        table.add(rows)
        table.save([])


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_is_read_back_exactly(tmp_path: Path, name: str) -> None:
    rows = [row("a"), row("b", p_yes=None), row("7", "insult", p_yes=0.0)]
    write(tmp_path / name, *rows, row("c", mass=nan))
    assert list(GradeTable(tmp_path / name, "g").rows.values()) == [*rows, row("c", mass=None)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_table_without_the_column_mass_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    write(path, row("a"))
    pl.read_csv(path).drop("mass").write_csv(path)
    assert list(GradeTable(path, "g").rows.values()) == [row("a", mass=None)]


@pytest.mark.parametrize("name", FORMATS)
def test_answers_of_another_grader_never_share_a_table(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, row("a"))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match="answers of another grader"):
        GradeTable(tmp_path / name, "h")
    assert (tmp_path / name).read_bytes() == before


def test_the_journal_keeps_the_answers_of_a_call_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    code = (
        "import os, sys; from rbr.files.grade_table import GradeRow, GradeTable\n"
        f"table = GradeTable({str(path)!r}, 'g').__enter__()\n"
        "table.add([GradeRow('a', 'apology', 0.5, 'answered', 0.0, 0.9, None, 'c', 'q', 'g')])\n"
        'table._journal._stream.write(\'["b", "apol\'); table._journal._stream.flush()\n'
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": "."})
    assert killed.returncode == -9 and not path.exists()
    with GradeTable(path, "g") as table:
        assert set(table.rows) == {("a", "apology")}
        table.add([row("c")])
        table.save([])
    assert pl.read_csv(path)["completion_id"].to_list() == ["a", "c"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["grades.csv"]


def test_the_journal_of_another_grader_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    with GradeTable(path, "g") as table:
        table.add([row("a")])
    with pytest.raises(InputError, match=r"grades\.csv\.partial: the file has answers of another grader"):
        GradeTable(path, "h")


def test_an_old_answer_is_asked_again_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    write(path, row("a"))
    with GradeTable(path, "g") as table:
        assert table.has(("a", "apology"), conversation="c", question="q")
        assert not table.has(("a", "apology"), conversation="edited", question="q")
        assert not table.has(("a", "apology"), conversation="c", question="reworded")
        assert not table.has(("b", "apology"), conversation="c", question="q")
        table.add([row("a", p_yes=0.9, conversation="edited")])
        table.save([])
    assert pl.read_csv(path).select("p_yes", "conversation").rows() == [(0.9, "edited")]


def test_the_first_rows_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    write(path, row("old"), row("b"))
    with GradeTable(path, "g") as table:
        table.add([row("a")])
        table.save([("a", "apology"), ("b", "apology"), ("not answered", "apology")])
    assert pl.read_csv(path)["completion_id"].to_list() == ["a", "b", "old"]


def test_two_processes_cannot_write_one_table(tmp_path: Path) -> None:
    with (
        GradeTable(tmp_path / "grades.csv", "g"),
        pytest.raises(InputError, match="another `rbr grade` writes this table"),
        GradeTable(tmp_path / "grades.csv", "g"),
    ):
        pass


def test_two_names_of_a_table_have_one_lock_and_one_journal(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    table, link = tmp_path / "there" / "grades.csv", tmp_path / "link.csv"
    link.symlink_to(table)
    with GradeTable(link, "g") as first:
        first.add([row("a")])
        with pytest.raises(InputError, match="another `rbr grade` writes this table"), GradeTable(table, "g"):
            pass
    assert [path.name for path in table.parent.iterdir()] == ["grades.csv.partial"]
    with GradeTable(table, "g") as second:
        assert set(second.rows) == {("a", "apology")}
        second.save([])
    assert link.is_symlink() and set(GradeTable(link, "g").rows) == {("a", "apology")}


def test_a_lock_is_not_lost_while_the_process_before_deletes_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, lock = tmp_path / "grades.csv", fcntl.flock
    first = GradeTable(table, "g").__enter__()

    def lock_late(stream: TextIO, kind: int) -> None:
        # The second process has opened the journal. Before it gets the lock, the first one ends and deletes the file.
        monkeypatch.setattr("fcntl.flock", lock)
        first.__exit__()
        lock(stream, kind)

    monkeypatch.setattr("fcntl.flock", lock_late)
    with (
        GradeTable(table, "g") as second,
        pytest.raises(InputError, match="another `rbr grade` writes this table"),
        GradeTable(table, "g"),
    ):
        pass
    with GradeTable(table, "g") as third:
        third.add([row("a")])
    assert second.rows == {} and set(GradeTable(table, "g").rows) == {("a", "apology")}


def test_a_journal_is_deleted_before_its_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, journal = tmp_path / "grades.csv", tmp_path / "grades.csv.partial"
    unlink, locked = Path.unlink, []

    def unlink_watched(path: Path, missing_ok: bool = False) -> None:
        with path.open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_watched)
    with GradeTable(table, "g"):
        pass
    assert locked == [journal] and not journal.exists()


def test_rows_that_are_forgotten_leave_those_of_earlier_calls(tmp_path: Path) -> None:
    table = tmp_path / "grades.csv"
    write(table, row("a"))
    with GradeTable(table, "g") as interrupted:
        interrupted.add([row("b")])
    with GradeTable(table, "g") as grades:
        grades.add([row("c"), row("a", p_yes=0.9)])
        grades.forget_added()
        assert grades.rows == {("a", "apology"): row("a"), ("b", "apology"): row("b")}
    assert set(GradeTable(table, "g").rows) == {("a", "apology"), ("b", "apology")}


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal; from rbr.errors import InputError\n"
        "from rbr.files.grade_table import GradeRow, GradeTable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "rows = [GradeRow(str(n), 'apology', 0.5, 'answered', 0.0, 0.9, None, 'c', 'q', 'g') for n in range(500)]\n"
        "try:\n"
        f"    with GradeTable({str(tmp_path / 'grades.csv')!r}, 'g') as table:\n"
        "        table.add(rows[:5]); table.add(rows)\n"
        "except InputError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": "."}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "grades.csv.partial: the file cannot be written: File too large" in result.stdout and not result.stderr
    assert len(GradeTable(tmp_path / "grades.csv", "g").rows) >= 5


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_write_leaves_the_old_table(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / name, row("a"))
    before = (tmp_path / name).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with GradeTable(tmp_path / name, "g") as table:
        table.add([row("b")])
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(InputError, match="cannot be written: No space left"):
            table.save([])
    assert (tmp_path / name).read_bytes() == before
    monkeypatch.undo()
    # The journal still has the answer.
    assert set(GradeTable(tmp_path / name, "g").rows) == {("a", "apology"), ("b", "apology")}
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.partial"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grades.txt", None, "the format of the table is unknown"),
        ("nowhere/grades.csv", None, "its directory does not exist"),
        ("grades.csv", "id,prompt,reply\na,Hi.,Hello.\n", "is not a table that `rbr grade` has written"),
        ("grades.csv", ",".join(GRADE_SCHEMA) + "\na,apology,much,answered,0,,,c,q,g\n", "is not a table that"),
        ("grades.jsonl", json.dumps({"completion_id": "a"}), "is not a table that"),
    ],
)
def test_another_file_is_never_replaced(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        GradeTable(path, "g")
    assert text is None or path.read_text() == text


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/nowhere/grades.csv", "its directory does not exist"),
        ("grades.csv", "the links form a loop"),
        (".", "it is a directory"),
    ],
)
def test_a_link_that_leads_to_no_file_is_named(tmp_path: Path, target: str, message: str) -> None:
    path = tmp_path / "grades.csv"
    path.symlink_to(target)
    with pytest.raises(InputError, match=message):
        GradeTable(path, "g")
    assert [file.name for file in tmp_path.iterdir()] == ["grades.csv"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "real.csv", tmp_path / "grades.csv"
    write(target, row("a"))
    target.chmod(0o640)
    link.symlink_to(target)
    write(link, row("b"))
    assert link.is_symlink() and target.stat().st_mode & 0o777 == 0o640
    assert pl.read_csv(target)["completion_id"].to_list() == ["a", "b"]
