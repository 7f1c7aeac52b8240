"""Error rates of the reward on held-out comparisons (paper section 6)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.reward.comparison_pairs import ComparisonPairs, comparison_pairs, complete_replies, held_out_prompts
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
        n_left_out: Number of pairs that are not counted, because a grade or the score of a reply is missing.

    Example:
        >>> rates = ErrorRates(n_pairs=4, rm=0.75, rbr=0.25, total=0.0)
        >>> rates.total < rates.rm  # The rules improve on the reward model.
        True
    """

    n_pairs: int
    rm: float | None
    rbr: float | None
    total: float | None
    n_left_out: int = 0


def error_rates(
    held_out: ComparisonPairs, problem: FitProblem, weights: FloatArray, held_out_fraction: float
) -> ErrorRates:
    """Computes the error rates of fitted weights.

    Args:
        held_out: Pairs of complete replies that the fit did not use.
        problem: The fit problem that contains the pairs.
        weights: Fitted weights, float64[F].
        held_out_fraction: Share of the prompts that the fit held out.
    """
    with_ideal = held_out.ranks == 0
    n_left_out = _n_left_out(problem, held_out_fraction, int(with_ideal.sum()))
    if not with_ideal.any():
        return ErrorRates(0, None, None, None, n_left_out)
    ideal, other = held_out.better[with_ideal], held_out.worse[with_ideal]
    r_rbr = problem.features @ weights

    def rate(reward: FloatArray) -> float:
        return float(np.mean(reward[other] >= reward[ideal]))

    return ErrorRates(ideal.size, rate(problem.r_rm), rate(r_rbr), rate(problem.r_rm + r_rbr), n_left_out)


def _n_left_out(problem: FitProblem, held_out_fraction: float, n_counted: int) -> int:
    """Returns how many held-out pairs with an ideal reply are not counted."""
    n_replies = len(problem.labels)
    if complete_replies(problem).size == n_replies:
        return 0
    pairs = comparison_pairs(problem, np.arange(n_replies))
    return int((pairs.of_prompts(held_out_prompts(pairs, held_out_fraction)).ranks == 0).sum()) - n_counted
