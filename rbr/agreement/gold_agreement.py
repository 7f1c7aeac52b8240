"""Measures how well the grader agrees with gold labels, for each proposition (paper sections 5 and 6).

The main measure is balanced accuracy, because most propositions are rarely true: a grader that always gives the
majority answer already reaches 80 % accuracy on the paper's gold set. The threshold is tuned on the labels on which the
accuracy is measured. If a proposition has few labels, its accuracy is therefore a little too high, and its interval is
wide. `rbr.agreement.intervals` explains the intervals, and `rbr.agreement.reliability` the measures of P(yes).
"""

from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.agreement.intervals import Estimate, estimate_mean, square_and_add
from rbr.agreement.judgments import GradedLabels, Judgments
from rbr.agreement.reliability import brier_score, calibration_error
from rbr.classes.features import NEUTRAL_THRESHOLD

__all__ = [
    "AGREEMENT_SCHEMA",
    "MEASURES",
    "AgreementAtThreshold",
    "agreement_at",
    "agreement_by_proposition",
    "agreement_of_answers",
    "best_threshold",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MEASURES = ("accuracy", "balanced_accuracy", "f1", "kappa", "brier", "ece")
"""The measures of agreement. Each has three columns: `<measure>`, `<measure>_low` and `<measure>_high`."""

AGREEMENT_SCHEMA = pl.Schema(
    {
        "proposition": pl.String,
        "n": pl.Int64,
        "n_missing": pl.Int64,
        "n_refused": pl.Int64,
        "n_yes": pl.Int64,
        "prevalence": pl.Float64,
        "majority_accuracy": pl.Float64,
        **{f"{measure}{end}": pl.Float64 for measure in MEASURES for end in ("", "_low", "_high")},
        "threshold": pl.Float64,
    }
)

# Grades are compared after rounding to this many decimals, so that no threshold is 0 or 1.
_DECIMALS = 9
# Measures are rounded, so that the order of the labels does not change their last digit.
_MEASURE_DECIMALS = 12


class AgreementAtThreshold(NamedTuple):
    """Agreement of grades with labels if grades at or above a threshold count as yes.

    Attributes:
        threshold: The threshold, in (0, 1).
        balanced_accuracy: Mean of sensitivity and specificity, in [0, 1].
        low: Lower end of the 95 % interval of the balanced accuracy.
        high: Upper end of the 95 % interval of the balanced accuracy.
        f1: F1 score of the answer yes, in [0, 1].
        f1_interval: F1 score with its 95 % interval.
        kappa: Cohen's kappa with its 95 % interval, in [-1, 1]; 0 is the agreement of two people who guess.

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
    f1_interval: Estimate
    kappa: Estimate


def agreement_by_proposition(judgments: Judgments) -> pl.DataFrame:
    """Compares grades with gold labels, one proposition at a time.

    Args:
        judgments: The labels and the grades.

    Returns:
        One row per proposition in the order of `judgments`, columns `AGREEMENT_SCHEMA`. Columns that end in _low and
        _high are 95 % intervals; they are wider if labels of one prompt resemble each other.

        - n: labels with a grade. n_yes: how many of these say yes. n_missing: labels without a grade.
          n_refused: how many of these a content filter refused.
        - prevalence: n_yes / n. majority_accuracy: accuracy of a grader that always gives the more frequent answer.
        - threshold: `best_threshold` if that is significantly better than 0.5, else 0.5.
        - accuracy, balanced_accuracy, f1 (of the answer yes) and kappa (Cohen's) are measured at the threshold; brier
          and ece (see `rbr.agreement.reliability`) on P(yes).

        Without a grade, all measures are null. If the labels with a grade do not contain both yes and no,
        balanced_accuracy, f1 and kappa are null and the threshold is 0.5.

    Example:
        >>> p_yes, gold = np.array([[0.9], [0.6], [0.2]]), np.array([[True], [False], [False]])
        >>> judgments = Judgments(["apology"], p_yes, gold, gold | True, gold & False, clusters=np.arange(3))
        >>> agreement_by_proposition(judgments).select("n", "balanced_accuracy", "threshold").rows()
        [(3, 0.75, 0.5)]
    """
    rows = [_agreement_row(name, judgments.of(name)) for name in judgments.propositions]
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


def agreement_at(
    p_yes: FloatArray, gold: BoolArray, threshold: float, clusters: NDArray[np.intp] | None = None
) -> AgreementAtThreshold:
    """Compares grades with labels, counting grades at or above a threshold as yes.

    Args:
        p_yes: Grades, float64[N] in [0, 1], without NaN.
        gold: Labels, bool[N], with at least one yes and one no.
        threshold: Decision threshold, in (0, 1).
        clusters: Number of the prompt of each label, shape [N]; None if all labels are independent.

    Example:
        >>> round(agreement_at(np.array([0.9, 0.6, 0.2]), np.array([True, False, False]), threshold=0.5).f1, 3)
        0.667
    """
    return agreement_of_answers(p_yes >= threshold, gold, threshold, clusters)


def agreement_of_answers(
    answers: BoolArray, gold: BoolArray, threshold: float = NEUTRAL_THRESHOLD, clusters: NDArray[np.intp] | None = None
) -> AgreementAtThreshold:
    """Compares answers of yes and no, bool[N], with labels. The other arguments are the same as for `agreement_at`.

    Example:
        >>> agreement_of_answers(np.array([True, True]), np.array([True, False])).kappa.value
        0.0
    """
    clusters = np.arange(gold.size) if clusters is None else clusters
    right = answers == gold
    sensitivity = estimate_mean(right[gold], clusters[gold])
    specificity = estimate_mean(right[~gold], clusters[~gold])
    yes = float(gold.mean())

    def f1(sensitivity: float, specificity: float) -> float:
        answered_yes = yes * sensitivity + (1 - yes) * (1 - specificity)
        return 2 * yes * sensitivity / (yes + answered_yes)

    def kappa(sensitivity: float, specificity: float) -> float:
        answered_yes = yes * sensitivity + (1 - yes) * (1 - specificity)
        by_chance = yes * answered_yes + (1 - yes) * (1 - answered_yes)
        return (yes * sensitivity + (1 - yes) * specificity - by_chance) / (1 - by_chance)

    balanced = square_and_add(lambda one, other: (one + other) / 2, sensitivity, specificity)
    f1_interval = square_and_add(f1, sensitivity, specificity)
    return AgreementAtThreshold(
        threshold, *balanced, f1_interval.value, f1_interval, square_and_add(kappa, sensitivity, specificity)
    )


def _shortest_decimal_inside(low: float, high: float) -> float:
    """Returns the decimal with the fewest digits in the middle half of the interval."""
    middle, quarter = (low + high) / 2, (high - low) / 4
    roundings = (round(middle, decimals) for decimals in count(1))
    return next(candidate for candidate in roundings if abs(candidate - middle) <= quarter)


def _agreement_row(name: str, labels: GradedLabels) -> tuple[object, ...]:
    """Returns the row of one proposition, columns `AGREEMENT_SCHEMA`."""
    p_yes, gold, clusters = labels.p_yes, labels.gold, labels.clusters
    # 1. Count.
    n, n_yes = gold.size, int(gold.sum())
    shares = (n_yes / n, max(n_yes, n - n_yes) / n) if n else (None, None)
    counts = (name, n, labels.n_missing, labels.n_refused, n_yes, *shares)
    if not n:
        return (*counts, *_columns([None] * len(MEASURES)), NEUTRAL_THRESHOLD)
    # 2. Measure P(yes).
    brier = brier_score(p_yes, gold, clusters)
    ece = calibration_error(p_yes, gold, clusters)
    # 3. Choose the threshold, and measure the answers.
    if n_yes in (0, n):
        accuracy = estimate_mean((p_yes >= NEUTRAL_THRESHOLD) == gold, clusters)
        return (*counts, *_columns([accuracy, None, None, None, brier, ece]), NEUTRAL_THRESHOLD)
    measured = agreement_at(p_yes, gold, best_threshold(p_yes, gold), clusters)
    neutral = agreement_at(p_yes, gold, NEUTRAL_THRESHOLD, clusters)
    # Keep 0.5 if the best threshold is not significantly better, because it would only fit noise in the labels.
    if neutral.balanced_accuracy >= measured.low:
        measured = neutral
    accuracy = estimate_mean((p_yes >= measured.threshold) == gold, clusters)
    balanced = Estimate(measured.balanced_accuracy, measured.low, measured.high)
    measures = [accuracy, balanced, measured.f1_interval, measured.kappa, brier, ece]
    return (*counts, *_columns(measures), measured.threshold)


def _columns(measures: Iterable[Estimate | None]) -> Iterable[float | None]:
    """Yields value, low and high of each measure; three times None if it could not be measured."""
    for measure in measures:
        yield from (None,) * 3 if measure is None else (round(number, _MEASURE_DECIMALS) for number in measure)
