"""The DuckDB file with the tables that the assets write and read.

Only one process at a time can open a DuckDB file for writing. Every call therefore opens the file, does one short
operation and closes the file again. The file is closed while models work. If the file is in use, a call waits.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import tenacity

from rbr.errors import InputError
from resources.state.lease import step_lease
from resources.state.lifeline import DRIVER_PID
from resources.state.state_format import check_state, mark_state
from resources.store.frame_checks import check_frame, normalize_frame
from resources.store.tables import TABLES, Table

# DuckDB must not download extensions: the store works offline.
CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}

_SQL_TYPES = {
    pl.String: "VARCHAR",
    pl.Float64: "DOUBLE",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
}


class Store(dg.ConfigurableResource):
    """The tables of `resources.store.tables`. Every write and every `read` is checked against the table's schema.

    A table that was never written is empty. NaN is stored as null. `read` sorts rows by the table's key, so the same
    content always gives the same frame.

    Attributes:
        path: The DuckDB file, created by the first write.
        lock_timeout_s: Seconds to wait while another process has the file open.
    """

    path: str
    lock_timeout_s: float = 60.0

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Store"]:
        """Checks the state directory, and locks it during a step of a run from the UI.

        A step that a driver (`rbr run`) has started needs no lock, because the driver has it.
        """
        check_state(Path(self.path).parent)
        if DRIVER_PID in os.environ:
            yield self
            return
        with step_lease(Path(self.path).parent, (context.log or logging.getLogger(__name__)).info):
            yield self

    def read(self, table: str, sql_where: str = "", params: Sequence[object] = ()) -> pl.DataFrame:
        """Reads rows of one table, sorted by its key.

        Args:
            table: Name of the table.
            sql_where: SQL condition on the columns, with ``?`` for parameters; empty for all rows.
            params: Values of the parameters.

        Raises:
            InputError: The table is unknown, or another version of rbr-dagster wrote the state directory.
            RuntimeError: The file stayed locked for `lock_timeout_s`.
        """
        definition = _table(table)
        where = f"WHERE {sql_where}" if sql_where else ""
        columns, order = _quoted(definition.dtypes), _quoted(definition.key)
        sql = f"SELECT {columns} FROM {table} {where} ORDER BY {order}"
        with self._reading(sql) as connection:
            frame = connection.sql(sql, params=list(params)).pl()
        return check_frame(definition, frame)

    def query(self, sql: str, params: Sequence[object] = ()) -> pl.DataFrame:
        """Runs an SQL query. Use ORDER BY if the order of the rows matters.

        Args:
            sql: Query over the tables, with ``?`` for parameters.
            params: Values of the parameters.

        Raises:
            InputError: Another version of rbr-dagster wrote the state directory.
            RuntimeError: The file stayed locked for `lock_timeout_s`.
        """
        with self._reading(sql) as connection:
            return connection.sql(sql, params=list(params)).pl()

    def missing(self, table: str, keys: pl.DataFrame) -> pl.DataFrame:
        """Returns the rows of `keys` whose key is not in the table yet.

        Args:
            table: Name of the table.
            keys: A frame with the table's key columns, and any others.

        Returns:
            Rows of `keys` with all columns, in the order of `keys`.

        Raises:
            InputError: The table is unknown, or another version of rbr-dagster wrote the state directory.
            RuntimeError: The file stayed locked for `lock_timeout_s`.
        """
        definition = _table(table)
        stored = self.query(f"SELECT {_quoted(definition.key)} FROM {table}")
        return keys.join(stored, on=list(definition.key), how="anti", maintain_order="left")

    def replace(self, table: str, frame: pl.DataFrame, within: Mapping[str, str] | None = None) -> None:
        """Replaces the content of a table, or a part of it, in one transaction.

        Args:
            table: Name of the table.
            frame: The new rows.
            within: Column values that select the rows to replace, such as ``{"variant": "rbr"}``. Every row of `frame`
                must have these values. None replaces all rows.

        Raises:
            InputError: The table is unknown, or the frame does not fit (columns, types, ranges, unique key).
            RuntimeError: The file stayed locked for `lock_timeout_s`.
            ValueError: A row of `frame` does not have the values of `within`.
        """
        definition = _table(table)
        incoming = check_frame(definition, normalize_frame(definition, frame))
        if within is not None and incoming.filter(**within).height != incoming.height:
            raise ValueError(f"every new row of {table} must have the values {dict(within)}")
        with self._writing() as connection:
            if within is None:
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            _create(connection, definition)
            if within is not None:
                _refuse_other_columns(connection, definition)
                condition = " AND ".join(f'"{name}" = ?' for name in within)
                connection.execute(f"DELETE FROM {table} WHERE {condition}", list(within.values()))
            _insert(connection, definition, incoming)

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Adds the rows whose key is not in the table yet. Stored rows do not change.

        Args:
            table: Name of the table.
            frame: The rows. If several rows have the same key, the first one is added.

        Raises:
            InputError: The table is unknown, or the frame does not fit (columns, types, ranges).
            RuntimeError: The file stayed locked for `lock_timeout_s`.
        """
        definition = _table(table)
        first = normalize_frame(definition, frame).unique(
            subset=list(definition.key), keep="first", maintain_order=True
        )
        incoming = check_frame(definition, first)
        with self._writing() as connection:
            _create(connection, definition)
            _refuse_other_columns(connection, definition)
            _insert(connection, definition, incoming)

    def save_snapshot(self, name: str, content: object, data_version: str) -> None:
        """Stores a snapshot, and replaces an earlier snapshot with the same name.

        Args:
            name: Name of the snapshot, such as ``rulebook/behavior``.
            content: JSON-like content.
            data_version: Hash of the content.
        """
        row = {"name": name, "content": json.dumps(content, ensure_ascii=False), "data_version": data_version}
        definition = TABLES["snapshots"]
        incoming = check_frame(definition, pl.DataFrame([row], schema=definition.dtypes))
        with self._writing() as connection:
            _create(connection, definition)
            connection.execute("DELETE FROM snapshots WHERE name = ?", [name])
            _insert(connection, definition, incoming)

    def snapshots(self) -> dict[str, Any]:
        """Returns the content of all snapshots, by name."""
        rows = self.read("snapshots").select("name", "content").iter_rows()
        return {name: json.loads(content) for name, content in rows}

    def snapshot(self, name: str) -> Any:
        """Returns the content of a snapshot.

        Raises:
            RuntimeError: The snapshot does not exist yet.
        """
        rows = self.read("snapshots", "name = ?", [name])
        if rows.is_empty():
            raise RuntimeError(f"The snapshot {name} does not exist yet. Materialize {name} first, or run `rbr run`.")
        return json.loads(rows["content"].item())

    def copy_to(self, path: Path) -> None:
        """Copies the database file while no other process writes to it. Does nothing if nothing was stored yet.

        Args:
            path: The file to write, in another state directory.

        Raises:
            InputError: Another version of rbr-dagster wrote the state directory.
            RuntimeError: The file stayed locked for `lock_timeout_s`.
        """
        check_state(Path(self.path).parent)
        mark_state(path.parent)
        if not Path(self.path).exists():
            return
        # While a connection is open for reading, no other process can write.
        with self._connection(self.path, read_only=True):
            for suffix in ("", ".wal"):
                if Path(f"{self.path}{suffix}").exists():
                    shutil.copyfile(f"{self.path}{suffix}", f"{path}{suffix}")

    @contextmanager
    def _reading(self, sql: str) -> Iterator[duckdb.DuckDBPyConnection]:
        # Before the first write, the file does not exist. A read must not create the file.
        exists = Path(self.path).exists()
        check_state(Path(self.path).parent)
        with self._connection(self.path if exists else ":memory:", read_only=exists) as connection:
            stored = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            for table in (table for table in TABLES.values() if table.name in sql):
                if table.name in stored:
                    _refuse_other_columns(connection, table)
                else:
                    _create(connection, table, temporary=True)
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        mark_state(Path(self.path).parent)
        with self._connection(self.path, read_only=False) as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _connection(self, path: str, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_taken),
            stop=tenacity.stop_after_delay(self.lock_timeout_s),
            wait=tenacity.wait_random(0.01, 0.2),
            reraise=True,
        )
        with ExitStack() as opened:
            try:
                connection = attempts(self._open, opened, path, read_only)
            except (BlockingIOError, duckdb.Error) as error:
                if not _is_taken(error):
                    raise
                raise RuntimeError(
                    f"The store {path} stayed locked for {self.lock_timeout_s:g} s. "
                    f"Close the program that has the file open, and try again. Last error: {error}"
                ) from error
            yield connection

    def _open(self, opened: ExitStack, path: str, read_only: bool) -> duckdb.DuckDBPyConnection:
        with ExitStack() as attempt:
            if path != ":memory:":
                # DuckDB's own lock is not enough: a write was lost when processes opened the file in quick succession.
                # This lock is taken before the file is opened, and released after the file is closed.
                lock = attempt.enter_context(open(f"{path}.lock", "a"))
                fcntl.flock(lock, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            connection = duckdb.connect(path, read_only=read_only, config=CONFIG)
            attempt.callback(connection.close)
            opened.push(attempt.pop_all())
            return connection


def _is_taken(error: BaseException) -> bool:
    """Returns whether an error means that another process or thread has the file open."""
    # Another process gets a lock error; another thread of this process may get an error about the access mode.
    return isinstance(error, BlockingIOError) or (
        isinstance(error, duckdb.Error)
        and ("Could not set lock" in str(error) or "different configuration" in str(error))
    )


def _table(name: str) -> Table:
    if name not in TABLES:
        raise InputError(f"unknown table {name!r}", hint=f"Known tables: {', '.join(TABLES)}.")
    return TABLES[name]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _create(connection: duckdb.DuckDBPyConnection, table: Table, *, temporary: bool = False) -> None:
    columns = ", ".join(f'"{name}" {_SQL_TYPES[dtype]}' for name, dtype in table.dtypes.items())
    modifier = "TEMP " if temporary else ""
    connection.execute(f"CREATE {modifier}TABLE IF NOT EXISTS {table.name} ({columns})")


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, incoming: pl.DataFrame) -> None:
    # The anti join skips stored keys. A PRIMARY KEY does not work: DuckDB refuses to delete and insert the same key in
    # one transaction.
    connection.register("incoming", incoming)
    columns, keys = _quoted(table.dtypes), _quoted(table.key)
    unstored = f"SELECT {columns} FROM incoming ANTI JOIN {table.name} USING ({keys})"
    connection.execute(f"INSERT INTO {table.name} ({columns}) {unstored}")
    connection.unregister("incoming")


def _refuse_other_columns(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table.name]
    ).fetchall()
    if rows and dict(rows) != {name: _SQL_TYPES[dtype] for name, dtype in table.dtypes.items()}:
        raise InputError(
            "the stored table does not have the columns of this version of rbr-dagster",
            where=f"table {table.name}",
            hint="Set RBR_HOME to a new directory, or move the old one away.",
        )
