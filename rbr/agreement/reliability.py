"""Are the probabilities right? Brier score, calibration error, and the bins of a reliability plot.

These measures look at P(yes) itself, not at the side of the threshold on which it lies.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.agreement.intervals import Estimate, estimate_mean
from rbr.agreement.judgments import Judgments

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BINS = 10
"""Number of bins of equal width: [0, 0.1), [0.1, 0.2), ..., [0.9, 1]. Guo et al. 2017 use bins of equal width, too."""

ALL = "all propositions"
"""Value of the column proposition for the bins of all propositions together."""

BIN_SCHEMA = pl.Schema(
    {
        "proposition": pl.String,
        "bin": pl.Int64,
        "n": pl.Int64,
        "n_yes": pl.Int64,
        "mean_p_yes": pl.Float64,
        "share_yes": pl.Float64,
        "share_yes_low": pl.Float64,
        "share_yes_high": pl.Float64,
    }
)


def reliability_bins(name: str, p_yes: FloatArray, gold: BoolArray, clusters: NDArray[np.intp]) -> pl.DataFrame:
    """Compares the mean grade with the share of labels that say yes, in `BINS` bins of equal width.

    Args:
        name: Value of the column proposition.
        p_yes: Grades, float64[N] in [0, 1], without NaN.
        gold: Labels, bool[N].
        clusters: Number of the prompt of each label, shape [N].

    Returns:
        One row per bin that has a grade, columns `BIN_SCHEMA`. share_yes_low and share_yes_high are the 95 % interval.

    Example:
        >>> p_yes, gold = np.array([0.02, 0.04, 1.0]), np.array([False, True, True])
        >>> bins = reliability_bins("apology", p_yes, gold, np.arange(3))
        >>> bins.select("bin", "n", "n_yes", "share_yes").rows()
        [(0, 2, 1, 0.5), (9, 1, 1, 1.0)]
    """
    bin_of = _bin_numbers(p_yes)
    rows = []
    for number in np.unique(bin_of).tolist():
        inside = bin_of == number
        share = estimate_mean(gold[inside], clusters[inside])
        counts = (int(inside.sum()), int(gold[inside].sum()))
        rows.append((name, number, *counts, float(p_yes[inside].mean()), *share))
    return pl.DataFrame(rows, schema=BIN_SCHEMA, orient="row")


def bins_by_proposition(judgments: Judgments) -> pl.DataFrame:
    """Returns the rows of `reliability_bins`: of all propositions together (`ALL`), and then of each one.

    Labels without a grade are left out.

    Example:
        >>> yes = np.array([[True], [False]])
        >>> judgments = Judgments(["apology"], np.array([[0.9], [0.6]]), yes, yes | True, yes & False, np.arange(2))
        >>> bins_by_proposition(judgments).select("proposition", "bin").rows()
        [('all propositions', 6), ('all propositions', 9), ('apology', 6), ('apology', 9)]
    """
    by_name = {name: judgments.of(name) for name in judgments.propositions}
    if not by_name:
        return pl.DataFrame(schema=BIN_SCHEMA)
    together = (
        np.concatenate([getattr(labels, part) for labels in by_name.values()]) for part in ("p_yes", "gold", "clusters")
    )
    parts = [reliability_bins(ALL, *together)]
    parts += [reliability_bins(name, part.p_yes, part.gold, part.clusters) for name, part in by_name.items()]
    return pl.concat(parts)


def brier_score(p_yes: FloatArray, gold: BoolArray, clusters: NDArray[np.intp]) -> Estimate:
    """Returns the Brier score: the mean squared difference of grade and label, in [0, 1]; 0 is best.

    A grader that always says the share of yes labels, s, has the score s (1 - s). The arguments are the same as for
    `reliability_bins`; N must be above 0.

    Example:
        >>> round(brier_score(np.array([0.9, 0.2]), np.array([True, False]), np.arange(2)).value, 6)
        0.025
    """
    return estimate_mean((p_yes - gold) ** 2, clusters)


def calibration_error(p_yes: FloatArray, gold: BoolArray, clusters: NDArray[np.intp]) -> Estimate:
    """Returns the expected calibration error (ECE): the mean of |share of yes - mean grade| of the label's bin.

    With few labels, the error is above 0 even if all probabilities are right. The lower end of the interval is
    therefore cautious: the share of yes of every bin lies at the nearest end of an interval that holds for all bins
    together. For the upper end, the ways of the bins to the far ends of their own intervals are squared and added. The
    arguments are the same as for `reliability_bins`; N must be above 0.

    Example:
        >>> p_yes, gold = np.array([0.1, 0.1, 0.1, 0.9]), np.array([False, False, True, True])
        >>> error = calibration_error(p_yes, gold, np.arange(4))
        >>> round(error.value, 3), error.low
        (0.2, 0.0)
    """
    bin_of = _bin_numbers(p_yes)
    numbers = np.unique(bin_of)
    value = low = squared_rise = 0.0
    for number in numbers:
        inside = bin_of == number
        weight, mean = float(inside.mean()), float(p_yes[inside].mean())
        share = estimate_mean(gold[inside], clusters[inside])
        all_bins = estimate_mean(gold[inside], clusters[inside], together=len(numbers))
        gap = abs(share.value - mean)
        value += weight * gap
        low += weight * max(0.0, all_bins.low - mean, mean - all_bins.high)
        squared_rise += (weight * (max(abs(share.low - mean), abs(share.high - mean)) - gap)) ** 2
    return Estimate(value, low, min(1.0, value + squared_rise**0.5))


def _bin_numbers(p_yes: FloatArray) -> NDArray[np.intp]:
    return np.minimum((p_yes * BINS).astype(np.intp), BINS - 1)
