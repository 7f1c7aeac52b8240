"""Approximates the solution of a fit over pairs: Newton's method on a smoothed hinge, with less and less smoothing.

A smoothed hinge replaces the kink by a parabola of a given width, so a Newton step needs only the pairs within the
width of their kink. The weights come close to the solution in a dozen steps, each a few passes over the pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from rbr.reward.solver.pair_problem import PairProblem, WeightConstraints

FloatArray = NDArray[np.float64]

WIDTHS: tuple[float, ...] = (0.5, 0.15)

_MAX_STEPS = 30
_SMALLEST_GAIN = 1e-3
"""A step that is expected to lower the objective by a smaller share is not taken."""
_SMALLEST_LENGTH = 1e-4
_PENALTY = 10.0
"""Weight of a constraint, if the weights of all pairs sum to 1."""


@dataclass(frozen=True)
class _State:
    """Weights, and by how much each pair and each constraint misses its required lead there."""

    weights: FloatArray
    missing: FloatArray
    limits_missing: FloatArray

    def towards(self, other: "_State", length: float) -> "_State":
        """Returns the state at a share of the way to another state."""
        if length == 1.0:
            return other
        return _State(
            self.weights + length * (other.weights - self.weights),
            self.missing + length * (other.missing - self.missing),
            self.limits_missing + length * (other.limits_missing - self.limits_missing),
        )


@dataclass(frozen=True)
class SmoothedHinge:
    """The smoothed fit over pairs under constraints.

    Attributes:
        problem: The pairs.
        pair_weights: Weight of each pair in the objective, float64[N]; their sum is 1.
        constraints: Constraints on the weights. Violating them costs a penalty, so they hold nearly.

    Example:
        >>> problem = PairProblem(np.array([[1.0], [0.0]]), better=np.array([0]), worse=np.array([1]),
        ...                       required_leads=np.array([1.5]), l2=0.001)
        >>> smoothed = SmoothedHinge(problem, np.array([1.0]), WeightConstraints.none(1))
        >>> bool(abs(smoothed.minimize(np.zeros(1))[0] - 1.5) < 0.2)
        True
    """

    problem: PairProblem
    pair_weights: FloatArray
    constraints: WeightConstraints

    def minimize(self, start: FloatArray, widths: Sequence[float] = WIDTHS) -> FloatArray:
        """Returns weights near the solution, float64[F].

        Args:
            start: Weights to start from, float64[F].
            widths: Widths of the parabola, in units of the required leads, in decreasing order.
        """
        weights = start
        for width in widths:
            weights = self._newton(weights, width)
        return weights

    def _newton(self, weights: FloatArray, width: float) -> FloatArray:
        state = self._state(weights)
        value = self._value(state, width)
        for _ in range(_MAX_STEPS):
            gradient, hessian = self._derivatives(state, width)
            _, direction, failed = dposv(hessian, -gradient)
            gain = -float(gradient @ direction)
            if failed or gain <= _SMALLEST_GAIN * value:
                break
            # The full step first, then half of it, and so on, until a step lowers the value enough.
            full_step = self._state(state.weights + direction)
            length = 1.0
            while length >= _SMALLEST_LENGTH:
                new_state = state.towards(full_step, length)
                new_value = self._value(new_state, width)
                if new_value <= value - 1e-4 * length * gain:
                    break
                length /= 2
            else:
                break
            state, value = new_state, new_value
        return state.weights

    def _state(self, weights: FloatArray) -> _State:
        limits_missing = self.constraints.required_leads - self.constraints.rows @ weights
        return _State(weights, -self.problem.leads(weights), limits_missing)

    def _value(self, state: _State, width: float) -> float:
        pairs = float(self.pair_weights @ _smoothed(state.missing, width))
        limits = _PENALTY * float(_smoothed(state.limits_missing, width).sum())
        return pairs + limits + self.problem.l2 / 2 * float(state.weights @ state.weights)

    def _derivatives(self, state: _State, width: float) -> tuple[FloatArray, FloatArray]:
        """Returns the gradient, float64[F], and the Hessian, float64[F, F], of the smoothed objective."""
        slopes = np.clip((state.missing + width) / (2 * width), 0.0, 1.0)
        limit_slopes = np.clip((state.limits_missing + width) / (2 * width), 0.0, 1.0)
        gradient = self.problem.l2 * state.weights - self.problem.pull(self.pair_weights * slopes)
        gradient -= _PENALTY * limit_slopes @ self.constraints.rows
        in_band = np.flatnonzero((slopes > 0) & (slopes < 1))
        rows = self.problem.rows(in_band)
        hessian = (rows * (self.pair_weights[in_band] / (2 * width))[:, None]).T @ rows
        limits = self.constraints.rows[(limit_slopes > 0) & (limit_slopes < 1)]
        hessian += _PENALTY / (2 * width) * (limits.T @ limits)
        hessian.flat[:: hessian.shape[0] + 1] += self.problem.l2  # The diagonal.
        return gradient, hessian


def _smoothed(missing: FloatArray, width: float) -> FloatArray:
    """Returns the smoothed hinge loss: 0 below -width, a parabola up to width, and `missing` above."""
    inside = np.clip(missing, -width, width) + width
    return inside * inside / (4 * width) + np.maximum(missing - width, 0.0)
