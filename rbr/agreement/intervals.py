"""95 % intervals of measures of agreement. They need no random draws, and they are never empty.

1. Labels of one prompt resemble each other, so n labels are worth fewer independent ones: `effective_size`.
2. Wilson's interval gives the two ends of a share. It has a width even if the grader is right on all labels, while a
   bootstrap would claim certainty after three labels.
3. A measure such as F1 depends on two shares: on the labels that say yes, and on those that say no. `square_and_add`
   combines their intervals (Newcombe 1998; Zou and Donner 2008 call the method MOVER).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Estimate(NamedTuple):
    """A measure with its 95 % interval.

    Attributes:
        value: The measure.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Example:
        >>> Estimate(0.9, 0.8, 0.95).value
        0.9
    """

    value: float
    low: float
    high: float


def wilson_interval(share: float, n: float, together: int = 1) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share.

    Args:
        share: Share of successes, in [0, 1].
        n: Number of independent trials, above 0; may be an `effective_size`.
        together: Number of such intervals that hold together with 95 % probability.

    Returns:
        Lower and upper end, in [0, 1].

    Example:
        >>> [round(end, 3) for end in wilson_interval(0.5, n=10)]
        [0.237, 0.763]
    """
    z = float(ndtri(1 - 0.025 / together))
    z_squared = z**2
    center = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half_width = z / (1 + z_squared / n) * np.sqrt(share * (1 - share) / n + z_squared / (4 * n * n))
    return max(0.0, float(center - half_width)), min(1.0, float(center + half_width))


def effective_size(values: FloatArray | BoolArray, clusters: NDArray[np.intp]) -> float:
    """Returns how many independent right-or-wrong answers have a mean as uncertain as the mean of these values.

    The variance of the mean is the larger of two: the variance that the values show if they are independent, and if
    all values of a cluster count as one observation. Both count two imagined clusters of average size, one with all
    values 0 and one with all values 1. Without them, a few clusters that are all right would look like certainty.

    Args:
        values: Values in [0, 1], such as right or wrong; shape [n], n > 0.
        clusters: Number of the prompt of each value, shape [n].

    Returns:
        The number of answers; at least 1. It is n if the values are 0 or 1 and every cluster has one value.

    Example:
        >>> right = np.ones(12, dtype=bool)
        >>> effective_size(right, np.arange(12)), effective_size(right, np.repeat(np.arange(4), 3))
        (12.0, 4.0)
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(numbers).astype(np.float64)
    sums = np.bincount(numbers, weights=values)
    size = values.size / sizes.size
    mean = (sums.sum() + size) / (sizes.sum() + 2 * size)
    shown_by_clusters = ((sums - mean * sizes) ** 2).sum() + (mean * size) ** 2 + ((1 - mean) * size) ** 2
    shown_by_values = ((values - mean) ** 2).sum() + size * (mean**2 + (1 - mean) ** 2)
    of_answers = mean * (1 - mean) * (sizes.sum() + 2 * size)
    size_in_answers = values.size * of_answers / max(shown_by_clusters, shown_by_values)
    # Rounded, because a sum in another order has another last digit.
    return max(1.0, round(float(size_in_answers), 6))


def estimate_mean(values: FloatArray | BoolArray, clusters: NDArray[np.intp], together: int = 1) -> Estimate:
    """Returns the mean of values in [0, 1] with its interval.

    Args:
        values: As for `effective_size`.
        clusters: As for `effective_size`.
        together: As for `wilson_interval`.

    Example:
        >>> [round(float(number), 3) for number in estimate_mean(np.array([1.0, 1.0, 0.0]), np.arange(3))]
        [0.667, 0.208, 0.939]
    """
    mean = float(values.mean())
    return Estimate(mean, *wilson_interval(mean, effective_size(values, clusters), together))


def square_and_add(measure: Callable[[float, float], float], yes: Estimate, no: Estimate) -> Estimate:
    """Returns a measure of two independent shares with its interval.

    The lower end is the measure minus the root of the sum of two squares: how much the measure falls if one share
    moves to the lower end of its interval. The upper end is made in the same way.

    Args:
        measure: Function of the two shares. It must not fall if a share rises.
        yes: Share of right answers among the labels that say yes.
        no: Share of right answers among the labels that say no.

    Example:
        >>> share = Estimate(0.5, 0.2, 0.9)
        >>> [round(number, 3) for number in square_and_add(lambda yes, no: (yes + no) / 2, share, share)]
        [0.5, 0.288, 0.783]
    """
    value = measure(yes.value, no.value)
    fall = np.hypot(value - measure(yes.low, no.value), value - measure(yes.value, no.low))
    rise = np.hypot(measure(yes.high, no.value) - value, measure(yes.value, no.high) - value)
    return Estimate(value, float(value - fall), float(value + rise))
