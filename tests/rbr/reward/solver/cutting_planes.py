"""An independent solver for the tests: Kelley's cutting planes, with HiGHS for the linear programs.

The fit is a linear program except for its ridge. The ridge is a sum of parabolas, one per weight, so a few tangents per
weight replace it. Every linear program gives a lower bound, and its weights give an upper bound. New tangents at the
weights bring the bounds together.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linprog

from rbr.reward.solver.interior_point import HingeProgram

Array = NDArray[np.float64]

_TOLERANCE = 1e-10
_MAX_PROGRAMS = 100


@dataclass(frozen=True)
class Bounds:
    """Bounds of the smallest objective under the constraints, and weights that reach the upper bound."""

    lower: float
    upper: float
    weights: Array


def bounds_of_optimum(program: HingeProgram, distance: float = 1e-7) -> Bounds:
    """Returns bounds that are apart by at most this share of the objective, or by as little in absolute terms."""
    n_rows, n_features = program.rows.shape
    # The variables are the weights, the lead that each row misses, and the ridge of each weight.
    cost = np.concatenate([-program.linear, program.row_weights, np.ones(n_features)])
    misses = sp.hstack([-sp.csr_matrix(program.rows), -sp.eye(n_rows), sp.csr_matrix((n_rows, n_features))])
    limits = np.hstack([-program.constraints.rows, np.zeros((len(program.constraints), n_rows + n_features))])
    fixed = sp.vstack([misses, sp.csr_matrix(limits)])
    fixed_bounds = np.concatenate([-program.required_leads, -program.constraints.required_leads])
    points = [np.full(n_features, sign * 10.0**power) for power in range(-2, 5) for sign in (-1, 1)]
    lower, upper, best = -np.inf, np.inf, np.zeros(n_features)
    for _ in range(_MAX_PROGRAMS):
        # The ridge of a weight is on or above each tangent: ridge >= l2 * point * weight - l2 / 2 * point^2.
        tangents = sp.vstack(
            [
                sp.hstack([sp.diags(program.l2 * point), sp.csr_matrix((n_features, n_rows)), -sp.eye(n_features)])
                for point in points
            ]
        )
        solved = linprog(
            cost,
            A_ub=sp.vstack([fixed, tangents]),
            b_ub=np.concatenate([fixed_bounds, *(program.l2 / 2 * point**2 for point in points)]),
            bounds=[(None, None)] * n_features + [(0, None)] * (n_rows + n_features),
            method="highs",
            options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
        )
        assert solved.status == 0, solved.message
        weights = solved.x[:n_features]
        lower = max(lower, solved.fun)
        if program.objective(weights) < upper:
            upper, best = program.objective(weights), weights
        if upper - lower <= distance * max(1e-3, abs(upper)):
            return Bounds(lower, upper, best)
        points.append(weights)
    raise AssertionError(f"the bounds {lower} and {upper} do not meet")
