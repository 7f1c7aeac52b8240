"""Compares the class probabilities of labeled replies with their classes by the labels.

A class probability can be wrong for two reasons: the probabilities of single propositions are wrong, or the
propositions are not independent given the reply, although paper section 3.3 multiplies them.
`rbr.classes.independence` explains how labels tell the two apart.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from rbr.agreement.intervals import wilson_interval
from rbr.agreement.judged_replies import JudgedReplies
from rbr.classes.features import most_probable_class_index
from rbr.classes.independence import effect

FloatArray = NDArray[np.float64]

TOLERANCE = 0.1
"""A mean probability matches the labels if it is surely off by less than this."""

MATCHES, TOO_LOW, TOO_HIGH, UNDECIDED = "matches", "too low", "too high", "undecided"

CLASS_SCHEMA = pl.Schema(
    {
        "class_name": pl.String,
        "n": pl.Int64,
        "n_unread": pl.Int64,
        "observed": pl.Float64,
        "observed_low": pl.Float64,
        "observed_high": pl.Float64,
        "mean_probability": pl.Float64,
        "gap": pl.Float64,
        "gap_low": pl.Float64,
        "gap_high": pl.Float64,
        "verdict": pl.String,
        "dependence": pl.Float64,
        "dependence_low": pl.Float64,
        "dependence_high": pl.Float64,
        "dependence_verdict": pl.String,
        "accuracy": pl.Float64,
    }
)

_FALSE_ALARM_RATE = 0.05


class MeanEstimates(NamedTuple):
    """Means of several columns of values, with standard errors.

    Attributes:
        mean: float64[K].
        error: Standard errors, float64[K].

    Example:
        >>> estimates = estimate_means(np.array([[0.0], [1.0]]), np.zeros((2, 1)), np.array([0, 1]), one_prompt=1.0)
        >>> isinstance(estimates, MeanEstimates), estimates.mean, estimates.error
        (True, array([0.5]), array([0.5]))
    """

    mean: FloatArray
    error: FloatArray


def compare_classes(judged: JudgedReplies, *, min_labels: int = 20, min_read: float = 0.9) -> pl.DataFrame:
    """Compares the mean probability of each class with the share of labeled replies in the class.

    Args:
        judged: The labeled replies.
        min_labels: With fewer readable replies of known class, every class is undecided.
        min_read: If the grades of a smaller share of these replies could be read, every class is undecided.

    Returns:
        One row per class, best to worst, columns `CLASS_SCHEMA`. All intervals are 95 % intervals.

        - n: readable replies of known class. n_unread: replies of known class with a missing grade.
        - observed: share of the replies in the class by their labels, with Wilson's interval.
        - gap: observed minus mean_probability.
        - dependence: the part of the gap that comes from propositions that are not independent. It is measured on the
          replies with all labels; null if there are fewer than `min_labels`.
        - verdict, dependence_verdict: ``matches`` if the interval of the gap (of the part) lies within `TOLERANCE` of
          0. Otherwise ``too low`` or ``too high`` (the mean probability), if 0 lies outside an interval that holds for
          all classes together with 95 % probability. Otherwise ``undecided``.
        - accuracy: share of the replies in the class for which it is the most probable class; null without replies.

        If there are too few replies, or too few readable ones, there is no number except for the two counts.

    Example:
        >>> from rbr.classes.features import FeatureMap
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "a and b", "bad": "not (a and b)"}, ["good", "bad"])
        >>> a = np.arange(40) % 2 == 0
        >>> truth = np.stack([a, a], axis=1)  # a and b are always equal, but the grader cannot tell their values
        >>> prompts = [str(number) for number in range(40)]
        >>> judged = JudgedReplies(FeatureMap(diagram, (), {}), np.full((40, 2), 0.5), truth, truth | True, prompts)
        >>> compare_classes(judged).select("class_name", "observed", "mean_probability", "verdict").rows()
        [('good', 0.5, 0.25, 'too low'), ('bad', 0.5, 0.75, 'too high')]
    """
    known = judged.class_index >= 0
    used = known & judged.read
    n, n_unread = int(used.sum()), int((known & ~judged.read).sum())
    classes = judged.features.classes
    counts = pl.DataFrame({"class_name": classes, "n": [n] * len(classes), "n_unread": [n_unread] * len(classes)})
    if n < min_labels or n < min_read * (n + n_unread):
        undecided = [pl.lit(UNDECIDED).alias(name) for name in ("verdict", "dependence_verdict")]
        return _complete(counts.with_columns(undecided))
    probabilities = judged.features.diagram.class_probabilities(judged.p[used])  # [n, classes]
    in_class = judged.class_index[used, None] == np.arange(len(classes))  # [n, classes]
    observed = in_class.mean(axis=0)
    variance = probabilities * (1 - probabilities)
    gaps = estimate_means(in_class - probabilities, variance, judged.prompt_numbers[used], one_prompt=1.0)
    correct = in_class & (most_probable_class_index(probabilities)[:, None] == np.arange(len(classes)))
    intervals = np.array([wilson_interval(float(share), n) for share in observed])  # [classes, 2]
    compared = counts.with_columns(
        pl.Series("observed", observed),
        pl.Series("observed_low", intervals[:, 0]),
        pl.Series("observed_high", intervals[:, 1]),
        pl.Series("mean_probability", probabilities.mean(axis=0)),
        *_columns(gaps, "gap", "verdict"),
        pl.Series(
            "accuracy",
            [
                int(right) / int(all_of) if all_of else None
                for right, all_of in zip(correct.sum(0), in_class.sum(0), strict=True)
            ],
            dtype=pl.Float64,
        ),
    )
    return _complete(compared.with_columns(_dependence(judged, min_labels)))


def estimate_means(
    values: FloatArray, variance: FloatArray, prompts: NDArray[np.intp], *, one_prompt: FloatArray | float
) -> MeanEstimates:
    """Returns the means of columns of values that are 0 on average if the probabilities are right and independent.

    Each standard error is the largest of three: the error that the values show, if the values of one prompt count as
    one observation; the error that the probabilities predict; and the effect of one prompt. With the last two, a few
    replies without a mistake do not show that mistakes are impossible.

    Args:
        values: float64[n, K], n > 0.
        variance: Variance of each value if the probabilities are right and independent, float64[n, K].
        prompts: Number of the prompt of each row, shape [n].
        one_prompt: How much one prompt can add to the sum of a column, in a typical case; float64[K], or one number.

    Example:
        >>> estimate_means(np.zeros((4, 1)), np.zeros((4, 1)), np.array([0, 1, 2, 3]), one_prompt=1.0).error
        array([0.25])
    """
    n = len(values)
    mean = values.mean(axis=0)
    sums = np.zeros((prompts.max() + 1, values.shape[1]))
    np.add.at(sums, prompts, values - mean)
    n_prompts = len(np.unique(prompts))
    shown = np.sqrt((sums**2).sum(axis=0) * n_prompts / max(n_prompts - 1, 1)) / n
    predicted = np.sqrt(variance.sum(axis=0)) / n
    return MeanEstimates(mean, np.maximum(np.maximum(shown, predicted), one_prompt / n_prompts))


def simultaneous_z(count: int) -> float:
    """Returns the number of standard errors on each side of `count` intervals that together hold with 95 %.

    Example:
        >>> round(simultaneous_z(1), 2), round(simultaneous_z(5), 2)
        (1.96, 2.58)
    """
    return float(ndtri(1 - _FALSE_ALARM_RATE / 2 / max(count, 1)))


def _dependence(judged: JudgedReplies, min_labels: int) -> list[pl.Series]:
    """Returns the columns about the part of each class's gap that dependence causes."""
    diagram = judged.features.diagram
    used = judged.read & ~np.isnan(judged.x).any(axis=1)
    if used.sum() < min_labels:
        return [pl.Series("dependence_verdict", [UNDECIDED] * len(diagram.classes))]
    p, x = judged.p[used], judged.x[used]
    probabilities = diagram.class_probabilities(p)
    rest = diagram.class_probabilities(x) - probabilities  # [n, classes]
    variance = probabilities * (1 - probabilities)
    # Take away the terms of single propositions. If the propositions are independent, these terms are uncorrelated with
    # the rest, so their variances can be taken away, too.
    for column in range(len(diagram.propositions)):
        effects = effect(diagram, p, column)
        rest -= (x - p)[:, [column]] * effects
        variance -= (p * (1 - p))[:, [column]] * effects**2
    estimates = estimate_means(rest, np.maximum(variance, 0.0), judged.prompt_numbers[used], one_prompt=1.0)
    return _columns(estimates, "dependence", "dependence_verdict")


def _columns(estimates: MeanEstimates, name: str, verdict: str) -> list[pl.Series]:
    """Returns the means, their 95 % intervals, and the verdicts."""
    one, together = simultaneous_z(1), simultaneous_z(len(estimates.mean))
    verdicts = []
    for mean, error in zip(estimates.mean.tolist(), estimates.error.tolist(), strict=True):
        if abs(mean) + one * error <= TOLERANCE:
            verdicts.append(MATCHES)
        elif abs(mean) > together * error:
            verdicts.append(TOO_LOW if mean > 0 else TOO_HIGH)
        else:
            verdicts.append(UNDECIDED)
    return [
        pl.Series(name, estimates.mean),
        pl.Series(f"{name}_low", estimates.mean - one * estimates.error),
        pl.Series(f"{name}_high", estimates.mean + one * estimates.error),
        pl.Series(verdict, verdicts),
    ]


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the columns of `CLASS_SCHEMA` that are missing, as null."""
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in CLASS_SCHEMA.items()
    )
