"""A measured figure, the bar it has to meet, and how both are written down."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any, Literal

from rbr.grading.agreement import wilson

Limit = Literal["at least", "at most"]


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        group: What it belongs to, such as "policy".
        name: What was measured.
        value: The figure; a share in [0, 1] or a count unless its name says otherwise.
        low: Lower end of the 95 % interval, NaN where there is none.
        high: Upper end.
        n: Cases it rests on.
        bar: What it has to meet; None where it is only reported.
        must_be: Whether the bar is a least or a most.
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
        """Whether the bar is met; true without one."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.must_be == "at least" else self.value <= self.bar

    @property
    def text(self) -> str:
        """The figure with its interval."""
        if not isnan(self.low):
            return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"
        return f"{self.value:.0f}" if self.value > 1 else f"{self.value:.3f}"

    @property
    def verdict(self) -> str:
        """What the bar says of it."""
        if self.bar is None:
            return ""
        return f"{self.must_be} {self.bar:g}: {'holds' if self.holds else 'FAILS'}"

    def row(self) -> dict[str, Any]:
        """As JSON holds it: four decimals, null for NaN."""
        return {
            key: (None if isnan(value) else round(value, 4)) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def share(
    group: str,
    name: str,
    hits: Sequence[bool],
    bar: float | None = None,
    must_be: Limit = "at least",
) -> Figure:
    """The share of cases that are hits, with Wilson's interval."""
    value = sum(hits) / len(hits)
    return Figure(group, name, value, *wilson(value, len(hits)), len(hits), bar, must_be)


def worst(figures: Sequence[Figure]) -> Figure:
    """The figure that lies lowest."""
    return min(figures, key=lambda figure: figure.value)


def markdown(columns: Mapping[str, Mapping[str, str]], first: str) -> str:
    """A Markdown table of columns, whose rows are the keys of all columns in order of first appearance."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    header = " | ".join([first, *columns])
    lines = [f"| {header} |", "| " + " | ".join("---" for _ in header.split("|")) + " |"]
    lines += [
        "| " + " | ".join([name, *(column.get(name, "") for column in columns.values())]) + " |" for name in names
    ]
    return "\n".join(lines)
