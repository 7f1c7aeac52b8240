"""The exact solver compared with another method, and the certificate checked without any solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from rbr.reward.hinge_solver import HingeSolution, solve_hinge

Array = NDArray[np.float64]
CERTIFIED = 1e-8


def objective(
    weights: Array, feature_differences: Array, required_leads: Array, pair_weights: Array, l2: float
) -> float:
    hinge = np.maximum(0, required_leads - feature_differences @ weights)
    return float(pair_weights @ hinge + l2 / 2 * weights @ weights)


def by_slsqp(feature_differences: Array, required_leads: Array, pair_weights: Array, l2: float) -> float:
    """Returns the optimum of another formulation, the primal with a slack per pair, by another method."""
    pairs, features = feature_differences.shape
    start = np.concatenate([np.zeros(features), np.maximum(0, required_leads)])
    result = minimize(
        lambda z: pair_weights @ z[features:] + l2 / 2 * z[:features] @ z[:features],
        start,
        jac=lambda z: np.concatenate([l2 * z[:features], pair_weights]),
        bounds=[(None, None)] * features + [(0, None)] * pairs,
        constraints={
            "type": "ineq",
            "fun": lambda z: feature_differences @ z[:features] + z[features:] - required_leads,
            "jac": lambda z: np.hstack([feature_differences, np.eye(pairs)]),
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert result.success
    return objective(result.x[:features], feature_differences, required_leads, pair_weights, l2)


def problem(seed: int, pairs: int = 12, features: int = 3) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    pair_weights = rng.uniform(0.2, 2, pairs)
    return rng.uniform(-1, 1, (pairs, features)), rng.normal(1, 2, pairs), pair_weights / pair_weights.sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("l2", [1e-2, 1.0])
def test_another_method_on_another_formulation_finds_nothing_better(seed: int, l2: float) -> None:
    hinge_problem = problem(seed)
    solution = solve_hinge(*hinge_problem, l2)
    assert solution.primal == pytest.approx(by_slsqp(*hinge_problem, l2), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 6), st.floats(-4, 2))
def test_the_certificate_brackets_the_objective_at_any_weights(
    seed: int, pairs: int, features: int, log: float
) -> None:
    feature_differences, required_leads, pair_weights = problem(seed, pairs, features)
    l2 = 10.0**log
    solution = solve_hinge(feature_differences, required_leads, pair_weights, l2)
    assert solution.primal == pytest.approx(
        objective(solution.weights, feature_differences, required_leads, pair_weights, l2), rel=1e-9
    )
    rounding = 1e-9 * solution.primal
    assert solution.dual <= solution.primal + rounding
    assert solution.gap <= CERTIFIED
    rng = np.random.default_rng(seed)
    for reach in (1e-3, 1e-1, 10.0):
        elsewhere = solution.weights + reach * rng.normal(size=features)
        assert objective(elsewhere, feature_differences, required_leads, pair_weights, l2) >= solution.dual - rounding


def test_the_solution_for_one_pair_equals_the_solution_by_hand() -> None:
    # By hand, w = min(c / x, u x / l2): w = c / x reaches the lead c, unless the ridge costs more.
    def weight(l2: float) -> float:
        return float(solve_hinge(np.array([[2.0]]), np.array([3.0]), np.array([1.0]), l2).weights[0])

    assert weight(0.1) == pytest.approx(1.5)
    assert weight(4.0) == pytest.approx(0.5)


def test_leads_that_already_hold_need_no_weights() -> None:
    solution = solve_hinge(np.ones((3, 2)), np.array([-1.0, -0.5, 0.0]), np.full(3, 1 / 3), 0.1)
    np.testing.assert_array_equal(solution.weights, [0, 0])
    assert (solution.primal, solution.dual, solution.gap) == (0, 0, 0)


def test_a_feature_that_never_differs_gets_no_weight() -> None:
    feature_differences, required_leads, pair_weights = problem(3)
    feature_differences[:, 1] = 0
    assert solve_hinge(feature_differences, required_leads, pair_weights, 0.01).weights[1] == pytest.approx(
        0, abs=1e-12
    )


def test_equal_features_share_their_weight_evenly() -> None:
    feature_differences, required_leads, pair_weights = problem(4)
    feature_differences[:, 2] = feature_differences[:, 0]
    weights = solve_hinge(feature_differences, required_leads, pair_weights, 0.01).weights
    assert weights[0] == pytest.approx(weights[2], rel=1e-6)
    assert abs(weights[0]) > 0.01


def test_a_pair_weight_has_the_effect_of_repeated_pairs() -> None:
    feature_differences, required_leads, _ = problem(5)
    times = np.arange(1, 13)
    repeated = np.repeat(np.arange(12), times)
    weighted = solve_hinge(feature_differences, required_leads, times / times.sum(), 0.05)
    spelled_out = solve_hinge(feature_differences[repeated], required_leads[repeated], np.full(78, 1 / 78), 0.05)
    np.testing.assert_allclose(weighted.weights, spelled_out.weights, atol=1e-6)


def test_the_order_of_pairs_does_not_matter() -> None:
    feature_differences, required_leads, pair_weights = problem(6)
    turned = solve_hinge(feature_differences[::-1], required_leads[::-1], pair_weights[::-1], 0.05)
    np.testing.assert_allclose(
        turned.weights, solve_hinge(feature_differences, required_leads, pair_weights, 0.05).weights, atol=1e-6
    )


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaling_the_scores_scales_the_weights(factor: float) -> None:
    feature_differences, required_leads, pair_weights = problem(7)
    plain = solve_hinge(feature_differences, required_leads, pair_weights, 0.5)
    scaled = solve_hinge(feature_differences, factor * required_leads, pair_weights, 0.5 / factor)
    assert scaled.gap <= CERTIFIED
    np.testing.assert_allclose(scaled.weights, factor * plain.weights, rtol=1e-5)


@pytest.mark.parametrize("l2", [1e-6, 1e-3, 1.0, 1e3])
def test_many_collinear_pairs_are_certified_at_any_ridge(l2: float) -> None:
    rng = np.random.default_rng(0)
    classes = rng.dirichlet(np.full(5, 0.05), size=800)
    feature_differences = classes[:400] - classes[400:]
    feature_differences = np.hstack([feature_differences, feature_differences[:, :2], np.zeros((400, 3))])
    solution = solve_hinge(feature_differences, rng.normal(1, 0.5, 400), np.full(400, 1 / 400), l2)
    assert solution.gap <= CERTIFIED


def test_the_gap_is_relative_to_the_objective_and_never_negative() -> None:
    assert HingeSolution(np.zeros(1), primal=2.0, dual=1.5).gap == 0.25
    assert HingeSolution(np.zeros(1), primal=2.0, dual=2.0 + 1e-15).gap == 0
