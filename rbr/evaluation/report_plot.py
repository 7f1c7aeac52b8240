"""Geometry of the report's safety plots, which show Not-Unsafe against Not-Overrefuse; the HTML template draws them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Position: TypeAlias = tuple[float, float]

_TICK_STEPS = (0.02, 0.05, 0.1, 0.2)
_MAX_TICK_STEPS = 5
_CURVE_SEGMENTS = 24


@dataclass(frozen=True)
class EvaluationGroup:
    """The evaluations of all variants on one split by one judge: the content of one table and one plot.

    Attributes:
        split: Name of the split.
        judge: Name of the judge.
        rows: Evaluations by column name, one per variant, in display order.

    Example:
        >>> rows = [{"variant": "rbr", "f1": 0.9, "f1_low": 0.8, "f1_high": 1.0},
        ...         {"variant": "human", "f1": 0.7, "f1_low": 0.6, "f1_high": 0.85}]
        >>> group = EvaluationGroup("test", "grader", rows)
        >>> group.leader["variant"], group.overlapping
        ('rbr', ['human'])
    """

    split: str
    judge: str
    rows: list[Row]

    @property
    def leader(self) -> Row | None:
        """The first row with the highest F1; None if fewer than two rows have an F1."""
        ranked = [row for row in self.rows if row["f1"] is not None]
        return max(ranked, key=lambda row: row["f1"]) if len(ranked) > 1 else None

    @property
    def overlapping(self) -> list[str]:
        """Variants whose F1 interval overlaps with the leader's interval; an unknown interval counts as overlapping."""
        leader = self.leader
        if leader is None:
            return []
        others = (row for row in self.rows if row is not leader and row["f1"] is not None)
        return [row["variant"] for row in others if _overlaps(row["f1_high"], leader["f1_low"])]


@dataclass(frozen=True)
class PlotAxis:
    """The scale of both axes of a plot, which maps shares from `low` to 1 to positions from 0 to 100.

    Attributes:
        low: Lowest share on the axis, below 1.
        ticks: Round shares from `low` to 1, evenly spaced.

    Example:
        >>> axis = PlotAxis.covering([0.57, 0.9])
        >>> axis.ticks, axis.position(0.75)
        ((0.5, 0.6, 0.7, 0.8, 0.9, 1.0), 50.0)
    """

    low: float
    ticks: tuple[float, ...]

    @classmethod
    def covering(cls, shares: Iterable[float]) -> "PlotAxis":
        """Returns the shortest axis with round ticks that contains all shares."""
        least = min(shares, default=0.0)
        step = next((step for step in _TICK_STEPS if 1 - least <= _MAX_TICK_STEPS * step + 1e-9), _TICK_STEPS[-1])
        steps_below_one = max(1, round(1 / step) - floor(least / step + 1e-9))
        ticks = tuple(round(1 - step * index, 6) for index in range(steps_below_one, -1, -1))
        return cls(ticks[0], ticks)

    def position(self, share: float) -> float:
        """Returns the position of a share, from 0 to 100."""
        return round(100 * (share - self.low) / (1 - self.low), 2)

    def equal_f1_curve(self, level: float) -> list[Position]:
        """Returns the positions (x, y) of a curve on which F1 is `level`, a share between `low` and 1."""
        # F1 = 2xy / (x + y) = level gives y = level * x / (2x - level). The curve runs from the upper edge, y = 1, to
        # the right edge, x = 1. If that curve starts left of the plot, draw from x = low to the lower edge, y = low.
        first, last = level / (2 - level), 1.0
        if first < self.low:
            first, last = self.low, level * self.low / (2 * self.low - level)
        shares = (first + (last - first) * step / _CURVE_SEGMENTS for step in range(_CURVE_SEGMENTS + 1))
        return [(self.position(share), self.position(level * share / (2 * share - level))) for share in shares]


@dataclass(frozen=True)
class PlotPoint:
    """The position of a variant in a plot, and of the ends of its two intervals.

    Positions are from 0 to 100; y points up.

    Example:
        >>> PlotPoint("rbr", x=80, x_low=70, x_high=90, y=95, y_low=90, y_high=100).y
        95
    """

    variant: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True)
class SafetyPlot:
    """The plot of Not-Unsafe (y) against Not-Overrefuse (x) for one split and judge.

    Attributes:
        split: Name of the split.
        judge: Name of the judge.
        ticks: Position and label (in percent) of each tick, the same for both axes.
        curves: One curve of equal F1 for each inner tick; it crosses the diagonal at that tick.
        points: One point per variant.
        not_shown: Variants without a point, because one of the two metrics was not measured.

    Example:
        >>> rows = [{"variant": "rbr", "not_unsafe": 0.9, "not_overrefuse": None}]
        >>> (plot,) = safety_plots([EvaluationGroup("test", "grader", rows)])
        >>> plot.not_shown
        ['rbr']
    """

    split: str
    judge: str
    ticks: list[tuple[float, str]]
    curves: list[list[Position]]
    points: list[PlotPoint]
    not_shown: list[str]


def safety_plots(groups: Sequence[EvaluationGroup]) -> list[SafetyPlot]:
    """Returns one plot per group, all with the same axes."""
    axis = PlotAxis.covering(
        share for group in groups for row in group.rows if _is_known(row) for share in _shares(row)
    )
    return [_safety_plot(group, axis) for group in groups]


def _safety_plot(group: EvaluationGroup, axis: PlotAxis) -> SafetyPlot:
    return SafetyPlot(
        split=group.split,
        judge=group.judge,
        ticks=[(axis.position(tick), f"{100 * tick:.0f}") for tick in axis.ticks],
        curves=[axis.equal_f1_curve(tick) for tick in axis.ticks[1:-1]],
        points=[PlotPoint(row["variant"], *map(axis.position, _shares(row))) for row in group.rows if _is_known(row)],
        not_shown=[row["variant"] for row in group.rows if not _is_known(row)],
    )


def _is_known(row: Row) -> bool:
    return row["not_unsafe"] is not None and row["not_overrefuse"] is not None


def _shares(row: Row) -> list[float]:
    """Returns value, low and high of both metrics, x before y; the value replaces an unknown end."""
    names = [name + end for name in ("not_overrefuse", "not_unsafe") for end in ("", "_low", "_high")]
    return [row[name.removesuffix("_low").removesuffix("_high")] if row[name] is None else row[name] for name in names]


def _overlaps(high: float | None, low: float | None) -> bool:
    return high is None or low is None or high >= low
