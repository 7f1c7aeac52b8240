"""Figures that are measured, with the bars that they have to meet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any, Literal

from rbr.agreement.intervals import wilson_interval

Limit = Literal["at least", "at most"]


@dataclass(frozen=True)
class Figure:
    """A measured figure and its bar.

    Attributes:
        group: Heading of the figure, such as "policy, test prompts".
        name: Name of the figure, unique in its group.
        value: Measured value: a share in [0, 1] or a count, unless the name says otherwise.
        low: Lower end of the 95 % interval; NaN without an interval.
        high: Upper end of the 95 % interval; NaN without an interval.
        n: Number of measured cases.
        bar: Limit that the value has to meet; None if the figure is only reported.
        must_be: Whether the bar is a lower ("at least") or an upper limit ("at most").
    """

    group: str
    name: str
    value: float
    low: float
    high: float
    n: int
    bar: float | None = None
    must_be: Limit = "at least"

    @property
    def holds(self) -> bool:
        """Whether the value meets the bar; true if there is no bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.must_be == "at least" else self.value <= self.bar

    @property
    def text(self) -> str:
        """The value with its interval, as text."""
        if not isnan(self.low):
            return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"
        return f"{self.value:.0f}" if self.value > 1 else f"{self.value:.3f}"

    @property
    def verdict(self) -> str:
        """The bar and whether the value meets the bar, as text; empty if there is no bar."""
        if self.bar is None:
            return ""
        return f"{self.must_be} {self.bar:g}: {'holds' if self.holds else 'FAILS'}"

    def as_json(self) -> dict[str, Any]:
        """Returns the figure as a JSON object. Values are rounded to four decimals, and NaN becomes null."""
        return {
            key: (None if isnan(value) else round(value, 4)) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def share_figure(
    group: str,
    name: str,
    hits: Sequence[bool],
    bar: float | None = None,
    must_be: Limit = "at least",
) -> Figure:
    """Returns the share of cases that are hits, with its Wilson interval."""
    value = sum(hits) / len(hits)
    return Figure(group, name, value, *wilson_interval(value, len(hits)), len(hits), bar, must_be)


def lowest(figures: Sequence[Figure]) -> Figure:
    """Returns the figure with the lowest value."""
    return min(figures, key=lambda figure: figure.value)


def table_of_columns(columns: Mapping[str, Mapping[str, str]], first_header: str) -> str:
    """Returns a Markdown table with a row for each key of the columns, in order of first appearance.

    Args:
        columns: Header of a column -> row name -> cell.
        first_header: Header of the column with the row names.
    """
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    header = " | ".join([first_header, *columns])
    lines = [f"| {header} |", "| " + " | ".join("---" for _ in header.split("|")) + " |"]
    lines += [
        "| " + " | ".join([name, *(column.get(name, "") for column in columns.values())]) + " |" for name in names
    ]
    return "\n".join(lines)
