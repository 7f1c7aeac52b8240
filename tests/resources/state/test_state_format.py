"""A state directory in another format is refused with a message, and never read wrongly."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from rbr.errors import InputError
from rbr_dagster.environment import Environment
from resources.state.state_format import (
    DAGSTER_DIRECTORY,
    FORMAT_FILE,
    STATE_FORMAT,
    STORE_FILE,
    check_state,
    mark_state,
)
from resources.store import Store

ROOT = Path(__file__).resolve().parents[3]
EARLIER = "the state directory was written by an earlier version of rbr-dagster"
SCORE = pl.DataFrame({"completion_id": ["c"], "reward_model": ["r"], "score": [1.0]})


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state directory from before the format was recorded."""
    home = tmp_path / "old"
    home.mkdir()
    with duckdb.connect(str(home / STORE_FILE)) as connection:
        connection.execute("CREATE TABLE labelled_prompts (prompt_id VARCHAR)")
    return home


def files(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_or_empty_directory_is_fine(exists: bool, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if exists:
        home.mkdir()
    check_state(home)
    mark_state(home)
    check_state(home)
    assert json.loads((home / FORMAT_FILE).read_text()) == {"state_format": STATE_FORMAT}


def test_marking_again_changes_nothing(tmp_path: Path) -> None:
    mark_state(tmp_path)
    before = (tmp_path / FORMAT_FILE).stat()
    mark_state(tmp_path)
    assert (tmp_path / FORMAT_FILE).stat() == before


def environment(home: Path) -> Environment:
    return Environment(home, ROOT / "profiles" / "sandbox.yaml", ROOT / "rulebook")


@pytest.mark.parametrize(
    "use",
    [
        check_state,
        mark_state,
        lambda home: environment(home).prepare(),
        lambda home: Store(path=str(home / STORE_FILE)).read("labeled_prompts"),
        lambda home: Store(path=str(home / STORE_FILE)).append("scores", SCORE),
        lambda home: Store(path=str(home / STORE_FILE)).copy_to(home.parent / "copy" / STORE_FILE),
    ],
    ids=["check_state", "mark_state", "prepare", "read", "append", "copy_to"],
)
def test_a_directory_without_a_format_is_refused_and_stays_as_it_is(use: Callable[[Path], object], old: Path) -> None:
    before = files(old.parent)
    with pytest.raises(InputError) as refused:
        use(old)
    assert str(refused.value) == f"{old}: {EARLIER}\n  Set RBR_HOME to a new directory, or move the old one away."
    assert files(old.parent) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"state_format": 0}', "by an earlier version"),
        (b'{"state_format": 99}', "by a later version.*its format is 99; this version reads format 4"),
        (b'{"state_format": "one"}', "format.json: the file is damaged"),
        (b'{"state_format": true}', "format.json: the file is damaged"),
        (b"[]", "format.json: the file is damaged"),
        (b"", "format.json: the file is damaged"),
        (b"\xff\xfe", "format.json: the file is damaged"),
    ],
    ids=["older", "newer", "no number", "a boolean", "no mapping", "empty", "not text"],
)
def test_another_format_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).write_bytes(content)
    with pytest.raises(InputError, match=message):
        check_state(tmp_path)


def test_a_directory_with_a_dagster_instance_but_no_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / DAGSTER_DIRECTORY).mkdir()
    with pytest.raises(InputError, match=EARLIER):
        mark_state(tmp_path)


def test_a_state_directory_that_is_a_file_or_cannot_be_created_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="is not a directory"):
        check_state(file)
    with pytest.raises(InputError, match="cannot be written"):
        mark_state(file / "home")


def test_the_first_write_to_a_store_marks_its_directory(tmp_path: Path) -> None:
    store = Store(path=str(tmp_path / "home" / STORE_FILE))
    assert store.read("scores").is_empty()
    assert not (tmp_path / "home").exists()
    store.append("scores", SCORE)
    check_state(tmp_path / "home")
    assert store.read("scores").height == 1


def test_a_copy_can_be_read(tmp_path: Path) -> None:
    store = Store(path=str(tmp_path / "home" / STORE_FILE))
    store.append("scores", SCORE)
    store.copy_to(tmp_path / "copy" / STORE_FILE)
    assert Store(path=str(tmp_path / "copy" / STORE_FILE)).read("scores").equals(store.read("scores"))


def test_a_step_in_the_ui_is_refused(old: Path) -> None:
    import dagster as dg

    @dg.asset
    def scores(store: Store) -> None:
        raise AssertionError("the step was started")

    before = files(old)
    store = Store(path=str(old / STORE_FILE))
    with pytest.raises(dg.DagsterResourceFunctionError) as refused:
        dg.materialize([scores], resources={"store": store})
    assert EARLIER in str(refused.value.__cause__)
    assert files(old) == before


@pytest.mark.parametrize("command", [["run"], ["plan"], ["metrics"]], ids=lambda command: command[0])
def test_a_command_ends_with_status_2(command: list[str], old: Path, tmp_path: Path) -> None:
    before = files(old)
    variables = {**os.environ, "RBR_HOME": str(old), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *command], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert (result.returncode, EARLIER in result.stderr) == (2, True), result.stderr
    assert files(old) == before
