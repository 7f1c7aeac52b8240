"""Stores the tables of assets, and describes the tables on the asset pages of the Dagster UI."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
import polars as pl

from rbr.hashing import content_hash, frame_hash
from resources.store import Store
from resources.store.tables import TABLES

WARNING = "warning"
"""Metadata key of a text that `rbr run` prints, too."""

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 80

# What markdown or HTML could read as markup inside a table cell. An underscore within a word is plain text, and so is a
# colon or a dot that is not part of an address.
_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)

_READINGS = {
    "unclosed_thought": "replies with a thought that does not end",
    "unopened_thought": "replies with a closing mark that ends no thought",
    "special_tokens": "replies with special tokens inside",
}


def save_table(
    store: Store,
    table: str,
    frame: pl.DataFrame,
    *,
    within: Mapping[str, str] | None = None,
    extra_version: str | None = None,
    unversioned: Collection[str] = (),
    metadata: Mapping[str, Any] | None = None,
    check_results: list[dg.AssetCheckResult] | None = None,
) -> dg.MaterializeResult:
    """Stores the table of an asset, and returns the result of the asset.

    The data version is a hash of the stored rows, sorted by their key, without the columns `unversioned`.

    Args:
        store: The store.
        table: Name of the table in `resources.store.tables.TABLES`.
        frame: The rows. Columns that the table does not have are dropped.
        within: Column values that select the asset's part of the table, as in `Store.replace`; None for all of it.
        extra_version: Hash of other content that the asset has made. It becomes part of the data version.
        unversioned: Columns for people. No later asset reads them, so a change in them makes nothing stale.
        metadata: Further metadata for the asset's page.
        check_results: Results of the asset's checks.

    Returns:
        The data version, and metadata for the asset's page: row count, columns, first rows and `metadata`.

    Raises:
        InputError: The frame does not fit the table.
    """
    store.replace(table, frame.select(list(TABLES[table].dtypes)), within)
    condition = " AND ".join(f'"{name}" = ?' for name in within or {})
    rows = store.read(table, condition, list((within or {}).values()))
    version = frame_hash(rows.drop(unversioned))
    if extra_version is not None:
        version = content_hash([version, extra_version])
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            "dagster/row_count": rows.height,
            "dagster/column_schema": column_schema(table),
            "preview": preview(rows.head(PREVIEW_ROWS)),
            **(metadata or {}),
        },
        check_results=check_results,
    )


def column_schema(table: str) -> dg.TableSchema:
    """Returns the columns of a stored table for the Dagster UI."""
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
    """Formats a small frame as a markdown table. Long text is cut, and numbers are rounded to 4 digits.

    Text is shown as text: nothing in a reply becomes a link, an image or HTML.
    """
    header = f"| {' | '.join(frame.columns)} |\n|{' --- |' * frame.width}"
    body = (f"| {' | '.join(_one_line(value) for value in row)} |" for row in frame.iter_rows())
    return dg.MetadataValue.md("\n".join([header, *body]))


def cut_replies(replies: pl.DataFrame, *, by: str) -> dict[str, Any]:
    """Counts the replies that were cut off at the maximum number of tokens, for the page of an asset.

    Args:
        replies: Column finished, and the column `by`.
        by: Column to count by, such as ``split``.
    """
    cut = (~pl.col("finished")).sum().alias("cut off")
    counts = replies.group_by(by).agg(pl.len().alias("replies"), cut).sort(by)
    return {
        "replies cut off at the token limit": int(counts["cut off"].sum()),
        f"replies cut off at the token limit, by {by.replace('_', ' ')}": preview(counts),
    }


def sampled_replies(replies: pl.DataFrame, *, by: str) -> dict[str, Any]:
    """Counts what is unusual about sampled replies, for the page of an asset: `cut_replies`, thoughts, special tokens.

    Args:
        replies: Columns `resources.cells.READING`, and the column `by`.
        by: Column to count by, such as ``split``.
    """
    unusual = [pl.col(name).cast(pl.Boolean).sum().alias(words) for name, words in _READINGS.items()]
    counts = replies.group_by(by).agg(pl.len().alias("replies"), *unusual).sort(by)
    return {
        **cut_replies(replies, by=by),
        **{words: int(counts[words].sum()) for words in _READINGS.values()},
        f"thoughts and special tokens, by {by.replace('_', ' ')}": preview(counts),
    }


def _one_line(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    text = text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
    return _MARKDOWN.sub(lambda mark: f"\\{mark.group()}", text)
