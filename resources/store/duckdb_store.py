"""The DuckDB file that stages exchange tables through.

DuckDB lets one process at a time open a file for writing. So every call opens the file, does one short
thing and closes it again; nothing is held while models work. A call that finds the file taken waits.
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
import pandera.errors
import polars as pl
import tenacity

from rbr.errors import InputError
from resources.lease import step_lease
from resources.store.tables import TABLES, Table
from resources.trainer_process.lifeline import DRIVER_PID

# No extension is ever fetched: the store works offline.
CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}

_SQL_TYPES = {
    pl.String: "VARCHAR",
    pl.Float64: "DOUBLE",
    pl.Int32: "INTEGER",
    pl.Boolean: "BOOLEAN",
}


class Store(dg.ConfigurableResource):
    """Tables of `resources.store.tables`, checked on the way in and on the way out.

    A table that nobody has written yet reads as empty. NaN is stored as null. Rows come back sorted by the
    table's key, so equal content reads equal.

    Attributes:
        path: The DuckDB file; made at the first write.
        lock_timeout_s: Seconds to wait while another process has the file open.
    """

    path: str
    lock_timeout_s: float = 60.0

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Store"]:
        """Lets a step work while no driver does; the steps of a driver are covered by its lease."""
        if DRIVER_PID in os.environ:
            yield self
            return
        with step_lease(Path(self.path).parent, (context.log or logging.getLogger(__name__)).info):
            yield self

    def read(self, table: str, sql_where: str = "", params: Sequence[object] = ()) -> pl.DataFrame:
        """Reads rows of one table, sorted by its key.

        Args:
            table: Name of the table.
            sql_where: Condition over its columns, with ``?`` for parameters; empty for all rows.
            params: Values of the parameters.

        Raises:
            InputError: No such table, or the file was written with other columns.
            RuntimeError: The file stayed locked.
        """
        shape = _table(table)
        where = f"WHERE {sql_where}" if sql_where else ""
        columns, order = _listing(shape.dtypes), _listing(shape.key)
        sql = f"SELECT {columns} FROM {table} {where} ORDER BY {order}"
        with self._reading(sql) as connection:
            frame = connection.sql(sql, params=list(params)).pl()
        return _checked(shape, frame)

    def query(self, sql: str, params: Sequence[object] = ()) -> pl.DataFrame:
        """Reads by SQL; say ORDER BY where the order of rows matters.

        Raises:
            RuntimeError: The file stayed locked.
        """
        with self._reading(sql) as connection:
            return connection.sql(sql, params=list(params)).pl()

    def missing(self, table: str, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows of `keys` whose key is not in the table yet.

        Args:
            table: Name of the table.
            keys: A frame with the table's key columns and any others.

        Returns:
            Rows of `keys` with all their columns, in their order.
        """
        shape = _table(table)
        stored = self.query(f"SELECT {_listing(shape.key)} FROM {table}")
        return keys.join(stored, on=list(shape.key), how="anti", maintain_order="left")

    def replace(self, table: str, frame: pl.DataFrame, within: Mapping[str, str] | None = None) -> None:
        """Makes `frame` the whole content of the table, or of a part of it, in one transaction.

        Args:
            table: Name of the table.
            frame: The rows.
            within: Value by column of the part that is replaced, such as ``{"variant": "rbr"}``; rows of
                `frame` must lie in it. None replaces everything.

        Raises:
            InputError: No such table, or the frame does not fit it (columns, types, ranges, unique key).
            RuntimeError: The file stayed locked.
            ValueError: A row lies outside the part that is replaced.
        """
        shape = _table(table)
        incoming = _checked(shape, _normal(shape, frame))
        if within is not None and incoming.filter(**within).height != incoming.height:
            raise ValueError(f"rows of {table} lie outside {dict(within)}")
        with self._writing() as connection:
            if within is None:
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            _create(connection, shape)
            if within is not None:
                _refuse_other_columns(connection, shape)
                part = " AND ".join(f'"{name}" = ?' for name in within)
                connection.execute(f"DELETE FROM {table} WHERE {part}", list(within.values()))
            _insert(connection, shape, incoming)

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Adds the rows whose key the table does not have; the others stay as they are stored.

        Raises:
            InputError: No such table, or the frame does not fit it (columns, types, ranges).
            RuntimeError: The file stayed locked.
        """
        shape = _table(table)
        first = _normal(shape, frame).unique(subset=list(shape.key), keep="first", maintain_order=True)
        incoming = _checked(shape, first)
        with self._writing() as connection:
            _create(connection, shape)
            _refuse_other_columns(connection, shape)
            _insert(connection, shape, incoming)

    def save_snapshot(self, name: str, content: object, data_version: str) -> None:
        """Stores the parsed content of a source in place of what it was before.

        Args:
            name: Snapshot, such as ``rulebook/behavior``.
            content: JSON-able content.
            data_version: Hash of the content.
        """
        row = {"name": name, "content": json.dumps(content, ensure_ascii=False), "data_version": data_version}
        shape = TABLES["snapshots"]
        incoming = _checked(shape, pl.DataFrame([row], schema=shape.dtypes))
        with self._writing() as connection:
            _create(connection, shape)
            connection.execute("DELETE FROM snapshots WHERE name = ?", [name])
            _insert(connection, shape, incoming)

    def snapshots(self) -> dict[str, Any]:
        """The stored content of every source that was ever read, by name."""
        rows = self.read("snapshots").select("name", "content").iter_rows()
        return {name: json.loads(content) for name, content in rows}

    def snapshot(self, name: str) -> Any:
        """The stored content of a source.

        Raises:
            RuntimeError: The snapshot was never made.
        """
        found = self.read("snapshots", "name = ?", [name])
        if found.is_empty():
            raise RuntimeError(f"The snapshot {name} has not been made. Materialize {name} first, or run `rbr run`.")
        return json.loads(found["content"].item())

    def copy_to(self, path: Path) -> None:
        """Writes a copy of the file as it stands between two transactions; nothing where nothing was stored yet."""
        if not Path(self.path).exists():
            return
        # While a connection reads, no other process can write.
        with self._connection(self.path, read_only=True):
            for suffix in ("", ".wal"):
                if Path(f"{self.path}{suffix}").exists():
                    shutil.copyfile(f"{self.path}{suffix}", f"{path}{suffix}")

    @contextmanager
    def _reading(self, sql: str) -> Iterator[duckdb.DuckDBPyConnection]:
        # Before the first write there is no file, and reading must not make one.
        exists = Path(self.path).exists()
        with self._connection(self.path if exists else ":memory:", read_only=exists) as connection:
            stored = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            for table in (table for table in TABLES.values() if table.name in sql):
                if table.name in stored:
                    _refuse_other_columns(connection, table)
                else:
                    _create(connection, table, "TEMP TABLE")
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
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
                    f"Close the program that has it open, then run again. The last try said: {error}"
                ) from error
            yield connection

    def _open(self, opened: ExitStack, path: str, read_only: bool) -> duckdb.DuckDBPyConnection:
        with ExitStack() as attempt:
            if path != ":memory:":
                # With DuckDB's own lock alone, processes that took turns in a hurry were seen to lose a write. This one
                # is held from before the file is opened until it is closed.
                lock = attempt.enter_context(open(f"{path}.lock", "a"))
                fcntl.flock(lock, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            connection = duckdb.connect(path, read_only=read_only, config=CONFIG)
            attempt.callback(connection.close)
            opened.push(attempt.pop_all())
            return connection


def _is_taken(error: BaseException) -> bool:
    # Another program meets DuckDB's file lock; a second thread of this one may meet the other access mode.
    return isinstance(error, BlockingIOError) or (
        isinstance(error, duckdb.Error)
        and ("Could not set lock" in str(error) or "different configuration" in str(error))
    )


def _table(name: str) -> Table:
    if name not in TABLES:
        raise InputError(f"there is no table {name!r}", hint=f"Tables: {', '.join(TABLES)}.")
    return TABLES[name]


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _normal(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Integer widths, all-null columns and column order as the table has them; NaN as null."""
    if set(frame.columns) != set(table.dtypes):
        absent = ", ".join(sorted(set(table.dtypes) - set(frame.columns))) or "none"
        unknown = ", ".join(sorted(set(frame.columns) - set(table.dtypes))) or "none"
        raise InputError(
            f"other columns are expected (missing: {absent}; unknown: {unknown})",
            where=f"table {table.name}",
            hint="See docs/tables.md.",
        )
    widened = [
        pl.col(name).cast(dtype)
        for name, dtype in table.dtypes.items()
        if frame.schema[name] == pl.Null or (frame.schema[name].is_integer() and dtype.is_integer())
    ]
    return frame.with_columns(widened).select(list(table.dtypes)).fill_nan(None)


def _checked(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    try:
        table.schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        problems = [failure["error"] for group in error.message.values() for kind in group.values() for failure in kind]
        raise InputError("; ".join(problems), where=f"table {table.name}", hint="See docs/tables.md.") from error
    return frame


def _create(connection: duckdb.DuckDBPyConnection, table: Table, kind: str = "TABLE") -> None:
    columns = ", ".join(f'"{name}" {_SQL_TYPES[dtype]}' for name, dtype in table.dtypes.items())
    connection.execute(f"CREATE {kind} IF NOT EXISTS {table.name} ({columns})")


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, incoming: pl.DataFrame) -> None:
    # No PRIMARY KEY does this: DuckDB's index refuses to delete and insert one key in one transaction.
    connection.register("incoming", incoming)
    columns, keys = _listing(table.dtypes), _listing(table.key)
    unstored = f"SELECT {columns} FROM incoming ANTI JOIN {table.name} USING ({keys})"
    connection.execute(f"INSERT INTO {table.name} ({columns}) {unstored}")
    connection.unregister("incoming")


def _refuse_other_columns(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table.name]
    ).fetchall()
    if rows and dict(rows) != {name: _SQL_TYPES[dtype] for name, dtype in table.dtypes.items()}:
        raise InputError(
            "the stored table has other columns than this version of the program",
            where=f"table {table.name}",
            hint="Move the state directory away (or set RBR_HOME to a new one) and run again.",
        )
