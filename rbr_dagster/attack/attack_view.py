"""Renders the result of `rbr attack` as text or JSON."""

import json

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from rbr_dagster.attack.attacked_grader import AttackedGrader

_NO_VALUE = "-"


def as_json(result: AttackedGrader) -> str:
    """Returns the shifts and the class changes as a JSON object."""
    return json.dumps(
        {
            "n_replies": result.n_replies,
            "n_asked": result.n_asked,
            "thoughts": list(result.thoughts),
            "thresholds": "last run" if result.has_thresholds else "0.5",
            "classes": result.classes.to_dicts(),
            "shifts": result.shifts.to_dicts(),
        },
        indent=2,
    )


def as_text(result: AttackedGrader) -> RenderableType:
    """Returns one row per attack, with the proposition that moves most, and a legend."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("attack", no_wrap=True)
    for heading in ("mean shift", "largest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("proposition that moves most", no_wrap=True)
    for heading in ("no grade", "other class", "better class"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.classes.iter_rows(named=True):
        shifts = result.shifts.filter(attack=row["attack"])
        read = shifts.drop_nulls("max_shift").sort(pl.col("max_shift").abs(), descending=True, maintain_order=True)
        table.add_row(
            row["attack"],
            _number((read["mean_shift"] * read["n"]).sum() / read["n"].sum()) if read.height else _NO_VALUE,
            f"{read['max_shift'][0]:+.3f}" if read.height else _NO_VALUE,
            read["proposition"][0] if read.height else _NO_VALUE,
            str(shifts["n_missing"].sum()),
            _of(row["n_changed"], row["n"]),
            _of(row["n_better"], row["n"]) if row["keeps_reply"] else "(replaced)",
        )
    thresholds = (
        "The classes use the thresholds that the last `rbr run` chose."
        if result.has_thresholds
        else "The classes use the threshold 0.5, because no run has chosen others."
    )
    return Group(
        table,
        "",
        *result.thoughts,
        f"{result.n_replies} gold replies, {result.n_asked:,} questions asked; earlier answers were kept.",
        "Shift: P(yes) under attack minus P(yes) before; its mean is over absolute values.",
        f"{thresholds} A reply counts only if its class is known before and after.",
    )


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _number(value: float) -> str:
    return f"{value:.3f}"
