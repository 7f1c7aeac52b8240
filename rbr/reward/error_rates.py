"""Error rates of the reward on held-out comparisons (paper section 6)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.reward.comparison_pairs import ComparisonPairs
from rbr.reward.fit_problems import FitProblem

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorRates:
    """The share of held-out pairs in which the worse reply gets at least as much reward as the better reply.

    A pair is an ideal reply and a reply of lower rank to the same prompt. A reply is ideal if its label has the first
    rank. Prompts without an ideal reply are not counted.

    Attributes:
        n_pairs: Number of pairs.
        rm: Error rate of the reward model R_rm alone, in [0, 1]; None if there are no pairs.
        rbr: Error rate of the fitted rules R_rbr alone; None if there are no pairs.
        total: Error rate of R_rm + R_rbr; None if there are no pairs.

    Example:
        >>> rates = ErrorRates(n_pairs=4, rm=0.75, rbr=0.25, total=0.0)
        >>> rates.total < rates.rm  # The rules improve on the reward model.
        True
    """

    n_pairs: int
    rm: float | None
    rbr: float | None
    total: float | None


def error_rates(held_out: ComparisonPairs, problem: FitProblem, weights: FloatArray) -> ErrorRates:
    """Computes the error rates of fitted weights.

    Args:
        held_out: Pairs that the fit did not use.
        problem: The fit problem that contains the pairs.
        weights: Fitted weights, float64[F].
    """
    with_ideal = held_out.ranks == 0
    if not with_ideal.any():
        return ErrorRates(0, None, None, None)
    ideal, other = held_out.better[with_ideal], held_out.worse[with_ideal]
    r_rbr = problem.features @ weights

    def rate(reward: FloatArray) -> float:
        return float(np.mean(reward[other] >= reward[ideal]))

    return ErrorRates(ideal.size, rate(problem.r_rm), rate(r_rbr), rate(problem.r_rm + r_rbr))
