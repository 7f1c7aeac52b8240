"""The classes of labeled replies, for people and for programs."""

import json

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rbr.rulebook import Behavior

_UNDECIDED = "undecided"


def as_json(rows: pl.DataFrame, behavior: Behavior) -> str:
    """The rows, and how many of each response type fall into each class, as a JSON object.

    Args:
        rows: As `rbr.classes.classification.gold_classes` gives them.
        behavior: Names the response types and classes.
    """
    return json.dumps(
        {
            "rows": rows.rename({"class_name": "class"}).to_dicts(),
            "counts": _counts(rows, behavior),
        },
        indent=2,
    )


def as_table(rows: pl.DataFrame, behavior: Behavior) -> Table:
    """The counts as a table: a row per response type, a column per class, best to worst. Arguments as above."""
    counts = _counts(rows, behavior)
    columns = [*behavior.classes, *([_UNDECIDED] if any(_UNDECIDED in of_type for of_type in counts.values()) else [])]
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("", no_wrap=True)
    for name in [*columns, "rows"]:
        table.add_column(name.replace("_", "\n"), justify="right", vertical="bottom")
    for kind, of_type in counts.items():
        shown = [str(of_type[name]) if name in of_type else "-" for name in columns]
        table.add_row(kind, *shown, str(sum(of_type.values())))
    return table


def _counts(rows: pl.DataFrame, behavior: Behavior) -> dict[str, dict[str, int]]:
    """By response type: rows by class, and those that no class is certain of, if there are any."""
    counts = {kind: dict.fromkeys(behavior.class_names(kind), 0) for kind in behavior.response_types}
    for kind, name in rows.select("response_type", "class_name").iter_rows():
        counts[kind][name or _UNDECIDED] = counts[kind].get(name or _UNDECIDED, 0) + 1
    return counts
