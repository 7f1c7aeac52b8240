"""Solves the fit over pairs of replies exactly.

Most pairs are far from the kink of their hinge: it is clear early whether the solution satisfies them. The solver
guesses their side at weights near the solution, solves the regression of the other pairs, and checks every guess at the
result. When no guess is wrong, the weights solve the regression of all pairs exactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.reward.solver.interior_point import RELATIVE_GAP, HingeProgram, solve_hinge
from rbr.reward.solver.pair_problem import FindViolated, PairProblem, WeightConstraints
from rbr.reward.solver.smoothed_hinge import WIDTHS, SmoothedHinge

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MAX_AT_ONCE = 20_000
"""With more pairs than this, a random part of the pairs gives the weights to start from."""
_PART_OF = 8
_FINE_WIDTHS = (0.1, 0.03)
"""The weights of a part are nearly those of all pairs, so the first steps can be skipped."""
_SMALL_PART = 300
_SMALL_PART_GAP = 1e-3
"""A small part only has to show which constraints matter, so it is solved roughly."""
_NEAR_SHARE = 0.01
_UNSURE_SHARE, _MAX_UNSURE = 0.05, 5_000
_MIN_NEAR = 200
_NEAR = 0.01
"""A pair is near the kink of its hinge if it is among this share or this number of the nearest pairs, or within this
distance. Too few near pairs cost further rounds, because guesses are wrong. Too many make each round slow. Constraints
make the start less sure, so the share is larger then."""
_MAX_ROUNDS = 1_000
_SATISFIED = 1e-8
"""A constraint counts as satisfied if it misses its required lead by at most this much."""


@dataclass(frozen=True)
class PairSolution:
    """The weights that solve the fit over pairs.

    Attributes:
        weights: float64[F].
        primal: Objective at the weights: mean hinge loss over the pairs plus ridge.
        dual: Lower bound of the objective at any weights that satisfy the constraints.
        constraints: The constraints that the solver had to add.

    Example:
        >>> solution = PairSolution(np.array([1.5]), primal=2.0, dual=1.5, constraints=WeightConstraints.none(1))
        >>> solution.gap
        0.25
    """

    weights: FloatArray
    primal: float
    dual: float
    constraints: WeightConstraints

    @property
    def gap(self) -> float:
        """Relative duality gap: no other weights can lower the objective by a larger share than this."""
        return max(0.0, self.primal - self.dual) / self.primal if self.primal > 0 else 0.0


def solve_pairs(problem: PairProblem, pair_weights: FloatArray) -> PairSolution:
    """Finds the best weights without constraints.

    Args:
        problem: The pairs.
        pair_weights: Weight of each pair in the objective, float64[N], 0 or more; their sum is 1.

    Example:
        >>> problem = PairProblem(np.array([[1.0], [0.0]]), better=np.array([0]), worse=np.array([1]),
        ...                       required_leads=np.array([1.5]), l2=0.001)
        >>> solve_pairs(problem, np.array([1.0])).weights.round(6)
        array([1.5])
    """
    constraints = WeightConstraints.none(problem.features.shape[1])
    start = _approximate_weights(problem, pair_weights, constraints)
    return _solve_under(problem, pair_weights, start, constraints)


def solve_constrained(
    problem: PairProblem, pair_weights: FloatArray, typical: FindViolated, find_violated: FindViolated
) -> PairSolution:
    """Finds the best weights under constraints that are too many to list.

    Args:
        problem: The pairs.
        pair_weights: Weight of each pair in the objective, as in `solve_pairs`.
        typical: Returns constraints that probably matter, from weights that are roughly right without constraints.
        find_violated: Returns the constraints that weights violate most; none if the weights satisfy all.

    Raises:
        ArithmeticError: Rounding errors keep the weights from satisfying the constraints.

    Example:
        >>> problem = PairProblem(np.array([[1.0], [0.0]]), better=np.array([0]), worse=np.array([1]),
        ...                       required_leads=np.array([1.5]), l2=0.001)
        >>> at_least_two = WeightConstraints(np.array([[1.0]]), np.array([2.0]))
        >>> solution = solve_constrained(problem, np.array([1.0]), lambda weights: at_least_two,
        ...                              lambda weights: WeightConstraints.none(1))
        >>> solution.weights.round(6)
        array([2.])
    """
    # The constraints can move the weights far. A small part of the pairs shows how far, and which constraints matter.
    part = _random_part(problem.better.size, _SMALL_PART)
    part_weights = pair_weights[part] / pair_weights[part].sum()
    rough = _least_squares(problem.rows(part), problem.required_leads[part], part_weights, problem.l2)
    small = refine(
        problem.part(part),
        part_weights,
        typical(rough),
        find_violated,
        start=rough,
        relative_gap=_SMALL_PART_GAP,
        near_share=1.0,
    )
    near = _approximate_weights(problem, pair_weights, small.constraints, small.weights)
    near_share = min(_UNSURE_SHARE, _MAX_UNSURE / problem.better.size)
    return refine(problem, pair_weights, small.constraints, find_violated, start=near, near_share=near_share)


def refine(
    problem: PairProblem,
    pair_weights: FloatArray,
    constraints: WeightConstraints,
    find_violated: FindViolated,
    *,
    start: FloatArray,
    relative_gap: float = RELATIVE_GAP,
    near_share: float = _NEAR_SHARE,
) -> PairSolution:
    """Finds the best weights from weights near them. The other arguments are those of `solve_constrained`.

    Args:
        problem: The pairs.
        pair_weights: Weight of each pair in the objective.
        constraints: Constraints that probably matter.
        find_violated: Returns violated constraints.
        start: Weights near the solution, float64[F].
        relative_gap: Largest relative duality gap.
        near_share: Share of the pairs whose side is not guessed at the start, in [0, 1].

    Raises:
        ArithmeticError: Rounding errors keep the weights from satisfying the constraints.

    Example:
        >>> problem = PairProblem(np.array([[1.0], [0.0]]), better=np.array([0]), worse=np.array([1]),
        ...                       required_leads=np.array([1.5]), l2=0.001)
        >>> none = WeightConstraints.none(1)
        >>> refine(problem, np.array([1.0]), none, lambda weights: none, start=np.array([1.4])).weights.round(6)
        array([1.5])
    """
    for _ in range(_MAX_ROUNDS):
        solution = _solve_under(problem, pair_weights, start, constraints, relative_gap, near_share)
        violated = find_violated(solution.weights)
        new = violated.without(constraints)
        if not len(new):
            missing = violated.required_leads - violated.rows @ solution.weights
            if missing.max(initial=0.0) > max(_SATISFIED, relative_gap):
                break
            return solution
        start, constraints = solution.weights, constraints.and_also(new)
    raise ArithmeticError("rounding errors keep the weights from satisfying their constraints")


def _approximate_weights(
    problem: PairProblem, pair_weights: FloatArray, constraints: WeightConstraints, start: FloatArray | None = None
) -> FloatArray:
    """Returns weights near the solution, float64[F].

    Args:
        problem: The pairs.
        pair_weights: Weight of each pair in the objective.
        constraints: Constraints that hold nearly.
        start: Weights that are roughly right, float64[F]; None starts at 0.
    """
    n_pairs = problem.better.size
    if n_pairs > _MAX_AT_ONCE:
        part = _random_part(n_pairs, n_pairs // _PART_OF)
        part_weights = pair_weights[part] / pair_weights[part].sum()
        start = _approximate_weights(problem.part(part), part_weights, constraints, start)
        # Near a constraint, narrow parabolas need many steps.
        widths = WIDTHS[-1:] if len(constraints) else _FINE_WIDTHS
    elif start is None:
        start, widths = np.zeros(problem.features.shape[1]), WIDTHS
    else:
        widths = WIDTHS[-1:]
    return SmoothedHinge(problem, pair_weights, constraints).minimize(start, widths)


def _solve_under(
    problem: PairProblem,
    pair_weights: FloatArray,
    start: FloatArray,
    constraints: WeightConstraints,
    relative_gap: float = RELATIVE_GAP,
    near_share: float = _NEAR_SHARE,
) -> PairSolution:
    zero = np.zeros(start.size)
    if problem.objective(zero, pair_weights) == 0 and (constraints.required_leads <= 0).all():
        return PairSolution(zero, 0.0, 0.0, constraints)  # A gap relative to 0 has no meaning.
    weights = start
    leads = problem.leads(weights)
    near, is_violated = _near_kink(leads, near_share), leads < 0
    while True:
        rows = np.flatnonzero(near & (pair_weights > 0))
        program = HingeProgram(
            problem.rows(rows),
            problem.required_leads[rows],
            pair_weights[rows],
            problem.l2,
            problem.pull(np.where(~near & is_violated, pair_weights, 0.0)),
            constraints,
        )
        solution = solve_hinge(program, weights, relative_gap=relative_gap)
        weights = solution.weights
        leads = problem.leads(weights)
        wrong = ~near & ((leads < 0) != is_violated)
        if not wrong.any():
            break
        near |= wrong | _near_kink(leads, near_share)
    primal = float(pair_weights @ np.maximum(0.0, -leads)) + problem.l2 / 2 * float(weights @ weights)
    return PairSolution(weights, primal, primal - solution.gap, constraints)


def _least_squares(rows: FloatArray, leads: FloatArray, row_weights: FloatArray, l2: float) -> FloatArray:
    """Returns the weights whose leads are nearest to the required leads, float64[F]. They show most signs."""
    weighted = rows * row_weights[:, None]
    return np.linalg.solve(weighted.T @ rows + l2 * np.eye(rows.shape[1]), leads @ weighted).astype(np.float64)


def _random_part(n_pairs: int, size: int) -> NDArray[np.intp]:
    """Returns about `size` of the pairs, or all pairs if there are fewer, ascending."""
    return np.flatnonzero(np.random.default_rng(0).random(n_pairs) * n_pairs < size)


def _near_kink(leads: FloatArray, share: float) -> BoolArray:
    """Returns which pairs are too near the kink of their hinge to guess their side, bool[N]."""
    distances = np.abs(leads)
    n_near = min(leads.size, max(_MIN_NEAR, int(share * leads.size)))
    return distances <= max(_NEAR, np.partition(distances, n_near - 1)[n_near - 1])
