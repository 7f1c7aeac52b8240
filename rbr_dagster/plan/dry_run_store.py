"""A store in which every cell that is asked for seems to be there already."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import polars as pl

from resources.store.duckdb_store import CONFIG, Store
from resources.store.tables import TABLES

# What a cell's columns hold while nobody knows better; with a grade of 1 a prompt has a category.
_UNKNOWN = {pl.String: "", pl.Float64: 1.0, pl.Int32: 0, pl.Boolean: True}


class DryRunStore(Store):
    """Fills in the cells that are missing and counts them, so that no stage finds anything to ask a model.

    What the stages name depends on names alone, so the count is exact although the texts are empty.
    """

    @classmethod
    @contextmanager
    def copy_of(cls, store: Store) -> Iterator["DryRunStore"]:
        """A copy of a store to imagine things in; it goes away afterwards."""
        with tempfile.TemporaryDirectory(prefix="rbr-plan-") as directory:
            path = Path(directory) / "rbr.duckdb"
            store.copy_to(path)
            copy = cls(path=str(path))
            # While one connection is open, every other opens in no time.
            with copy._connection(str(path), read_only=False):
                yield copy

    def missing(self, table: str, keys: pl.DataFrame) -> pl.DataFrame:
        """Imagines the rows that the table lacks.

        Returns:
            None of `keys`: nothing is left to make.
        """
        absent = super().missing(table, keys)
        if not absent.is_empty():
            guessed = self._as_another_grader(absent) if table == "grades" else absent
            unknown = {name: pl.lit(_UNKNOWN[dtype], dtype).alias(name) for name, dtype in TABLES[table].dtypes.items()}
            self.append(
                table,
                guessed.select(
                    pl.col(name).fill_null(value) if name in guessed.columns else value
                    for name, value in unknown.items()
                ),
            )
        return absent.clear()

    def cells(self) -> int:
        """Completions, grades and scores, the imagined ones among them."""
        counts = [f"(SELECT count(*) FROM {table})" for table in ("completions", "grades", "scores")]
        return int(self.query(f"SELECT {' + '.join(counts)}").item())

    def _as_another_grader(self, absent: pl.DataFrame) -> pl.DataFrame:
        """Adds the column p_yes: what any grader answered to the same question about the same reply."""
        same = ["completion_id", "question"]
        answers = self.read("grades").unique(same, keep="first", maintain_order=True).select(*same, "p_yes")
        return absent.join(answers, on=same, how="left", maintain_order="left")

    def _open(self, opened: ExitStack, path: str, read_only: bool) -> duckdb.DuckDBPyConnection:
        # Nobody else knows the copy; all of its connections have to agree.
        connection = duckdb.connect(path, config=CONFIG)
        opened.callback(connection.close)
        return connection
