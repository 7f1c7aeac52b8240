"""The list of tables, and docs/tables.md."""

from pathlib import Path

import polars as pl
import pytest

from resources.store.tables import TABLES, Table, as_markdown

PAGE = Path(__file__).parents[3] / "docs" / "tables.md"


def test_the_page_of_tables_is_up_to_date() -> None:
    assert PAGE.read_text() == as_markdown(), "run `python -m resources.store.tables > docs/tables.md`"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_key_of_every_table_has_columns_without_nulls(table: Table) -> None:
    columns = table.schema.columns
    assert table.key
    assert all(name in columns and not columns[name].nullable for name in table.key)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_has_a_description(table: Table) -> None:
    assert all(column.description for column in table.schema.columns.values())


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_frame_without_rows_fits_its_own_schema(table: Table) -> None:
    assert table.schema.validate(pl.DataFrame(schema=table.dtypes)).columns == list(table.dtypes)
