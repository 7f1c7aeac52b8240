"""A copy of the store for dry runs, in which every cell exists."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import polars as pl

from resources.store.duckdb_store import CONFIG, Store
from resources.store.tables import TABLES

# Value of each column of a missing cell, by name or by type. A P(yes) of 1 gives every prompt a category.
_PLACEHOLDERS = {"outcome": "answered"}
_PLACEHOLDERS_BY_TYPE = {pl.String: "", pl.Float64: 1.0, pl.Int32: 0, pl.Boolean: True}


class DryRunStore(Store):
    """A copy of a store that fills in missing cells with placeholders, so that no asset asks a model for them.

    The placeholders have empty texts. The number of missing cells is still exact, because the keys of cells do not
    depend on texts.
    """

    @classmethod
    @contextmanager
    def copy_of(cls, store: Store, path: str) -> Iterator["DryRunStore"]:
        """Copies a store.

        Args:
            store: The store to copy; it is not changed.
            path: DuckDB file of the copy.
        """
        store.copy_to(Path(path))
        copy = cls(path=path)
        # While one connection is open, DuckDB opens further connections without delay.
        with copy._connection(path, read_only=False):
            yield copy

    def missing(self, table: str, keys: pl.DataFrame) -> pl.DataFrame:
        """Adds the missing rows to a cell table.

        Args:
            table: Name of the cell table.
            keys: Keys of the cells that an asset needs.

        Returns:
            An empty frame with the columns of `keys`: no row is missing any more.
        """
        missing = super().missing(table, keys)
        if not missing.is_empty():
            rows = self._with_answer_of_any_grader(missing) if table == "grades" else missing
            placeholders = {
                name: pl.lit(_PLACEHOLDERS.get(name, _PLACEHOLDERS_BY_TYPE[dtype]), dtype).alias(name)
                for name, dtype in TABLES[table].dtypes.items()
            }
            filled = rows.select(
                pl.col(name).fill_null(value) if name in rows.columns else value for name, value in placeholders.items()
            )
            self.append(table, filled)
        return missing.clear()

    def count_cells(self) -> int:
        """Counts completions, grades and scores, including those that were filled in."""
        counts = [f"(SELECT count(*) FROM {table})" for table in ("completions", "grades", "scores")]
        return int(self.query(f"SELECT {' + '.join(counts)}").item())

    def _with_answer_of_any_grader(self, missing: pl.DataFrame) -> pl.DataFrame:
        """Adds the column p_yes: the answer of any grader to the same question about the same reply, or null."""
        key = ["completion_id", "question"]
        answers = self.read("grades").unique(key, keep="first", maintain_order=True).select(*key, "p_yes")
        return missing.join(answers, on=key, how="left", maintain_order="left")

    def _open(self, opened: ExitStack, path: str, read_only: bool) -> duckdb.DuckDBPyConnection:
        # Connections of one process must agree on read_only, and no other process uses the copy.
        connection = duckdb.connect(path, config=CONFIG)
        opened.callback(connection.close)
        return connection
