"""The interior-point method compared with cutting planes, and its certificate checked without any solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.reward.solver.interior_point import HingeProgram, solve_hinge
from rbr.reward.solver.pair_problem import WeightConstraints
from tests.rbr.reward.solver.cutting_planes import bounds_of_optimum

Array = NDArray[np.float64]
ROUNDING = 1e-9


def program(
    rows: object,
    required_leads: object,
    l2: float,
    *,
    row_weights: Array | None = None,
    linear: Array | None = None,
    limits: tuple[object, object] | None = None,
) -> HingeProgram:
    """Returns a program; all rows have the same weight, and nothing else acts on the weights, unless given."""
    rows, required_leads = np.array(rows, dtype=np.float64), np.array(required_leads, dtype=np.float64)
    n_rows, n_features = rows.shape
    constraints = WeightConstraints.none(n_features)
    if limits is not None:
        constraints = WeightConstraints(*(np.array(part, dtype=np.float64) for part in limits))
    return HingeProgram(
        rows,
        required_leads,
        np.full(n_rows, 1 / n_rows) if row_weights is None else row_weights,
        l2,
        np.zeros(n_features) if linear is None else linear,
        constraints,
    )


def random_program(
    seed: int, rows: int = 12, features: int = 3, limits: int = 0, l2: float = 0.05, decimals: int = 16
) -> HingeProgram:
    """Returns a random program. With few decimals, many rows are equal or tied, and features are 0 or collinear."""
    rng = np.random.default_rng(seed)
    row_weights = rng.uniform(0.2, 2, rows)
    feasible = rng.normal(0, 2, features)
    limit_rows = rng.uniform(-1, 1, (limits, features)).round(decimals)
    return program(
        rng.uniform(-1, 1, (rows, features)).round(decimals),
        rng.normal(1, 2, rows).round(decimals),
        l2,
        row_weights=row_weights / row_weights.sum(),
        limits=(limit_rows, limit_rows @ feasible - rng.choice([0.0, 0.5], limits)),
    )


def assert_solved(hinge_program: HingeProgram) -> Array:
    """Checks the solution against the bounds that cutting planes give, and returns the weights."""
    solution, bounds = solve_hinge(hinge_program), bounds_of_optimum(hinge_program)
    objective = hinge_program.objective(solution.weights)
    close = 1e-6 * max(1e-3, abs(objective))
    assert bounds.lower - close <= objective <= bounds.upper + close
    assert 0 <= solution.gap <= 1e-8 * max(1e-3, abs(objective))
    limits = hinge_program.constraints
    assert (limits.rows @ solution.weights - limits.required_leads).min(initial=0.0) >= -ROUNDING
    return solution.weights


@pytest.mark.parametrize("l2", [1e-3, 1e-1, 10.0])
@pytest.mark.parametrize("limits", [0, 4])
@pytest.mark.parametrize("decimals", [0, 1, 16])
def test_cutting_planes_find_nothing_better(l2: float, limits: int, decimals: int) -> None:
    for seed in range(2):
        assert_solved(random_program(seed, rows=15 + 10 * seed, limits=limits, l2=l2, decimals=decimals))


ROWS = [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]
DEGENERATE = {
    "one row": program([[2.0]], [3.0], 0.1),
    "one row of zeros": program([[0.0, 0.0]], [1.0], 0.1),
    "equal rows": program([[1.0, 0.5]] * 6, [1.0] * 6, 0.01),
    "equal rows with other leads": program([[1.0, 0.5]] * 6, range(6), 0.01),
    "rows that contradict each other": program([[1.0], [-1.0]], [1.0, 1.0], 0.01),
    "ties on the kink": program([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 1.0, 2.0], 1e-4),
    "collinear features": program([[1.0, 2.0, 3.0], [0.5, 1.0, 1.5], [-1.0, -2.0, -3.0]], [1.0, 2.0, -3.0], 0.01),
    "a feature that is 0": program([[1.0, 0.0], [0.3, 0.0]], [1.0, 2.0], 0.01),
    "all leads hold at 0": program(ROWS, [-1.0, -2.0, -0.5], 0.1),
    "an active constraint": program(ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[-1.0, 0.0]], [0.0])),
    "a constraint that does not matter": program(ROWS, [1.0, 1.0, 0.0], 0.01, limits=([[1.0, 0.0]], [-50.0])),
    "a constraint twice": program(ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[-1.0, 0.0]] * 2, [0.0, 0.0])),
    "a constraint and its multiple": program(ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[-1, 0], [-3, 0]], [-0.1, -0.3])),
    "a constraint between two others": program(
        ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[1, 1], [1, 0], [0, 1]], [4.0, 2.0, 2.0])
    ),
    "an equation as two constraints": program(ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[1, 1], [-1, -1]], [0.5, -0.5])),
    "constraints that leave one point": program(
        ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[1, 0], [-1, 0], [0, 1], [0, -1]], [0.3, -0.3, -1.0, 1.0])
    ),
    "more constraints than rows": program(
        [[1.0, 1.0]], [1.0], 0.1, limits=(np.eye(2).repeat(5, axis=0), np.arange(10) / 10)
    ),
    "left-out rows that pull": program(ROWS, [1.0, 1.0, 0.0], 0.5, linear=np.array([0.4, -0.2])),
    "left-out rows that pull against a constraint": program(
        ROWS, [1.0, 1.0, 0.0], 0.5, linear=np.array([0.4, -0.2]), limits=([[-1.0, 0.0]], [0.0])
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_programs_are_solved_too(name: str) -> None:
    assert_solved(DEGENERATE[name])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 6), st.integers(0, 4), st.floats(-4, 2))
def test_the_certificate_brackets_the_objective_at_any_weights_that_satisfy_the_constraints(
    seed: int, rows: int, features: int, limits: int, log_l2: float
) -> None:
    hinge_program = random_program(seed, rows, features, limits, 10.0**log_l2)
    solution = solve_hinge(hinge_program)
    objective = hinge_program.objective(solution.weights)
    assert solution.gap <= 1e-8 * max(1e-3, objective)
    lower_bound = objective - solution.gap - ROUNDING * max(1.0, objective)
    rng = np.random.default_rng(seed)
    constraints = hinge_program.constraints
    for reach in (1e-3, 1e-1, 10.0):
        for elsewhere in solution.weights + reach * rng.normal(size=(10, features)):
            if (constraints.rows @ elsewhere >= constraints.required_leads).all():
                assert hinge_program.objective(elsewhere) >= lower_bound


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 4), st.floats(0, 30))
def test_the_start_does_not_change_the_solution(seed: int, limits: int, distance: float) -> None:
    hinge_program = random_program(seed, limits=limits)
    from_zero = solve_hinge(hinge_program).weights
    start = from_zero + distance * np.random.default_rng(seed).normal(size=3)
    np.testing.assert_allclose(solve_hinge(hinge_program, start).weights, from_zero, atol=2e-4)
    assert hinge_program.objective(solve_hinge(hinge_program, start).weights) == pytest.approx(
        hinge_program.objective(from_zero), rel=1e-8
    )


@pytest.mark.parametrize(("l2", "weight"), [(0.1, 1.5), (4.0, 0.5)])
def test_the_solution_for_one_pair_equals_the_solution_by_hand(l2: float, weight: float) -> None:
    # By hand, w = min(c / x, u x / l2): w = c / x reaches the lead c, unless the ridge costs more.
    assert solve_hinge(program([[2.0]], [3.0], l2)).weights == pytest.approx([weight])


def test_many_tiny_programs_are_solved_from_any_start() -> None:
    # With a few rows, the iterates of a plain predictor-corrector method can run in circles.
    rng = np.random.default_rng(0)
    for seed in range(600):
        rows, features, limits = rng.integers(1, 5), rng.integers(1, 8), rng.choice([0, 1, 3])
        hinge_program = random_program(seed, rows, features, limits, 10.0 ** rng.uniform(-4, 1), rng.choice([1, 16]))
        start = None if seed % 2 else rng.normal(0, 2, features)
        solution = solve_hinge(hinge_program, start)
        assert solution.gap <= 1e-8 * max(1e-3, hinge_program.objective(solution.weights)), seed


def test_a_constraint_moves_the_weights_no_further_than_it_must() -> None:
    limited = program([[2.0]], [3.0], 0.1, limits=([[1.0], [-1.0]], [-9.0, -1.25]))
    assert solve_hinge(limited).weights == pytest.approx([1.25])


def test_equal_features_share_their_weight_evenly() -> None:
    once = random_program(4)
    rows = once.rows.copy()
    rows[:, 2] = rows[:, 0]
    weights = solve_hinge(program(rows, once.required_leads, 0.01)).weights
    assert weights[0] == pytest.approx(weights[2], rel=1e-6)
    assert abs(weights[0]) > 0.01


def test_a_row_weight_has_the_effect_of_repeated_rows() -> None:
    once = random_program(5)
    times = np.arange(1, 13)
    repeated = np.repeat(np.arange(12), times)
    weighted = program(once.rows, once.required_leads, 0.05, row_weights=times / times.sum())
    spelled_out = program(once.rows[repeated], once.required_leads[repeated], 0.05)
    np.testing.assert_allclose(solve_hinge(weighted).weights, solve_hinge(spelled_out).weights, atol=1e-6)


def test_rows_whose_side_is_known_can_be_left_out() -> None:
    whole = random_program(7, rows=40)
    weights = solve_hinge(whole).weights
    leads = whole.rows @ weights - whole.required_leads
    near, violated = np.abs(leads) < 0.5, leads <= -0.5
    assert near.any() and violated.any() and (~near & ~violated).any()
    part = program(
        whole.rows[near],
        whole.required_leads[near],
        whole.l2,
        row_weights=whole.row_weights[near],
        linear=whole.row_weights[violated] @ whole.rows[violated],
    )
    np.testing.assert_allclose(solve_hinge(part).weights, weights, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaling_the_scores_scales_the_weights(factor: float) -> None:
    plain = random_program(7, l2=0.5)
    scaled = program(plain.rows, factor * plain.required_leads, plain.l2 / factor, row_weights=plain.row_weights)
    solution = solve_hinge(scaled)
    assert solution.gap <= 1e-8 * scaled.objective(solution.weights)
    np.testing.assert_allclose(solution.weights, factor * solve_hinge(plain).weights, rtol=1e-5)


@pytest.mark.parametrize("l2", [1e-6, 1e-3, 1.0, 1e3])
def test_many_collinear_rows_are_certified_at_any_ridge(l2: float) -> None:
    rng = np.random.default_rng(0)
    classes = rng.dirichlet(np.full(5, 0.05), size=800)
    rows = classes[:400] - classes[400:]
    rows = np.hstack([rows, rows[:, :2], np.zeros((400, 3))])
    hinge_program = program(rows, rng.normal(1, 0.5, 400), l2)
    solution = solve_hinge(hinge_program)
    assert solution.gap <= 1e-8 * hinge_program.objective(solution.weights)


def test_constraints_that_contradict_each_other_have_an_infinite_gap() -> None:
    contradiction = program(ROWS, [1.0, 1.0, 0.0], 0.1, limits=([[1.0, 0.0], [-1.0, 0.0]], [1.0, 1.0]))
    assert solve_hinge(contradiction).gap == np.inf
