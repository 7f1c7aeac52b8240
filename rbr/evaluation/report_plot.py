"""Safety against over-refusal as a picture: the geometry that the report's template draws."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[float, float]

_TICK_STEPS = (0.02, 0.05, 0.1, 0.2)
_MOST_TICKS = 5
_CURVE_STEPS = 24


@dataclass(frozen=True)
class Group:
    """All variants on one split as seen by one judge: the content of one table and one picture.

    Attributes:
        rows: Evaluations by column name, one per variant, in the order to show.
    """

    split: str
    judge: str
    rows: list[Row]

    @property
    def leader(self) -> Row | None:
        """The row with the highest F1, the earlier one of a tie; None where fewer than two have an F1."""
        ranked = [row for row in self.rows if row["f1"] is not None]
        return max(ranked, key=lambda row: row["f1"]) if len(ranked) > 1 else None

    @property
    def rivals(self) -> list[str]:
        """Other variants whose F1 interval reaches into the leader's, or is not known."""
        leader = self.leader
        if leader is None:
            return []
        others = (row for row in self.rows if row is not leader and row["f1"] is not None)
        return [row["variant"] for row in others if _reaches(row["f1_high"], leader["f1_low"])]


@dataclass(frozen=True)
class Axis:
    """Both axes of a picture: shares from `low` to 1 as places from 0 to 100.

    Attributes:
        low: The lowest share shown.
        ticks: Round shares from `low` to 1, evenly spaced.
    """

    low: float
    ticks: tuple[float, ...]

    @classmethod
    def holding(cls, shares: Iterable[float]) -> "Axis":
        """The shortest axis with round ticks that holds all shares."""
        least = min(shares, default=0.0)
        step = next((step for step in _TICK_STEPS if 1 - least <= _MOST_TICKS * step + 1e-9), _TICK_STEPS[-1])
        below_one = max(1, round(1 / step) - floor(least / step + 1e-9))
        ticks = tuple(round(1 - step * index, 6) for index in range(below_one, -1, -1))
        return cls(ticks[0], ticks)

    def at(self, share: float) -> float:
        """Where a share lies, from 0 to 100."""
        return round(100 * (share - self.low) / (1 - self.low), 2)

    def equal_f1(self, level: float) -> list[Place]:
        """Places of equal F1, for a level between `low` and 1."""
        first, last = level / (2 - level), 1.0
        if first < self.low:
            first, last = self.low, level * self.low / (2 * self.low - level)
        shares = (first + (last - first) * step / _CURVE_STEPS for step in range(_CURVE_STEPS + 1))
        return [(self.at(share), self.at(level * share / (2 * share - level))) for share in shares]


@dataclass(frozen=True)
class Point:
    """A variant in a picture: places of its values and of the ends of their intervals, y upwards."""

    variant: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True)
class Picture:
    """Not-Unsafe (y) against Not-Overrefuse (x) for one group.

    Attributes:
        ticks: Place and label in percent, the same for both axes.
        curves: Lines of equal F1 through the places where two ticks of equal label cross.
        absent: Variants for which one of the two metrics is not known.
    """

    split: str
    judge: str
    ticks: list[tuple[float, str]]
    curves: list[list[Place]]
    points: list[Point]
    absent: list[str]


def draw(groups: Sequence[Group]) -> list[Picture]:
    """One picture per group, all to the same scale."""
    axis = Axis.holding(share for group in groups for row in group.rows if _is_known(row) for share in _shares(row))
    return [_picture(group, axis) for group in groups]


def _picture(group: Group, axis: Axis) -> Picture:
    return Picture(
        split=group.split,
        judge=group.judge,
        ticks=[(axis.at(tick), f"{100 * tick:.0f}") for tick in axis.ticks],
        curves=[axis.equal_f1(tick) for tick in axis.ticks[1:-1]],
        points=[Point(row["variant"], *map(axis.at, _shares(row))) for row in group.rows if _is_known(row)],
        absent=[row["variant"] for row in group.rows if not _is_known(row)],
    )


def _is_known(row: Row) -> bool:
    return row["not_unsafe"] is not None and row["not_overrefuse"] is not None


def _shares(row: Row) -> list[float]:
    """Value and interval of the two metrics, x before y; the value itself where an end is not known."""
    names = [name + end for name in ("not_overrefuse", "not_unsafe") for end in ("", "_low", "_high")]
    return [row[name.removesuffix("_low").removesuffix("_high")] if row[name] is None else row[name] for name in names]


def _reaches(high: float | None, low: float | None) -> bool:
    return high is None or low is None or high >= low
