"""Renders the evaluation of the current checkpoints as text or JSON."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES
from resources.store import Store

_SPLITS = {"test": "Test prompts", "unseen_topics": "Prompts of unseen topics"}
_WITH_INTERVAL = {"not_unsafe": "Not-Unsafe", "not_overrefuse": "Not-Overrefuse", "f1": "F1"}
_WITHOUT_INTERVAL = {"hard_refusal_style": "hard\nstyle", "soft_refusal_style": "soft\nstyle", "illogical": "illogical"}


def current_metrics(store: Store) -> pl.DataFrame:
    """Reads the metrics of the latest evaluation. A policy that was trained again since then has stale metrics.

    Returns:
        One row per split, judge and variant, with the split `test` first. Columns: variant, judge, split; the counts
        `COUNT_NAMES`; for each metric `m` the columns `m`, `m_low`, `m_high`, `m_least` and `m_most`, in [0, 1] or
        null; checkpoint, rulebook, and stale (True if the current checkpoint of the variant is another one).
    """
    columns = [name + end for name in METRIC_NAMES for end in ENDS]
    rows = store.read("evaluation_metrics").sort(pl.col("split") != "test", "split", "judge", "variant")
    current = store.read("current_checkpoints").select("variant", current="checkpoint")
    marked = rows.join(current, on="variant", how="left", maintain_order="left").with_columns(
        stale=pl.col("checkpoint").ne_missing(pl.col("current"))
    )
    return marked.select("variant", "judge", "split", *COUNT_NAMES, *columns, "checkpoint", "rulebook", "stale")


def as_json(metrics: pl.DataFrame) -> str:
    """Returns the rows as a JSON list of objects."""
    return json.dumps(metrics.to_dicts(), indent=2)


def as_tables(metrics: pl.DataFrame) -> Group:
    """Returns one table per split and judge, in percent. The tables fit into 80 columns.

    Replies without a class follow below their table: how many there are, and the range that they leave open.
    """
    if metrics.is_empty():
        return Group("No policy has been evaluated yet.")
    parts: list[Table | str] = []
    for (split, judge), rows in metrics.group_by("split", "judge", maintain_order=True):
        compared, prompts = rows["n_compared"].min(), rows["n_prompts"].max()
        count = f"{prompts}" if compared == prompts else f"{compared} of {prompts}"
        parts.append(_table(rows.sort("variant"), f"{_SPLITS.get(split, split)} ({count}), judged by the {judge}"))
        parts += [_without_class(row) for row in rows.sort("variant").iter_rows(named=True) if row["n_without_class"]]
    if metrics["stale"].any():
        parts.append("* of an earlier checkpoint; `rbr run` evaluates the current one.")
    return Group(*parts, "Percent, with 95 % intervals over prompts.")


def _without_class(row: Mapping[str, Any]) -> str:
    """Returns the replies without a class in words, with the range of each metric that they leave open."""
    refused = f" ({row['n_refused']} refused by a content filter)" if row["n_refused"] else ""
    ranges = ", ".join(
        f"{' '.join(heading.split())} between {_percent(row[f'{name}_least'])} and {_percent(row[f'{name}_most'])}"
        for name, heading in (_WITH_INTERVAL | _WITHOUT_INTERVAL).items()
        if row[f"{name}_least"] != row[f"{name}_most"]
    )
    return f"{row['variant']}: {row['n_without_class']} of {row['n_completions']} replies have no class{refused}" + (
        f": {ranges}" if ranges else ""
    )


def _table(rows: pl.DataFrame, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("")
    for heading in (*_WITH_INTERVAL.values(), *_WITHOUT_INTERVAL.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.iter_rows(named=True):
        table.add_row(
            f"{row['variant']} *" if row["stale"] else row["variant"],
            *(_with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in _WITH_INTERVAL),
            *(_percent(row[name]) for name in _WITHOUT_INTERVAL),
        )
    return table


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return _percent(value) if low is None or high is None else f"{_percent(value)} ({_percent(low)}-{_percent(high)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}".replace("100.0", "100")
