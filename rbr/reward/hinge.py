"""Exact weighted hinge regression: the convex problem behind weight fitting, with a certificate.

Minimizes over ``w``, without bias, the paper's Eq. 2 plus a small ridge that makes the answer unique:

    sum_i  u_i * max(0, c_i - x_i . w)  +  l2 / 2 * |w|^2

through its dual, a quadratic program over the box ``0 <= beta <= 1``, where
``w = sum_i u_i beta_i x_i / l2``. A primal-dual interior point method (Mehrotra's predictor-corrector) needs a
few dozen linear systems of feature size. L-BFGS-B on the same dual stops far from the optimum where `l2` is small.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

FloatArray: TypeAlias = npt.NDArray[np.float64]

RELATIVE_GAP = 1e-10
MAX_STEPS = 100
_INTERIOR = 0.995


@dataclass(frozen=True)
class HingeSolution:
    """Weights and the bounds that prove how good they are.

    Attributes:
        weights: float64[F].
        primal: Objective at the weights.
        dual: A lower bound of the objective at any weights.
    """

    weights: FloatArray
    primal: float
    dual: float

    @property
    def gap(self) -> float:
        """Relative duality gap: the objective is within this share of the best possible one."""
        return max(0.0, self.primal - self.dual) / self.primal if self.primal > 0 else 0.0


def solve_hinge(differences: FloatArray, constants: FloatArray, shares: FloatArray, l2: float) -> HingeSolution:
    """Solves the problem of this module to a relative gap of about 1e-10.

    Args:
        differences: x, float64[N, F].
        constants: c, float64[N].
        shares: u, float64[N], above 0.
        l2: Ridge strength, above 0.

    Returns:
        The solution. Where rounding stops the method early, the best step so far: read its `gap`.
    """
    if not (constants > 0).any():
        return HingeSolution(np.zeros(differences.shape[1]), 0.0, 0.0)
    unit = float(shares.max())
    scale = np.sqrt(unit / l2)
    weighing = shares / unit
    program = _BoxProgram(differences * (weighing * scale)[:, None], constants * weighing, weighing)
    best = program.descend()
    return HingeSolution(best.direction * scale, best.primal * unit, best.dual * unit)


class _Bounds(NamedTuple):
    direction: FloatArray
    primal: float
    dual: float


class _Iterate(NamedTuple):
    """Dual variables, their slack to 1, and the multipliers of the two sides of the box; float64[N] each."""

    beta: FloatArray
    slack: FloatArray
    lower: FloatArray
    upper: FloatArray

    def complementarity(self) -> float:
        return float(self.beta @ self.lower + self.slack @ self.upper) / (2 * self.beta.size)

    def moved(self, step: "_Iterate", length: float) -> "_Iterate":
        return _Iterate(*(value + length * change for value, change in zip(self, step, strict=True)))

    def room(self, step: "_Iterate") -> float:
        """Longest length up to 1 that keeps every variable positive."""
        lengths = (
            (-value[change < 0] / change[change < 0]).min(initial=1.0) for value, change in zip(self, step, strict=True)
        )
        return min(lengths)


@dataclass(frozen=True)
class _BoxProgram:
    """Minimize ``|rows' beta|^2 / 2 - targets . beta`` over ``0 <= beta <= 1``."""

    rows: FloatArray
    targets: FloatArray
    weighing: FloatArray

    def descend(self) -> _Bounds:
        point = self._start()
        best = self._bounds(point)
        for _ in range(MAX_STEPS):
            if best.primal - best.dual <= RELATIVE_GAP * best.primal:
                break
            following = self._step(point)
            if following is None:
                break
            point = following
            reached = self._bounds(point)
            if reached.primal - reached.dual < best.primal - best.dual:
                best = reached
        return best

    def _start(self) -> _Iterate:
        beta = np.full(self.targets.size, 0.5)
        gradient = self._gradient(beta)
        return _Iterate(beta, 1 - beta, np.maximum(gradient, 0) + 1, np.maximum(-gradient, 0) + 1)

    def _gradient(self, beta: FloatArray) -> FloatArray:
        return self.rows @ (beta @ self.rows) - self.targets

    def _bounds(self, point: _Iterate) -> _Bounds:
        direction = point.beta @ self.rows
        ridge = float(direction @ direction) / 2
        hinge = float(np.maximum(0, self.targets - self.rows @ direction).sum())
        return _Bounds(direction, hinge + ridge, float(self.targets @ point.beta) - ridge)

    def _step(self, point: _Iterate) -> _Iterate | None:
        curvature = point.lower / point.beta + point.upper / point.slack
        system = np.eye(self.rows.shape[1]) + (self.rows / curvature[:, None]).T @ self.rows
        if not np.isfinite(system).all():
            return None
        try:
            factor = cho_factor(system)
        except np.linalg.LinAlgError:
            return None
        residual = self._gradient(point.beta) - point.lower + point.upper

        def towards(lower: FloatArray, upper: FloatArray) -> _Iterate:
            # The N x N system is diagonal plus rank F (Woodbury), so only `factor` has to be inverted.
            right = (lower / point.beta - upper / point.slack - residual) / curvature
            change = right - (self.rows @ cho_solve(factor, right @ self.rows)) / curvature
            return _Iterate(
                change,
                -change,
                (lower - point.lower * change) / point.beta,
                (upper + point.upper * change) / point.slack,
            )

        now = point.complementarity()
        predicted = towards(-point.beta * point.lower, -point.slack * point.upper)
        ahead = point.moved(predicted, point.room(predicted)).complementarity()
        center = now * (ahead / now) ** 3
        step = towards(
            center - point.beta * point.lower - predicted.beta * predicted.lower,
            center - point.slack * point.upper - predicted.slack * predicted.upper,
        )
        return point.moved(step, min(1.0, _INTERIOR * point.room(step)))
