"""How well the grader agrees with people, proposition by proposition (paper sections 5 and 6).

Balanced accuracy, because most propositions are rarely true and the majority answer alone scores above
80 % accuracy on the paper's gold set. The threshold is tuned on the rows it is judged on, so the figure is a
little optimistic for a proposition with few labels; its interval shows how few.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import NEUTRAL_THRESHOLD

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SCHEMA = pl.Schema(
    {
        "proposition": pl.String,
        "n": pl.Int64,
        "n_missing": pl.Int64,
        "n_yes": pl.Int64,
        "prevalence": pl.Float64,
        "balanced_accuracy": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "f1": pl.Float64,
        "threshold": pl.Float64,
        "bar": pl.Float64,
        "accepted": pl.Boolean,
        "reason": pl.String,
    }
)

# Grades that agree to this many decimals count as equal, which keeps every threshold away from 0 and 1.
_DECIMALS = 9
_WILSON_Z = 1.959963984540054


@dataclass(frozen=True)
class Cut:
    """A decision threshold: an answer is yes at or above it.

    Attributes:
        threshold: In (0, 1).
        balanced_accuracy: Mean of the shares of yes and of no labels that are met, in [0, 1].
    """

    threshold: float
    balanced_accuracy: float


def agreement(
    propositions: Sequence[str],
    p_yes: FloatArray,
    gold: BoolArray,
    applies: BoolArray,
    bar_of: Callable[[str], float],
) -> pl.DataFrame:
    """Compares grades with gold labels.

    Args:
        propositions: [K].
        p_yes: Grades, float64[N, K]; a missing grade (NaN) is counted and left out.
        gold: Labels, bool[N, K].
        applies: bool[N, K]; False where the reply's response type does not ask for the proposition.
        bar_of: Least balanced accuracy for acceptance by proposition, such as `Agreement.bar_of`.

    Returns:
        One row per proposition in the order given, columns `SCHEMA`. `low` and `high` are the 95 % interval
        of the balanced accuracy. `threshold` is that of `best_cut` where it does significantly better than 0.5,
        else 0.5. Where the labels are all yes or all no nothing can be measured:
        the measures are null, the threshold is 0.5 and the proposition is not accepted. `reason` says why
        a proposition is not accepted, null where it is.
    """
    if not p_yes.shape == gold.shape == applies.shape == (p_yes.shape[0], len(propositions)):
        raise ValueError("p_yes, gold and applies must have the shape [N, propositions]")
    rows = [
        _compare(name, p_yes[mask, column], gold[mask, column], bar_of(name))
        for column, (name, mask) in enumerate(zip(propositions, applies.T, strict=True))
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def best_cut(p_yes: FloatArray, gold: BoolArray) -> Cut:
    """The threshold of the highest balanced accuracy that lies between two different grades.

    Every threshold in the gap between two neighboring grades decides alike. Of the best gaps the widest is
    taken, then the one nearest to 0.5; within it the shortest decimal of its middle half, so that
    a changed label seldom moves the threshold.

    Args:
        p_yes: float64[N], in [0, 1], without NaN.
        gold: bool[N], holding both values.

    Returns:
        The cut; at 0.5 where all grades are equal.
    """
    p_yes = np.round(p_yes, _DECIMALS)
    values = np.unique(p_yes)
    if values.size < 2:
        return Cut(NEUTRAL_THRESHOLD, 0.5)
    low, high = values[:-1], values[1:]
    yes, no = np.sort(p_yes[gold]), np.sort(p_yes[~gold])
    met_yes = yes.size - np.searchsorted(yes, high)
    met_no = np.searchsorted(no, high)
    # Compared as integers: two gaps of equal accuracy must not differ by a rounding error.
    merit = met_yes * no.size + met_no * yes.size
    width = np.round(high - low, _DECIMALS)
    distance = np.round(np.abs((low + high) / 2 - 0.5), _DECIMALS)
    best = min(range(low.size), key=lambda gap: (-merit[gap], -width[gap], distance[gap], low[gap]))
    accuracy = float(merit[best]) / (2 * yes.size * no.size)
    return Cut(_shortest_inside(float(low[best]), float(high[best])), accuracy)


def _shortest_inside(low: float, high: float) -> float:
    middle, reach = (low + high) / 2, (high - low) / 4
    roundings = (round(middle, decimals) for decimals in count(1))
    return next(candidate for candidate in roundings if abs(candidate - middle) <= reach)


class _Row(NamedTuple):
    proposition: str
    n: int
    n_missing: int
    n_yes: int
    prevalence: float | None
    balanced_accuracy: float | None
    low: float | None
    high: float | None
    f1: float | None
    threshold: float
    bar: float
    accepted: bool
    reason: str | None


class Decision(NamedTuple):
    """How well grades meet labels at a threshold.

    Attributes:
        threshold: An answer is yes at or above it.
        balanced_accuracy: Mean of the shares of yes and of no labels that are met, in [0, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.
        f1: Of the answer yes.
    """

    threshold: float
    balanced_accuracy: float
    low: float
    high: float
    f1: float


def decide(p_yes: FloatArray, gold: BoolArray, threshold: float) -> Decision:
    """Compares grades with labels at a threshold.

    Args:
        p_yes: Grades, float64[N] in [0, 1], without NaN.
        gold: Labels, bool[N], holding both values.
        threshold: In (0, 1).
    """
    said = p_yes >= threshold
    n_yes, n_no = int(gold.sum()), int((~gold).sum())
    met_yes, met_no = int((said & gold).sum()), int((~said & ~gold).sum())
    low, high = _interval(met_yes, n_yes, met_no, n_no)
    f1 = 2 * met_yes / (n_yes + int(said.sum()))
    return Decision(threshold, (met_yes / n_yes + met_no / n_no) / 2, low, high, f1)


def _compare(name: str, p_yes: FloatArray, gold: BoolArray, bar: float) -> _Row:
    read = ~np.isnan(p_yes)
    p_yes, gold, n_missing = p_yes[read], gold[read], int((~read).sum())
    n, n_yes = gold.size, int(gold.sum())
    prevalence = n_yes / n if n else None
    if n_yes in (0, n):
        few = f"too few labels: {n_yes} yes and {n - n_yes} no"
        unknown = (None, None, None, None)
        return _Row(name, n, n_missing, n_yes, prevalence, *unknown, NEUTRAL_THRESHOLD, bar, False, few)
    measured = decide(p_yes, gold, best_cut(p_yes, gold).threshold)
    undecided = decide(p_yes, gold, NEUTRAL_THRESHOLD)
    # A threshold that the labels do not clearly ask for would fit their noise.
    if undecided.balanced_accuracy >= measured.low:
        measured = undecided
    accepted = measured.balanced_accuracy >= bar
    reason = None if accepted else f"balanced accuracy {measured.balanced_accuracy:.3f} is below the bar {bar:g}"
    measures = (measured.balanced_accuracy, measured.low, measured.high, measured.f1, measured.threshold)
    return _Row(name, n, n_missing, n_yes, prevalence, *measures, bar, accepted, reason)


def _interval(met_yes: int, n_yes: int, met_no: int, n_no: int) -> tuple[float, float]:
    """95 % interval of a balanced accuracy: Wilson's limits of the two shares, combined as by Newcombe.

    A bootstrap would claim certainty for three labels that all happen to be met.
    """
    yes, no = met_yes / n_yes, met_no / n_no
    yes_low, yes_high = wilson(yes, n_yes)
    no_low, no_high = wilson(no, n_no)
    low = (yes + no) / 2 - np.hypot(yes - yes_low, no - no_low) / 2
    high = (yes + no) / 2 + np.hypot(yes_high - yes, no_high - no) / 2
    return float(max(0.0, low)), float(min(1.0, high))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share in [0, 1] of `n` > 0 independent trials."""
    square = _WILSON_Z**2
    center = (share + square / (2 * n)) / (1 + square / n)
    reach = _WILSON_Z / (1 + square / n) * np.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, float(center - reach)), min(1.0, float(center + reach))
