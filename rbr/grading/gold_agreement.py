"""Measures how well the grader agrees with gold labels, for each proposition (paper sections 5 and 6).

The measure is balanced accuracy, because most propositions are rarely true: a grader that always gives the majority
answer already reaches 80 % accuracy on the paper's gold set. The threshold is tuned on the labels on which the accuracy
is measured. If a proposition has few labels, its accuracy is therefore a little too high, and its interval is wide.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import NEUTRAL_THRESHOLD

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

AGREEMENT_SCHEMA = pl.Schema(
    {
        "proposition": pl.String,
        "n": pl.Int64,
        "n_missing": pl.Int64,
        "n_yes": pl.Int64,
        "prevalence": pl.Float64,
        "balanced_accuracy": pl.Float64,
        "balanced_accuracy_low": pl.Float64,
        "balanced_accuracy_high": pl.Float64,
        "f1": pl.Float64,
        "threshold": pl.Float64,
    }
)

# Grades are compared after rounding to this many decimals, so that no threshold is 0 or 1.
_DECIMALS = 9
_WILSON_Z = 1.959963984540054


class AgreementAtThreshold(NamedTuple):
    """Agreement of grades with labels if grades at or above a threshold count as yes.

    Attributes:
        threshold: The threshold, in (0, 1).
        balanced_accuracy: Mean of sensitivity and specificity, in [0, 1].
        low: Lower end of the 95 % interval of the balanced accuracy.
        high: Upper end of the 95 % interval of the balanced accuracy.
        f1: F1 score of the answer yes, in [0, 1].

    Example:
        >>> measured = agreement_at(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), threshold=0.5)
        >>> isinstance(measured, AgreementAtThreshold), measured.balanced_accuracy
        (True, 0.75)
    """

    threshold: float
    balanced_accuracy: float
    low: float
    high: float
    f1: float


def agreement_by_proposition(
    propositions: Sequence[str], p_yes: FloatArray, gold: BoolArray, labeled: BoolArray
) -> pl.DataFrame:
    """Compares grades with gold labels, one proposition at a time.

    Args:
        propositions: Names of the K propositions.
        p_yes: Grades, float64[N, K] in [0, 1]; NaN if the answer could not be read.
        gold: Labels, bool[N, K].
        labeled: Whether there is a label that counts, bool[N, K].

    Returns:
        One row per proposition in the order of `propositions`, columns `AGREEMENT_SCHEMA`. The columns
        balanced_accuracy_low and balanced_accuracy_high are the 95 % interval. n is the number of labels with a
        readable grade, n_yes is how many of these say yes, and n_missing is the number of labels whose grade could not
        be read. The threshold is `best_threshold` if that is significantly better than 0.5, else 0.5. If the labels
        with a readable grade do not contain both yes and no, the measures are null and the threshold is 0.5.

    Raises:
        ValueError: The arrays have different shapes.

    Example:
        >>> p_yes, gold = np.array([[0.9], [0.6], [0.2]]), np.array([[True], [False], [False]])
        >>> table = agreement_by_proposition(["apology"], p_yes, gold, labeled=np.ones((3, 1), dtype=bool))
        >>> table.select("n", "balanced_accuracy", "threshold").rows()
        [(3, 0.75, 0.5)]
    """
    if not p_yes.shape == gold.shape == labeled.shape == (p_yes.shape[0], len(propositions)):
        raise ValueError("p_yes, gold and labeled must have the shape [N, propositions]")
    rows = [
        _agreement_row(name, p_yes[mask, column], gold[mask, column])
        for column, (name, mask) in enumerate(zip(propositions, labeled.T, strict=True))
    ]
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA, orient="row")


def best_threshold(p_yes: FloatArray, gold: BoolArray) -> float:
    """Returns the threshold with the highest balanced accuracy that lies between two different grades.

    All thresholds between two neighboring grades give the same answers, so the function compares the gaps between
    grades. It selects the gap with the highest accuracy. If several gaps are equally good, it selects the widest gap,
    and then the gap nearest to 0.5. The threshold is the shortest decimal in the middle half of the selected gap, so
    that a single changed label seldom moves the threshold.

    Args:
        p_yes: Grades, float64[N] in [0, 1], without NaN.
        gold: Labels, bool[N], with at least one yes and one no.

    Returns:
        The threshold, in (0, 1); 0.5 if all grades are equal.

    Example:
        >>> best_threshold(np.array([0.1, 0.2, 0.8]), np.array([False, False, True]))
        0.5
    """
    p_yes = np.round(p_yes, _DECIMALS)
    # Gap g lies between the neighboring grades low[g] and high[g]; G = distinct grades - 1.
    distinct = np.unique(p_yes)
    if distinct.size < 2:
        return NEUTRAL_THRESHOLD
    low, high = distinct[:-1], distinct[1:]  # [G]
    # For each gap, count the yes labels with a grade above the gap, and the no labels with a grade below the gap.
    yes_grades, no_grades = np.sort(p_yes[gold]), np.sort(p_yes[~gold])
    true_positives = yes_grades.size - np.searchsorted(yes_grades, high)  # [G]
    true_negatives = np.searchsorted(no_grades, high)  # [G]
    # Balanced accuracy times a constant, as an integer: rounding must not make equally good gaps differ.
    accuracy = true_positives * no_grades.size + true_negatives * yes_grades.size
    width = np.round(high - low, _DECIMALS)
    distance = np.round(np.abs((low + high) / 2 - 0.5), _DECIMALS)
    best = min(range(low.size), key=lambda gap: (-accuracy[gap], -width[gap], distance[gap], low[gap]))
    return _shortest_decimal_inside(float(low[best]), float(high[best]))


def agreement_at(p_yes: FloatArray, gold: BoolArray, threshold: float) -> AgreementAtThreshold:
    """Compares grades with labels, counting grades at or above a threshold as yes.

    Args:
        p_yes: Grades, float64[N] in [0, 1], without NaN.
        gold: Labels, bool[N], with at least one yes and one no.
        threshold: Decision threshold, in (0, 1).

    Example:
        >>> round(agreement_at(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), threshold=0.5).f1, 3)
        0.667
    """
    predicted = p_yes >= threshold
    n_yes, n_no = int(gold.sum()), int((~gold).sum())
    true_positives, true_negatives = int((predicted & gold).sum()), int((~predicted & ~gold).sum())
    low, high = _balanced_accuracy_interval(true_positives, n_yes, true_negatives, n_no)
    f1 = 2 * true_positives / (n_yes + int(predicted.sum()))
    balanced_accuracy = (true_positives / n_yes + true_negatives / n_no) / 2
    return AgreementAtThreshold(threshold, balanced_accuracy, low, high, f1)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share.

    Args:
        share: Share of successes, in [0, 1].
        n: Number of independent trials, above 0.

    Returns:
        Lower and upper end, in [0, 1].

    Example:
        >>> [round(end, 3) for end in wilson_interval(0.5, n=10)]
        [0.237, 0.763]
    """
    z_squared = _WILSON_Z**2
    center = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half_width = _WILSON_Z / (1 + z_squared / n) * np.sqrt(share * (1 - share) / n + z_squared / (4 * n * n))
    return max(0.0, float(center - half_width)), min(1.0, float(center + half_width))


def _shortest_decimal_inside(low: float, high: float) -> float:
    """Returns the decimal with the fewest digits in the middle half of the interval."""
    middle, quarter = (low + high) / 2, (high - low) / 4
    roundings = (round(middle, decimals) for decimals in count(1))
    return next(candidate for candidate in roundings if abs(candidate - middle) <= quarter)


def _agreement_row(name: str, p_yes: FloatArray, gold: BoolArray) -> tuple[object, ...]:
    """Returns the row of one proposition, columns `AGREEMENT_SCHEMA`."""
    readable = ~np.isnan(p_yes)
    p_yes, gold, n_missing = p_yes[readable], gold[readable], int((~readable).sum())
    n, n_yes = gold.size, int(gold.sum())
    counts = (name, n, n_missing, n_yes, n_yes / n if n else None)
    if n_yes in (0, n):
        return (*counts, None, None, None, None, NEUTRAL_THRESHOLD)
    measured = agreement_at(p_yes, gold, best_threshold(p_yes, gold))
    neutral = agreement_at(p_yes, gold, NEUTRAL_THRESHOLD)
    # Keep 0.5 if the best threshold is not significantly better, because it would only fit noise in the labels.
    if neutral.balanced_accuracy >= measured.low:
        measured = neutral
    return (*counts, measured.balanced_accuracy, measured.low, measured.high, measured.f1, measured.threshold)


def _balanced_accuracy_interval(true_positives: int, n_yes: int, true_negatives: int, n_no: int) -> tuple[float, float]:
    """Returns the 95 % interval of a balanced accuracy: two Wilson intervals, combined by Newcombe's method.

    A bootstrap would give an interval of width 0 if the grader is right on three of three labels, even by chance.
    """
    sensitivity, specificity = true_positives / n_yes, true_negatives / n_no
    yes_low, yes_high = wilson_interval(sensitivity, n_yes)
    no_low, no_high = wilson_interval(specificity, n_no)
    low = (sensitivity + specificity) / 2 - np.hypot(sensitivity - yes_low, specificity - no_low) / 2
    high = (sensitivity + specificity) / 2 + np.hypot(yes_high - sensitivity, no_high - specificity) / 2
    return float(max(0.0, low)), float(min(1.0, high))
