"""Solves weighted hinge regression exactly: the convex problem behind weight fitting, with a certificate.

The weights ``w`` minimize the paper's Eq. 2 plus a small ridge, which makes the solution unique. There is no intercept:

    sum_i  u_i * max(0, c_i - x_i . w)  +  l2 / 2 * |w|^2

The dual problem is a quadratic program over the box ``0 <= beta <= 1``, with ``w = sum_i u_i beta_i x_i / l2``. A
primal-dual interior-point method (Mehrotra's predictor-corrector) solves the dual in a few dozen steps. Each step
solves a linear system with one equation per feature. (L-BFGS-B on the same dual stops far from the optimum if `l2` is
small.)
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

FloatArray: TypeAlias = npt.NDArray[np.float64]

_RELATIVE_GAP = 1e-10
_MAX_STEPS = 100
_SHARE_OF_LONGEST_STEP = 0.995
"""A step goes this share of the way to the boundary of the box, so that every variable stays positive."""


@dataclass(frozen=True)
class HingeSolution:
    """Weights, and bounds of the objective that certify how close the weights are to the optimum.

    Attributes:
        weights: float64[F].
        primal: Objective at the weights.
        dual: Lower bound of the objective at any weights.

    Example:
        >>> HingeSolution(np.array([1.5]), primal=2.0, dual=1.5).gap
        0.25
    """

    weights: FloatArray
    primal: float
    dual: float

    @property
    def gap(self) -> float:
        """Relative duality gap: no other weights can lower the objective by a larger share than this."""
        return max(0.0, self.primal - self.dual) / self.primal if self.primal > 0 else 0.0


def solve_hinge(
    feature_differences: FloatArray, required_leads: FloatArray, pair_weights: FloatArray, l2: float
) -> HingeSolution:
    """Solves the weighted hinge regression to a relative gap of about 1e-10.

    Args:
        feature_differences: x, the features of the better reply minus those of the worse reply, float64[N, F].
        required_leads: c, the lead in R_rbr that the better reply should have, float64[N].
        pair_weights: u, the weight of each pair in the objective, float64[N], above 0.
        l2: Strength of the ridge, above 0.

    Returns:
        The solution. If rounding errors stop the method early, the result is the best step so far; check its `gap`.

    Example:
        >>> solution = solve_hinge(np.array([[2.0]]), np.array([3.0]), np.array([1.0]), l2=0.001)
        >>> solution.weights.round(6)  # 2 * 1.5 reaches the lead of 3.
        array([1.5])
    """
    if not (required_leads > 0).any():
        return HingeSolution(np.zeros(feature_differences.shape[1]), 0.0, 0.0)
    # Rescale the problem, so that the largest pair weight and the ridge are 1. Its solution is w / scale.
    unit = float(pair_weights.max())
    scale = np.sqrt(unit / l2)
    relative_weights = pair_weights / unit
    program = _DualProgram(feature_differences * (relative_weights * scale)[:, None], required_leads * relative_weights)
    best = program.solve()
    return HingeSolution(best.scaled_weights * scale, best.primal * unit, best.dual * unit)


class _Bounds(NamedTuple):
    """The scaled primal weights of a dual point, float64[F], and the primal and dual objective."""

    scaled_weights: FloatArray
    primal: float
    dual: float


class _Iterate(NamedTuple):
    """An interior point, or a step from one point to the next; float64[N] each.

    Attributes:
        beta: Dual variables.
        slack: 1 - beta.
        lower: Multipliers of beta >= 0.
        upper: Multipliers of beta <= 1.
    """

    beta: FloatArray
    slack: FloatArray
    lower: FloatArray
    upper: FloatArray

    def mean_complementarity(self) -> float:
        """Returns the mean product of a variable and its multiplier; 0 at the optimum."""
        return float(self.beta @ self.lower + self.slack @ self.upper) / (2 * self.beta.size)

    def after(self, step: "_Iterate", length: float) -> "_Iterate":
        return _Iterate(*(value + length * change for value, change in zip(self, step, strict=True)))

    def longest_step(self, step: "_Iterate") -> float:
        """Returns the largest length up to 1 at which no variable is negative."""
        lengths = (
            (-value[change < 0] / change[change < 0]).min(initial=1.0) for value, change in zip(self, step, strict=True)
        )
        return min(lengths)


@dataclass(frozen=True)
class _DualProgram:
    """The rescaled dual: minimize ``|beta @ rows|^2 / 2 - targets . beta`` over ``0 <= beta <= 1``.

    Attributes:
        rows: float64[N, F].
        targets: float64[N].
    """

    rows: FloatArray
    targets: FloatArray

    def solve(self) -> _Bounds:
        point = self._starting_point()
        best = self._bounds(point)
        for _ in range(_MAX_STEPS):
            if best.primal - best.dual <= _RELATIVE_GAP * best.primal:
                break
            next_point = self._predictor_corrector_step(point)
            if next_point is None:
                break
            point = next_point
            bounds = self._bounds(point)
            if bounds.primal - bounds.dual < best.primal - best.dual:
                best = bounds
        return best

    def _starting_point(self) -> _Iterate:
        """Returns the center of the box; the multipliers differ by the gradient at the center."""
        beta = np.full(self.targets.size, 0.5)
        gradient = self._gradient(beta)
        return _Iterate(beta, 1 - beta, np.maximum(gradient, 0) + 1, np.maximum(-gradient, 0) + 1)

    def _gradient(self, beta: FloatArray) -> FloatArray:
        return self.rows @ (beta @ self.rows) - self.targets

    def _bounds(self, point: _Iterate) -> _Bounds:
        scaled_weights = point.beta @ self.rows
        ridge = float(scaled_weights @ scaled_weights) / 2
        hinge = float(np.maximum(0, self.targets - self.rows @ scaled_weights).sum())
        return _Bounds(scaled_weights, hinge + ridge, float(self.targets @ point.beta) - ridge)

    def _predictor_corrector_step(self, point: _Iterate) -> _Iterate | None:
        """Returns the next iterate; None if rounding errors make the linear system unsolvable."""
        # 1. Factorize. The Newton system, diag(curvature) + rows @ rows.T of shape [N, N], is a diagonal matrix
        #    plus one of rank F. By the Woodbury identity, only a matrix of shape [F, F] has to be factorized.
        curvature = point.lower / point.beta + point.upper / point.slack
        system = np.eye(self.rows.shape[1]) + (self.rows / curvature[:, None]).T @ self.rows
        if not np.isfinite(system).all():
            return None
        try:
            factor = cho_factor(system)
        except np.linalg.LinAlgError:
            return None
        residual = self._gradient(point.beta) - point.lower + point.upper  # [N], 0 if the point is stationary

        def newton_direction(lower_target: FloatArray, upper_target: FloatArray) -> _Iterate:
            """Returns the step that changes the products beta * lower and slack * upper by the targets, [N] each."""
            right_side = (lower_target / point.beta - upper_target / point.slack - residual) / curvature
            change = right_side - (self.rows @ cho_solve(factor, right_side @ self.rows)) / curvature
            return _Iterate(
                change,
                -change,
                (lower_target - point.lower * change) / point.beta,
                (upper_target + point.upper * change) / point.slack,
            )

        # 2. Predict: take a pure Newton step, which aims at complementarity 0.
        predicted = newton_direction(-point.beta * point.lower, -point.slack * point.upper)
        # 3. Center: the less the predicted step reduces the complementarity, the more the corrected step aims at the
        #    central path.
        complementarity = point.mean_complementarity()
        predicted_complementarity = point.after(predicted, point.longest_step(predicted)).mean_complementarity()
        center = complementarity * (predicted_complementarity / complementarity) ** 3
        # 4. Correct: add the second-order terms of the predicted step.
        step = newton_direction(
            center - point.beta * point.lower - predicted.beta * predicted.lower,
            center - point.slack * point.upper - predicted.slack * predicted.upper,
        )
        # 5. Move, but not onto the boundary.
        return point.after(step, min(1.0, _SHARE_OF_LONGEST_STEP * point.longest_step(step)))
