"""Fits over pairs: guesses about far pairs and a growing set of constraints do not change the exact solution."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.reward.solver.interior_point import HingeProgram, solve_hinge
from rbr.reward.solver.pair_problem import FindViolated, PairProblem, WeightConstraints
from rbr.reward.solver.pair_solver import PairSolution, refine, solve_constrained, solve_pairs
from tests.rbr.reward.solver.cutting_planes import bounds_of_optimum

Array = NDArray[np.float64]
CERTIFIED = 1e-8


def random_pairs(seed: int, pairs: int, features: int = 4, l2: float = 0.01, noise: float = 1.0) -> PairProblem:
    """Returns random pairs of replies with class probabilities; the leads contradict the features."""
    rng = np.random.default_rng(seed)
    replies = rng.dirichlet(np.full(features, 0.3), size=max(2, pairs // 2))
    better = rng.integers(0, len(replies), pairs).astype(np.int32)
    worse = rng.integers(0, len(replies), pairs).astype(np.int32)
    required_leads = 1 + noise * rng.normal(size=pairs) - 2 * (replies[better, 0] - replies[worse, 0])
    return PairProblem(replies, better, worse, required_leads, l2)


def equal_weights(problem: PairProblem) -> Array:
    return np.full(problem.better.size, 1 / problem.better.size)


def as_program(problem: PairProblem, pair_weights: Array, constraints: WeightConstraints | None = None) -> HingeProgram:
    """Returns all pairs as rows, with no side guessed."""
    n_features = problem.features.shape[1]
    return HingeProgram(
        problem.rows(np.arange(problem.better.size)),
        problem.required_leads,
        pair_weights,
        problem.l2,
        np.zeros(n_features),
        WeightConstraints.none(n_features) if constraints is None else constraints,
    )


def random_constraints(seed: int, count: int, features: int) -> WeightConstraints:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, (count, features))
    return WeightConstraints(rows, rows @ rng.normal(0, 2, features) - rng.choice([0.0, 0.5], count))


def most_violated(constraints: WeightConstraints, at_once: int = 1) -> FindViolated:
    """Returns a search that finds only a few violated constraints at a time."""

    def search(weights: Array) -> WeightConstraints:
        missing = constraints.required_leads - constraints.rows @ weights
        worst = np.argsort(-missing, kind="stable")[:at_once]
        found = worst[missing[worst] > 1e-9]
        return WeightConstraints(constraints.rows[found], constraints.required_leads[found])

    return search


def constrained(problem: PairProblem, pair_weights: Array, constraints: WeightConstraints) -> PairSolution:
    """Solves under constraints of which the solver knows none at the start."""
    none = WeightConstraints.none(problem.features.shape[1])
    return solve_constrained(problem, pair_weights, lambda weights: none, most_violated(constraints))


@pytest.mark.parametrize("pairs", [1, 2, 7, 40])
@pytest.mark.parametrize("l2", [1e-3, 1.0])
@pytest.mark.parametrize("limits", [0, 3])
def test_cutting_planes_find_nothing_better(pairs: int, l2: float, limits: int) -> None:
    problem = random_pairs(pairs, pairs, l2=l2)
    pair_weights, constraints = equal_weights(problem), random_constraints(pairs, limits, 4)
    solution = constrained(problem, pair_weights, constraints)
    bounds = bounds_of_optimum(as_program(problem, pair_weights, constraints))
    close = 1e-6 * max(1e-3, solution.primal)
    assert bounds.lower - close <= solution.primal <= bounds.upper + close
    assert solution.gap <= CERTIFIED


@pytest.mark.parametrize("limits", [0, 5])
def test_all_pairs_at_once_give_the_same_weights_as_a_few_near_pairs(limits: int) -> None:
    problem = random_pairs(0, 20_000, features=8, l2=1e-3)
    pair_weights, constraints = equal_weights(problem), random_constraints(1, limits, 8)
    solution = constrained(problem, pair_weights, constraints)
    whole = as_program(problem, pair_weights, constraints)
    at_once = solve_hinge(whole)
    np.testing.assert_allclose(solution.weights, at_once.weights, atol=1e-5)
    assert solution.primal == pytest.approx(whole.objective(at_once.weights), rel=1e-9)
    assert solution.gap <= CERTIFIED
    assert (constraints.rows @ solution.weights - constraints.required_leads).min(initial=0.0) >= -CERTIFIED


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 600), st.integers(1, 6), st.integers(0, 6), st.floats(-4, 1))
def test_the_certificate_brackets_the_objective_at_any_weights_that_satisfy_the_constraints(
    seed: int, pairs: int, features: int, limits: int, log_l2: float
) -> None:
    problem = random_pairs(seed, pairs, features, 10.0**log_l2)
    pair_weights, constraints = equal_weights(problem), random_constraints(seed, limits, features)
    solution = constrained(problem, pair_weights, constraints)
    rounding = 1e-9 * max(1.0, solution.primal)
    assert solution.primal == pytest.approx(problem.objective(solution.weights, pair_weights), rel=1e-9, abs=1e-15)
    assert solution.dual <= solution.primal + rounding
    assert solution.gap <= CERTIFIED
    rng = np.random.default_rng(seed)
    for reach in (1e-3, 1e-1, 10.0):
        for elsewhere in solution.weights + reach * rng.normal(size=(5, features)):
            if (constraints.rows @ elsewhere >= constraints.required_leads).all():
                assert problem.objective(elsewhere, pair_weights) >= solution.dual - rounding


def with_leads(leads: Callable[[PairProblem], Array]) -> PairProblem:
    problem = random_pairs(3, 300)
    return PairProblem(problem.features, problem.better, problem.worse, leads(problem), problem.l2)


@pytest.mark.parametrize(
    "problem",
    [
        with_leads(lambda problem: np.minimum(problem.required_leads, -0.1)),
        with_leads(lambda problem: np.zeros(problem.better.size)),
        with_leads(lambda problem: np.where(problem.better % 2, 0.0, -1.0)),
    ],
    ids=["all leads hold with room", "all leads are ties", "some leads are ties"],
)
def test_if_all_leads_hold_without_weights_the_weights_are_exactly_zero(problem: PairProblem) -> None:
    solution = solve_pairs(problem, equal_weights(problem))
    np.testing.assert_array_equal(solution.weights, np.zeros(4))
    assert (solution.primal, solution.dual, solution.gap) == (0.0, 0.0, 0.0)


def test_one_lead_that_is_missed_a_little_is_corrected() -> None:
    problem = with_leads(lambda problem: np.where(np.arange(problem.better.size) == 7, 1e-6, -1.0))
    solution = solve_pairs(problem, equal_weights(problem))
    assert 0 < solution.primal < 1e-6 / 300
    assert solution.gap <= CERTIFIED


def test_replies_without_any_difference_get_no_weights() -> None:
    problem = random_pairs(4, 50)
    alike = PairProblem(np.ones((25, 4)), problem.better, problem.worse, problem.required_leads, 0.01)
    np.testing.assert_allclose(solve_pairs(alike, equal_weights(alike)).weights, 0, atol=1e-12)


def test_a_pair_weight_has_the_effect_of_repeated_pairs_and_zero_leaves_a_pair_out() -> None:
    problem = random_pairs(5, 200)
    times = np.random.default_rng(0).integers(0, 4, 200)
    weighted = solve_pairs(problem, times / times.sum())
    repeated = problem.part(np.repeat(np.arange(200), times))
    spelled_out = solve_pairs(repeated, equal_weights(repeated))
    np.testing.assert_allclose(weighted.weights, spelled_out.weights, atol=1e-6)


@pytest.mark.parametrize("pairs", [50, 20_000])
def test_solving_twice_gives_the_same_bytes(pairs: int) -> None:
    problem, limits = random_pairs(6, pairs), random_constraints(6, 4, 4)
    first, second = (constrained(problem, equal_weights(problem), limits) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()
    assert (first.primal, first.dual) == (second.primal, second.dual)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 10), st.integers(0, 4))
def test_a_refit_reaches_the_solution_from_any_start(seed: int, distance: float, limits: int) -> None:
    problem, constraints = random_pairs(seed, 400), random_constraints(seed, limits, 4)
    pair_weights = equal_weights(problem)
    solution = constrained(problem, pair_weights, constraints)
    start = solution.weights + distance * np.random.default_rng(seed).normal(size=4)
    again = refine(problem, pair_weights, WeightConstraints.none(4), most_violated(constraints), start=start)
    assert again.primal == pytest.approx(solution.primal, rel=1e-8)
    assert again.gap <= CERTIFIED


def test_only_constraints_that_were_violated_on_the_way_are_added() -> None:
    problem = random_pairs(8, 100)
    pair_weights = equal_weights(problem)
    free = solve_pairs(problem, pair_weights)
    far_away = WeightConstraints(np.eye(4), free.weights - 5.0)
    solution = constrained(problem, pair_weights, far_away)
    assert len(solution.constraints) == 0
    np.testing.assert_allclose(solution.weights, free.weights, atol=1e-6)
    just_above = WeightConstraints(np.eye(4)[:1], free.weights[:1] + 0.5)
    moved = constrained(problem, pair_weights, just_above)
    assert len(moved.constraints) == 1
    assert moved.weights[0] == pytest.approx(free.weights[0] + 0.5, abs=1e-8)
    assert moved.primal > free.primal


def test_the_gap_is_relative_to_the_objective_and_never_negative() -> None:
    none = WeightConstraints.none(1)
    assert PairSolution(np.zeros(1), primal=2.0, dual=1.5, constraints=none).gap == 0.25
    assert PairSolution(np.zeros(1), primal=2.0, dual=2.0 + 1e-15, constraints=none).gap == 0
