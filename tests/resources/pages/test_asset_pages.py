"""`save_table` stores the content of an asset, hashes it, and shows it on the asset's page."""

import re
from html import unescape
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from markdown_it import MarkdownIt

from rbr.errors import InputError
from resources.pages.asset_pages import PREVIEW_CHARACTERS, PREVIEW_ROWS, column_schema, preview, save_table
from resources.store import Store
from tests.assets.project import version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=str(tmp_path / "rbr.duckdb"))


def scores(*values: float | None, reward_model: str = "r") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "completion_id": [f"c{index}" for index in range(len(values))],
            "reward_model": reward_model,
            "score": pl.Series(values, dtype=pl.Float64),
        }
    )


def test_the_rows_replace_the_content_of_the_table(store: Store) -> None:
    save_table(store, "scores", scores(1.0, 2.0, 3.0))
    save_table(store, "scores", scores(4.0))
    assert store.read("scores")["score"].to_list() == [4.0]


def test_equal_rows_give_equal_versions_in_any_order_and_other_rows_another(store: Store) -> None:
    rows = scores(1.0, None, 3.0)
    first = version(save_table(store, "scores", rows))
    assert version(save_table(store, "scores", rows.reverse())) == first
    assert version(save_table(store, "scores", scores(1.0, None, 3.5))) != first
    assert version(save_table(store, "scores", scores(1.0, 2.0, 3.0))) != first
    assert version(save_table(store, "scores", scores(1.0, None))) != first
    assert version(save_table(store, "scores", rows)) == first


def test_the_hash_of_further_content_is_part_of_the_version(store: Store) -> None:
    alone = version(save_table(store, "scores", scores(1.0)))
    versions = {version(save_table(store, "scores", scores(1.0), extra_version=extra)) for extra in ("a", "b")}
    assert len(versions | {alone}) == 3


def test_a_column_for_people_is_stored_and_is_no_part_of_the_version(store: Store) -> None:
    save_table(store, "scores", scores(1.0), unversioned=["score"])
    first = version(save_table(store, "scores", scores(1.0), unversioned=["score"]))
    assert version(save_table(store, "scores", scores(2.0), unversioned=["score"])) == first
    assert store.read("scores")["score"].to_list() == [2.0]
    assert version(save_table(store, "scores", scores(2.0, 3.0), unversioned=["score"])) != first


def test_extra_columns_are_dropped_and_missing_columns_are_refused(store: Store) -> None:
    save_table(store, "scores", scores(1.0).with_columns(pl.lit("x").alias("note")))
    assert store.read("scores").columns == ["completion_id", "reward_model", "score"]
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="reward_model"):
        save_table(store, "scores", scores(1.0).drop("reward_model"))


def test_rows_that_do_not_fit_the_table_are_refused_and_the_old_ones_stay(store: Store) -> None:
    save_table(store, "scores", scores(1.0))
    twice = pl.concat([scores(2.0), scores(3.0)])
    with pytest.raises(InputError, match="scores"):
        save_table(store, "scores", twice)
    assert store.read("scores")["score"].to_list() == [1.0]


def test_a_part_of_a_table_has_its_own_version(store: Store) -> None:
    mine = version(save_table(store, "scores", scores(1.0, reward_model="mine"), within={"reward_model": "mine"}))
    other = save_table(store, "scores", scores(2.0, 3.0, reward_model="other"), within={"reward_model": "other"})
    assert store.read("scores").height == 3
    assert other.metadata is not None
    assert other.metadata["dagster/row_count"] == 2
    assert (
        version(save_table(store, "scores", scores(1.0, reward_model="mine"), within={"reward_model": "mine"})) == mine
    )


def test_the_page_shows_row_count_columns_first_rows_and_the_metadata_of_the_asset(store: Store) -> None:
    check = dg.AssetCheckResult(passed=False, check_name="a_check")
    rows = scores(*map(float, range(PREVIEW_ROWS + 3)))
    result = save_table(store, "scores", rows, metadata={"unread": 3}, check_results=[check])
    assert result.metadata is not None
    assert set(result.metadata) == {"dagster/row_count", "dagster/column_schema", "preview", "unread"}
    assert result.metadata["dagster/row_count"] == rows.height
    assert result.metadata["unread"] == 3
    assert result.check_results == [check]
    lines = result.metadata["preview"].value.splitlines()
    assert lines[:3] == ["| completion_id | reward_model | score |", "| --- | --- | --- |", "| c0 | r | 0 |"]
    assert len(lines) == 2 + PREVIEW_ROWS


def test_an_empty_table_has_a_page_too(store: Store) -> None:
    result = save_table(store, "scores", scores())
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 0
    assert result.metadata["preview"].value.splitlines() == [
        "| completion_id | reward_model | score |",
        "| --- | --- | --- |",
    ]


def test_the_column_schema_names_types_meanings_and_constraints() -> None:
    columns = {column.name: column for column in column_schema("labeled_prompts").columns}
    assert list(columns)[:3] == ["prompt_id", "messages", "category"]
    assert columns["prompt_id"].description == "id of the prompt: hash of its messages"
    assert columns["prompt_id"].constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert columns["p_category"].type == "Float64"
    assert columns["p_category"].constraints == dg.TableColumnConstraints(nullable=True, unique=False)


def test_a_column_of_a_key_of_several_columns_is_not_unique() -> None:
    columns = {column.name: column for column in column_schema("grades").columns}
    assert not any(column.constraints.unique for column in columns.values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456789, "0.1235"),
        (3, "3"),
        (None, "None"),
        (True, "True"),
        ("two\n  lines", "two lines"),
        ("a | b", "a \\| b"),
        ("x" * 200, "x" * (PREVIEW_CHARACTERS - 1) + "…"),
        ("https://a.b www.a.b a@b.c", r"https\://a.b www\.a.b a\@b.c"),
        ("snake_case, 1 - 2 (3).", "snake_case, 1 - 2 (3)."),
        ("x" * (PREVIEW_CHARACTERS - 2) + "||||", "x" * (PREVIEW_CHARACTERS - 2) + "\\|…"),
    ],
)
def test_a_value_in_a_preview_is_one_short_line(value: object, shown: str) -> None:
    markdown = preview(pl.DataFrame({"column": [value]})).value
    assert markdown == f"| column |\n| --- |\n| {shown} |"


@pytest.mark.parametrize(
    "text",
    [
        "![see](https://example.org/a.png)",
        "[click](javascript:alert(1)) **bold** _em_ ~~gone~~ `code`",
        "<img src=x onerror=alert(1)> <b>bold</b> &lt;b&gt;",
        "https://example.org www.example.org mail@example.org",
        r"C:\new \* \| [INST]",
        "a_b __c__ _d_ 2 * 3 * 4",
        "<https://example.org>",
    ],
)
def test_markdown_and_html_in_a_reply_are_shown_as_text(text: str) -> None:
    markdown = preview(pl.DataFrame({"reply": [text]})).value
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown)
    (cell,) = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    assert "<" not in cell
    assert unescape(cell) == text
