"""Renders the classes of labeled replies as a table or JSON."""

import json

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rbr.rulebook import Behavior

_UNDECIDED = "undecided"


def as_json(rows: pl.DataFrame, behavior: Behavior) -> str:
    """Returns the rows, and the number of rows per response type and class, as a JSON object.

    Args:
        rows: Result of `rbr.classes.classification.gold_classes`.
        behavior: Defines the response types and classes.
    """
    return json.dumps(
        {
            "rows": rows.rename({"class_name": "class"}).to_dicts(),
            "counts": _counts(rows, behavior),
        },
        indent=2,
    )


def as_table(rows: pl.DataFrame, behavior: Behavior) -> Table:
    """Returns the number of rows per response type and class as a table, with the best class in the first column.

    Args:
        rows: Result of `rbr.classes.classification.gold_classes`.
        behavior: Defines the response types and classes.
    """
    counts = _counts(rows, behavior)
    undecided = any(_UNDECIDED in by_class for by_class in counts.values())
    columns = [*behavior.classes, *([_UNDECIDED] if undecided else [])]
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("", no_wrap=True)
    for name in [*columns, "rows"]:
        table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom")
    for response_type, by_class in counts.items():
        cells = [str(by_class[name]) if name in by_class else "-" for name in columns]
        table.add_row(response_type, *cells, str(sum(by_class.values())))
    return table


def _counts(rows: pl.DataFrame, behavior: Behavior) -> dict[str, dict[str, int]]:
    """Counts the rows per response type and class. A row whose class is null counts as undecided."""
    counts = {name: dict.fromkeys(behavior.class_names(name), 0) for name in behavior.response_types}
    for response_type, class_name in rows.select("response_type", "class_name").iter_rows():
        by_class = counts[response_type]
        by_class[class_name or _UNDECIDED] = by_class.get(class_name or _UNDECIDED, 0) + 1
    return counts
