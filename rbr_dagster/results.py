"""The evaluation of the current checkpoints, for people and for programs."""

import json

import polars as pl
from rich.table import Table

from rbr.metrics import METRIC_NAMES
from resources.store import Store

_HEADLINE = {"not_unsafe": "Not-Unsafe", "not_overrefuse": "Not-Overrefuse", "f1": "F1"}
_PLAIN = {"hard_refusal_style": "hard style", "soft_refusal_style": "soft style", "illogical": "illogical"}


def current_metrics(store: Store) -> pl.DataFrame:
    """One row per split, judge and variant, the test split first.

    Returns:
        Columns variant, judge, split, n_prompts, and `name`, `name_low`, `name_high` of each metric.
    """
    columns = [name + end for name in METRIC_NAMES for end in ("", "_low", "_high")]
    rows = store.read("evaluation_metrics").sort(pl.col("split") != "test", "split", "judge", "variant")
    return rows.select("variant", "judge", "split", "n_prompts", *columns, "checkpoint", "rulebook")


def as_json(metrics: pl.DataFrame) -> str:
    """The rows as a JSON list of objects."""
    return json.dumps(metrics.to_dicts(), indent=2)


def as_table(metrics: pl.DataFrame) -> Table:
    """The rows as a table: headline metrics with their 95 % intervals, in percent."""
    table = Table(title="Evaluation, percent (95 % interval over prompts)", title_justify="left")
    for heading in ("split", "judge", "variant"):
        table.add_column(heading)
    for heading in ("prompts", *_HEADLINE.values(), *_PLAIN.values()):
        table.add_column(heading, justify="right")
    for (_, _), rows in metrics.group_by("split", "judge", maintain_order=True):
        for row in rows.iter_rows(named=True):
            table.add_row(
                *(row["split"], row["judge"], row["variant"], str(row["n_prompts"])),
                *(_with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in _HEADLINE),
                *(_percent(row[name]) for name in _PLAIN),
            )
        table.add_section()
    return table


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return _percent(value) if low is None or high is None else f"{_percent(value)} ({_percent(low)}-{_percent(high)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
