"""The store keeps the rows that fit their table, and refuses the others."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from rbr.errors import InputError
from resources.state.state_format import mark_state
from resources.store import Store
from resources.store.tables import TABLES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=str(tmp_path / "state" / "rbr.duckdb"))


def grades(*rows: tuple[str, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"completion_id": name, "question": "q", "grader": "g", "p_yes": p_yes, "outcome": "answered", "bound": 0.0}
            for name, p_yes in rows
        ],
        schema=TABLES["grades"].dtypes,
    )


def scores(prefix: str, count: int) -> pl.DataFrame:
    names = [f"{prefix}{number}" for number in range(count)]
    return pl.DataFrame({"completion_id": names, "reward_model": "r", "score": 1.5})


def test_reading_before_the_first_write_is_empty_and_makes_no_file(store: Store) -> None:
    assert store.read("grades").equals(grades())
    assert store.query("SELECT count(*) AS n FROM grades JOIN scores USING (completion_id)")["n"].item() == 0
    assert not Path(store.path).parent.exists()


def test_an_unwritten_table_reads_empty_beside_a_written_one(store: Store) -> None:
    store.append("scores", scores("c", 2))
    assert store.query("SELECT s.* FROM scores s ANTI JOIN grades USING (completion_id)").height == 2


def test_rows_are_returned_in_the_order_of_their_key(store: Store) -> None:
    store.append("grades", grades(("b", 0.5), ("a", 0.25)))
    store.append("grades", grades(("A", 1.0)))
    assert store.read("grades")["completion_id"].to_list() == ["A", "a", "b"]
    assert store.read("grades", "p_yes < ?", [0.5])["completion_id"].to_list() == ["a"]


def test_appending_keeps_the_first_row_of_a_key(store: Store) -> None:
    store.append("grades", grades(("a", 0.25), ("a", 0.75)))
    store.append("grades", grades(("a", 0.5), ("b", 0.5)))
    assert store.read("grades").equals(grades(("a", 0.25), ("b", 0.5)))


def test_replacing_leaves_only_the_new_rows_even_under_the_same_keys(store: Store) -> None:
    store.replace("grades", grades(("a", 0.25), ("b", 0.5)))
    store.replace("grades", grades(("a", 0.75)))
    assert store.read("grades").equals(grades(("a", 0.75)))
    store.replace("grades", grades())
    assert store.read("grades").is_empty()


def test_a_missing_grade_stays_null_and_nan_becomes_null(store: Store) -> None:
    store.append("grades", grades(("a", None), ("b", float("nan")), ("c", 0.0)))
    assert store.read("grades")["p_yes"].to_list() == [None, None, 0.0]
    assert store.read("grades", "p_yes IS NULL").height == 2


def test_a_column_of_nulls_only_and_wider_integers_fit(store: Store) -> None:
    store.append("grades", grades(("a", 0.5)).with_columns(p_yes=pl.lit(None)))
    curve = {"variant": "rbr", "checkpoint": "c", "step": 3, "metric": "reward", "value": 0.5}
    store.append("training_metrics", pl.DataFrame([curve]))
    assert store.read("training_metrics").schema["step"] == pl.Int32


def test_column_order_does_not_matter(store: Store) -> None:
    store.append("grades", grades(("a", 0.5)).select(reversed(TABLES["grades"].dtypes)))
    assert store.read("grades").equals(grades(("a", 0.5)))


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        (grades(("a", 1.5)), "p_yes"),
        (grades(("a", 0.5)).drop("grader"), "grader"),
        (grades(("a", 0.5)).with_columns(extra=1), "extra"),
        (grades(("a", 0.5)).with_columns(completion_id=pl.lit(None, pl.String)), "completion_id"),
        (grades(("a", 0.5)).with_columns(p_yes=pl.lit("half")), "p_yes"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_and_changes_nothing(
    store: Store, frame: pl.DataFrame, column: str
) -> None:
    store.append("grades", grades(("kept", 0.5)))
    for write in (store.append, store.replace):
        with pytest.raises(InputError, match=rf"table grades: .*{column}"):
            write("grades", frame)
    assert store.read("grades").equals(grades(("kept", 0.5)))


def test_replacing_refuses_two_rows_of_one_key(store: Store) -> None:
    with pytest.raises(InputError, match="not unique"):
        store.replace("grades", grades(("a", 0.25), ("a", 0.75)))


def test_an_unknown_table_is_named_with_the_known_ones(store: Store) -> None:
    with pytest.raises(InputError, match=r"unknown table 'grade'\n  Known tables: .*grades"):
        store.read("grade")


def test_missing_keeps_columns_and_order_of_the_given_rows(store: Store) -> None:
    store.append("scores", scores("c", 2))
    wanted = pl.DataFrame({"text": ["x", "y", "z"], "completion_id": ["c9", "c1", "c5"], "reward_model": "r"})
    assert store.missing("scores", wanted).rows() == [("x", "c9", "r"), ("z", "c5", "r")]
    assert store.missing("grades", wanted.with_columns(question=pl.lit("q"), grader=pl.lit("g"))).height == 3


def test_snapshots_are_replaced_by_name_and_keep_their_content(store: Store) -> None:
    store.save_snapshot("rulebook/behavior", {"bar": 0.7, "names": ["é"]}, "v1")
    store.save_snapshot("profile/rl", [1, None], "v1")
    store.save_snapshot("rulebook/behavior", {"bar": 0.8}, "v2")
    assert store.snapshot("rulebook/behavior") == {"bar": 0.8}
    assert store.snapshot("profile/rl") == [1, None]
    assert store.read("snapshots")["data_version"].to_list() == ["v1", "v2"]


def test_the_error_about_a_missing_snapshot_says_what_to_do(store: Store) -> None:
    with pytest.raises(RuntimeError, match="Materialize rulebook/behavior first"):
        store.snapshot("rulebook/behavior")


def test_a_stored_table_with_other_columns_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    mark_state(tmp_path / "state")
    with duckdb.connect(store.path) as connection:
        connection.execute("CREATE TABLE grades (completion_id VARCHAR, p_yes DOUBLE)")
    with pytest.raises(InputError, match="table grades: the stored table does not have the columns"):
        store.read("grades")
    with pytest.raises(InputError, match="table grades: the stored table does not have the columns"):
        store.append("grades", grades(("a", 0.5)))
    store.replace("grades", grades(("a", 0.5)))
    assert store.read("grades").height == 1


def _append_many(path: str, prefix: str) -> None:
    for number in range(10):
        Store(path=path).append("scores", scores(f"{prefix}{number}-", 3))


def test_two_processes_that_write_at_the_same_time_lose_nothing(store: Store) -> None:
    spawn = multiprocessing.get_context("spawn")
    other = spawn.Process(target=_append_many, args=(store.path, "a"))
    other.start()
    while not Path(store.path).exists() and other.is_alive():
        time.sleep(0.01)
    _append_many(store.path, "b")
    other.join(60)
    assert other.exitcode == 0
    assert store.read("scores").height == 2 * 10 * 3


HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_read_waits_for_a_file_in_use_and_then_names_the_process(store: Store) -> None:
    store.append("scores", scores("c", 1))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        impatient = Store(path=store.path, lock_timeout_s=0.5)
        begun = time.monotonic()
        with pytest.raises(RuntimeError, match=rf"stayed locked for 0.5 s.*PID {holder.pid}"):
            impatient.read("scores")
        assert time.monotonic() - begun >= 0.5
    finally:
        holder.communicate("\n", timeout=10)
    assert store.read("scores").height == 1


KILLED = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO scores VALUES ('late', 'r', 2.5)")
connection.begin()
connection.execute("DELETE FROM scores")
os.kill(os.getpid(), 9)
"""


def test_a_writer_killed_in_a_transaction_leaves_what_was_committed(store: Store) -> None:
    store.append("scores", scores("c", 1))
    subprocess.run([sys.executable, "-c", KILLED, store.path], check=False)
    assert store.read("scores")["completion_id"].to_list() == ["c0", "late"]


def test_replacing_a_part_keeps_the_other_rows(store: Store) -> None:
    store.replace("scores", scores("c", 2))
    other = scores("c", 1).with_columns(reward_model=pl.lit("other"))
    store.replace("scores", other, within={"reward_model": "other"})
    store.replace("scores", scores("d", 1), within={"reward_model": "r"})
    assert store.read("scores").select("completion_id", "reward_model").rows() == [("c0", "other"), ("d0", "r")]


def test_rows_outside_the_replaced_part_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="every new row"):
        store.replace("scores", scores("c", 1), within={"reward_model": "other"})
