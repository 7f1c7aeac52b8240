"""Renders the evaluation of the current checkpoints as text or JSON."""

import json

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from rbr.evaluation.metrics import METRIC_NAMES
from resources.store import Store

_SPLITS = {"test": "Test prompts", "unseen_topics": "Prompts of unseen topics"}
_WITH_INTERVAL = {"not_unsafe": "Not-Unsafe", "not_overrefuse": "Not-Overrefuse", "f1": "F1"}
_WITHOUT_INTERVAL = {"hard_refusal_style": "hard\nstyle", "soft_refusal_style": "soft\nstyle", "illogical": "illogical"}


def current_metrics(store: Store) -> pl.DataFrame:
    """Reads the evaluation metrics of the current checkpoints.

    Returns:
        One row per split, judge and variant, with the split `test` first. Columns: variant, judge, split, n_prompts;
        for each metric `m` the columns `m`, `m_low` and `m_high`, in [0, 1] or null; checkpoint and rulebook.
    """
    columns = [name + end for name in METRIC_NAMES for end in ("", "_low", "_high")]
    rows = store.read("evaluation_metrics").sort(pl.col("split") != "test", "split", "judge", "variant")
    return rows.select("variant", "judge", "split", "n_prompts", *columns, "checkpoint", "rulebook")


def as_json(metrics: pl.DataFrame) -> str:
    """Returns the rows as a JSON list of objects."""
    return json.dumps(metrics.to_dicts(), indent=2)


def as_tables(metrics: pl.DataFrame) -> Group:
    """Returns one table per split and judge, in percent. The tables fit into 80 columns."""
    tables = [
        _table(rows.sort("variant"), f"{_SPLITS.get(split, split)} ({rows['n_prompts'][0]}), judged by the {judge}")
        for (split, judge), rows in metrics.group_by("split", "judge", maintain_order=True)
    ]
    return Group(*tables, "Percent, with 95 % intervals over prompts.")


def _table(rows: pl.DataFrame, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("")
    for heading in (*_WITH_INTERVAL.values(), *_WITHOUT_INTERVAL.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        table.add_row(
            row["variant"],
            *(_with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in _WITH_INTERVAL),
            *(_percent(row[name]) for name in _WITHOUT_INTERVAL),
        )
    return table


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return _percent(value) if low is None or high is None else f"{_percent(value)} ({_percent(low)}-{_percent(high)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}".replace("100.0", "100")
