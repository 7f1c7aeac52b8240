"""What an asset's page in the Dagster UI shows: row count, columns, and the first rows."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from rbr.hashing import content_hash, frame_hash
from resources.store import Store
from resources.store.tables import TABLES

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 80


def save_table(
    store: Store,
    table: str,
    frame: pl.DataFrame,
    *,
    within: Mapping[str, str] | None = None,
    beside: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    check_results: list[dg.AssetCheckResult] | None = None,
) -> dg.MaterializeResult:
    """Stores the table that is an asset's content and makes its result.

    The data version is the hash of the rows as they come back from the store, sorted by their key.

    Args:
        store: Where to.
        table: Name of the table in `resources.store.tables.TABLES`.
        frame: The rows; columns that the table does not have are dropped.
        within: The part of the table that is the asset's, as in `Store.replace`.
        beside: Hash of further content of the asset, for its data version.
        metadata: Further entries of the asset's page.
        check_results: Results of the asset's own checks.
    """
    store.replace(table, frame.select(list(TABLES[table].dtypes)), within)
    part = " AND ".join(f'"{name}" = ?' for name in within or {})
    rows = store.read(table, part, list((within or {}).values()))
    version = frame_hash(rows) if beside is None else content_hash([frame_hash(rows), beside])
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={**table_page(table, rows), **(metadata or {})},
        check_results=check_results,
    )


def table_page(table: str, frame: pl.DataFrame) -> dict[str, Any]:
    """The standard metadata of a table: row count, column schema, preview."""
    return {
        "dagster/row_count": frame.height,
        "dagster/column_schema": column_schema(table),
        "preview": preview(frame.head(PREVIEW_ROWS)),
    }


def column_schema(table: str) -> dg.TableSchema:
    """The columns of a stored table as Dagster shows them."""
    columns = TABLES[table].schema.columns
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(column.dtype.type),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=TABLES[table].key == (name,)),
            )
            for name, column in columns.items()
        ]
    )


def preview(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small frame as a markdown table, long text cut and numbers rounded."""
    header = f"| {' | '.join(frame.columns)} |\n|{' --- |' * frame.width}"
    body = (f"| {' | '.join(_cell(value) for value in row)} |" for row in frame.iter_rows())
    return dg.MetadataValue.md("\n".join([header, *body]))


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
