"""Solves weighted hinge regression exactly: the convex problem behind weight fitting, with a certificate.

The weights ``w`` minimize the paper's Eq. 2 plus a small ridge, which makes the solution unique. There is no intercept:

    sum_i  u_i * max(0, c_i - x_i . w)  +  l2 / 2 * |w|^2  -  g . w

under linear constraints ``a_k . w >= d_k``. A row whose side of the hinge is known can be left out: a satisfied row
adds nothing, and a violated row adds only ``u_i * x_i`` to the vector ``g``. A primal-dual interior-point method
(Mehrotra's predictor-corrector) solves the problem in about a dozen steps. Each step solves a linear system with one
equation per feature.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.optimize import nnls

from rbr.reward.solver.pair_problem import WeightConstraints

FloatArray: TypeAlias = npt.NDArray[np.float64]

RELATIVE_GAP = 1e-9
"""The method stops if no other weights can lower the objective by a larger share."""

_MAX_STEPS = 100
_SHARE_OF_LONGEST_STEP = 0.995
"""A step goes this share of the way to the boundary of the box, so that every variable stays positive."""
_CENTER_IF_STUCK = 0.5
"""Share of the complementarity that a step aims at if the last step made no progress."""
_SHIFTS = tuple(10.0**power for power in range(-14, -5))
_BLOCK = 16_384
"""Rows are multiplied in blocks of this size, so that the scaled copy of a block stays in the cache."""
_FEASIBLE = 1e-10
"""A constraint counts as satisfied if it misses its required lead by at most this much."""


@dataclass(frozen=True)
class HingeProgram:
    """The rows of a weighted hinge regression; N rows, F features.

    Attributes:
        rows: x, the features of the better reply minus those of the worse reply, float64[N, F].
        required_leads: c, the lead in R_rbr that the better reply should have, float64[N].
        row_weights: u, the weight of each row in the objective, float64[N], above 0.
        l2: Strength of the ridge, above 0.
        linear: g, the sum of ``u_i * x_i`` over violated rows that are left out, float64[F].
        constraints: Constraints that the weights must satisfy.

    Example:
        >>> program = HingeProgram(np.array([[2.0]]), np.array([3.0]), np.array([1.0]), l2=0.001,
        ...                        linear=np.zeros(1), constraints=WeightConstraints.none(1))
        >>> round(program.objective(np.array([1.0])), 6)  # The lead of 2 * 1 misses 1; the ridge adds 0.0005.
        1.0005
    """

    rows: FloatArray
    required_leads: FloatArray
    row_weights: FloatArray
    l2: float
    linear: FloatArray
    constraints: WeightConstraints

    @cached_property
    def total_weight(self) -> float:
        """Sum of the row weights."""
        return float(self.row_weights.sum())

    @cached_property
    def limit_weight(self) -> float:
        """Weight of a constraint in the complementarity, so that all constraints together weigh less than the rows."""
        return 0.1 * self.total_weight / max(1, len(self.constraints))

    def objective(self, weights: FloatArray) -> float:
        """Returns the objective at weights of shape [F]."""
        missing = np.maximum(0.0, self.required_leads - self.rows @ weights)
        ridge = self.l2 / 2 * float(weights @ weights)
        return float(self.row_weights @ missing) + ridge - float(self.linear @ weights)


@dataclass(frozen=True)
class HingeSolution:
    """The weights of a hinge regression with their certificate.

    Attributes:
        weights: float64[F].
        gap: Primal minus dual objective; no other weights can lower the objective by more.

    Example:
        >>> HingeSolution(np.array([1.5]), gap=1e-12).weights
        array([1.5])
    """

    weights: FloatArray
    gap: float


def solve_hinge(
    program: HingeProgram, start: FloatArray | None = None, *, relative_gap: float = RELATIVE_GAP
) -> HingeSolution:
    """Solves a weighted hinge regression.

    Args:
        program: Rows, ridge and constraints.
        start: Weights near the solution, float64[F]; they may violate constraints. None starts at 0.
        relative_gap: Largest gap between primal and dual objective, as a share of the primal objective.

    Returns:
        The solution. If rounding errors stop the method early, the result is the best step so far; check its `gap`. It
        is infinite if no step satisfied the constraints.

    Example:
        >>> program = HingeProgram(np.array([[2.0]]), np.array([3.0]), np.array([1.0]), l2=0.001,
        ...                        linear=np.zeros(1), constraints=WeightConstraints.none(1))
        >>> solve_hinge(program).weights.round(6)  # 2 * 1.5 reaches the lead of 3.
        array([1.5])
    """
    point = _starting_point(program, start)
    best = HingeSolution(point.weights, np.inf)
    complementarity = np.inf
    for _ in range(_MAX_STEPS):
        residuals = _residuals(program, point)
        primal, gap = _primal_and_gap(program, point, residuals)
        is_feasible = residuals.constraints.max(initial=0.0) <= max(_FEASIBLE, 0.01 * relative_gap)
        if is_feasible and gap < best.gap:
            best = HingeSolution(point.weights, gap)
        if best.gap <= relative_gap * abs(primal):
            break
        last_complementarity, complementarity = complementarity, point.complementarity(program)
        is_stuck = complementarity > last_complementarity
        next_point = _predictor_corrector_step(program, point, residuals, complementarity, is_stuck=is_stuck)
        if next_point is None:
            break
        point = next_point
    return best


class _Iterate(NamedTuple):
    """An interior point, or a step from one point to the next.

    Attributes:
        weights: float64[F].
        rows: Variables of the rows and their multipliers, float64[4, N], above 0. The first is the dual variable of the
            row divided by its weight: near 0 if the row is satisfied, near 1 if it is violated. The second is 1 minus
            the first. The third is how far the row is satisfied beyond its required lead, or a little more; the
            fourth is how far it misses the lead, or a little more. Third minus fourth is exactly the surplus lead.
        limits: Dual variable of each constraint, and how far the constraint is satisfied, float64[2, K], above 0.
    """

    weights: FloatArray
    rows: FloatArray
    limits: FloatArray

    def complementarity(self, program: HingeProgram) -> float:
        """Returns the weighted mean product of a variable and its multiplier; 0 at the optimum."""
        products = self.rows[0] * self.rows[2] + self.rows[1] * self.rows[3]
        total = float(products @ program.row_weights + self.limits[0] @ self.limits[1])
        return total / (2 * program.total_weight + program.limit_weight * self.limits.shape[1])

    def after(self, step: "_Iterate", length: float) -> "_Iterate":
        return _Iterate(
            self.weights + length * step.weights, self.rows + length * step.rows, self.limits + length * step.limits
        )

    def longest_step(self, step: "_Iterate") -> float:
        """Returns the largest length at which no variable leaves its bounds."""
        row_ratio = float((step.rows / self.rows).min(initial=-1e-300))
        limit_ratio = float((step.limits / self.limits).min(initial=-1e-300))
        return -1.0 / min(row_ratio, limit_ratio)


class _Residuals(NamedTuple):
    """What an interior point still misses; all 0 at the optimum.

    Attributes:
        stationarity: Gradient of the Lagrangian with respect to the weights, float64[F].
        constraints: Slack of each constraint minus the slack that the weights have, float64[K].
    """

    stationarity: FloatArray
    constraints: FloatArray


def _starting_point(program: HingeProgram, start: FloatArray | None) -> _Iterate:
    weights = np.zeros(program.rows.shape[1]) if start is None else start
    lead = program.rows @ weights - program.required_leads
    # At a start that is nearly right, most rows are far from the kink of their hinge. Their variables start close to
    # their final values, but never on the boundary, and the products with their multipliers are equal within a row.
    width = 1.0 if start is None or not lead.size else 0.3 * (1e-3 + float(np.abs(lead).max()))
    larger = np.abs(lead) / 2 + np.hypot(lead / 2, width)
    smaller = width**2 / larger  # The difference of the two is the absolute lead.
    surplus, missing = np.where(lead > 0, larger, smaller), np.where(lead > 0, smaller, larger)
    total = surplus + missing
    rows = np.stack([missing / total, surplus / total, surplus, missing])
    # The constraints push with what the rows leave over.
    limits = program.constraints
    slack = np.maximum(limits.rows @ weights - limits.required_leads, width)
    multipliers = program.limit_weight * width / slack
    if len(limits) and start is not None:
        left_over = program.l2 * weights - program.linear - (program.row_weights * rows[0]) @ program.rows
        multipliers += nnls(limits.rows.T, left_over)[0]
    return _Iterate(weights, rows, np.stack([multipliers, slack]))


def _residuals(program: HingeProgram, point: _Iterate) -> _Residuals:
    limits = program.constraints
    pull = (program.row_weights * point.rows[0]) @ program.rows + point.limits[0] @ limits.rows
    return _Residuals(
        program.l2 * point.weights - pull - program.linear,
        point.limits[1] - (limits.rows @ point.weights - limits.required_leads),
    )


def _primal_and_gap(program: HingeProgram, point: _Iterate, residuals: _Residuals) -> tuple[float, float]:
    """Returns the primal objective, and its distance from the dual objective."""
    missing = np.maximum(0.0, point.rows[3] - point.rows[2])
    ridge = program.l2 / 2 * float(point.weights @ point.weights)
    primal = float(program.row_weights @ missing) + ridge - float(program.linear @ point.weights)
    # The dual objective is the Lagrangian at the weights that make it stationary.
    dual_weights = point.weights - residuals.stationarity / program.l2
    dual = float((program.row_weights * point.rows[0]) @ program.required_leads)
    dual += float(point.limits[0] @ program.constraints.required_leads)
    dual -= program.l2 / 2 * float(dual_weights @ dual_weights)
    return primal, max(0.0, primal - dual)


def _predictor_corrector_step(
    program: HingeProgram, point: _Iterate, residuals: _Residuals, complementarity: float, *, is_stuck: bool
) -> _Iterate | None:
    """Returns the next iterate; None if rounding errors make the linear system unsolvable."""
    rows, limits = program.rows, program.constraints.rows
    shares, multipliers = point.rows[:2], point.rows[2:]  # [2, N] each
    limit_multipliers, slack = point.limits  # [K] each
    # 1. Factorize. All rows and constraints together form one linear system with F equations.
    ratios = multipliers / shares
    curvature = ratios[0] + ratios[1]
    row_pull, limit_pull = program.row_weights / curvature, limit_multipliers / slack
    system = _weighted_gram(rows, row_pull) + _weighted_gram(limits, limit_pull)
    system.flat[:: system.shape[0] + 1] += program.l2  # The diagonal.
    factor = _cholesky_factor(system)
    if factor is None:
        return None

    def newton_step(row_targets: FloatArray, limit_targets: FloatArray) -> _Iterate:
        """Returns the step that changes the products by the targets, [2, N] and [K]."""
        scaled = row_targets / shares
        row_side = scaled[0] - scaled[1]
        limit_side = (limit_targets + limit_multipliers * residuals.constraints) / slack
        right_side = (row_pull * row_side) @ rows + limit_side @ limits - residuals.stationarity
        weights = dpotrs(factor, right_side, lower=1)[0]
        change = np.empty_like(point.rows)
        np.divide(row_side - rows @ weights, curvature, out=change[0])
        np.negative(change[0], out=change[1])
        change[2:] = scaled - ratios * change[:2]
        limit_change = np.empty_like(point.limits)
        limit_change[1] = limits @ weights - residuals.constraints
        limit_change[0] = (limit_targets - limit_multipliers * limit_change[1]) / slack
        return _Iterate(weights, change, limit_change)

    # 2. Predict: take a pure Newton step, which aims at complementarity 0.
    row_products, limit_products = shares * multipliers, limit_multipliers * slack
    predicted = newton_step(-row_products, -limit_products)
    # 3. Center: the less the predicted step reduces the complementarity, the more the corrected step aims at the
    #    central path.
    predicted_point = point.after(predicted, min(1.0, point.longest_step(predicted)))
    reduction = (predicted_point.complementarity(program) / complementarity) ** 3
    # 4. Correct: add the second-order terms of the predicted step. With a few rows, the iterates can run in circles. If
    #    the last step made no progress, a step towards the central path without second-order terms leads out.
    second_order = 0.0 if is_stuck else 1.0
    center = complementarity * (max(_CENTER_IF_STUCK, reduction) if is_stuck else reduction)
    step = newton_step(
        center - row_products - second_order * predicted.rows[:2] * predicted.rows[2:],
        program.limit_weight * center - limit_products - second_order * predicted.limits[0] * predicted.limits[1],
    )
    # 5. Move, but not onto the boundary.
    return point.after(step, min(1.0, _SHARE_OF_LONGEST_STEP * point.longest_step(step)))


def _cholesky_factor(system: FloatArray) -> FloatArray | None:
    """Returns the factor of a system, float64[F, F]; None if it has no factor.

    Near the optimum, rounding can make a direction that only the ridge determines slightly negative. A tiny shift of
    the diagonal repairs it; the following steps correct its effect.
    """
    if not np.isfinite(system).all():
        return None
    diagonal = system.diagonal().copy()
    for shift in (0.0, *_SHIFTS):
        system.flat[:: system.shape[0] + 1] = diagonal + shift * diagonal.max()
        factor, failed = dpotrf(system, lower=1)
        if not failed:
            return factor
    return None


def _weighted_gram(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """Returns ``rows.T @ diag(weights) @ rows``, float64[F, F]."""
    if rows.shape[0] <= _BLOCK:
        return (rows * weights[:, None]).T @ rows
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, rows.shape[0], _BLOCK):
        block = slice(start, start + _BLOCK)
        gram += (rows[block] * weights[block, None]).T @ rows[block]
    return gram
