"""Checks that a frame fits the table that it is written to."""

import pandera.errors
import polars as pl

from rbr.errors import InputError
from resources.store.tables import Table


def normalize_frame(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Gives a frame the column order and the integer types of a table, and replaces NaN by null.

    Columns of the type Null get the type of the table's column.

    Raises:
        InputError: The columns of the frame are not those of the table.
    """
    if set(frame.columns) != set(table.dtypes):
        absent = ", ".join(sorted(set(table.dtypes) - set(frame.columns))) or "none"
        unknown = ", ".join(sorted(set(frame.columns) - set(table.dtypes))) or "none"
        raise InputError(
            f"the columns do not fit the table (missing: {absent}; unknown: {unknown})",
            where=f"table {table.name}",
            hint="docs/tables.md lists the columns.",
        )
    casts = [
        pl.col(name).cast(dtype)
        for name, dtype in table.dtypes.items()
        if frame.schema[name] == pl.Null or (frame.schema[name].is_integer() and dtype.is_integer())
    ]
    return frame.with_columns(casts).select(list(table.dtypes)).fill_nan(None)


def check_frame(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Checks types, ranges, nulls and the unique key of a frame, and returns the frame.

    Raises:
        InputError: The frame does not fit the table; the message lists all problems.
    """
    try:
        table.schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        # `error.message` maps a reason code to a mapping from schema name to failures.
        problems = [
            failure["error"]
            for schemas in error.message.values()
            for failures in schemas.values()
            for failure in failures
        ]
        raise InputError(
            "; ".join(problems), where=f"table {table.name}", hint="docs/tables.md lists the columns."
        ) from error
    return frame
