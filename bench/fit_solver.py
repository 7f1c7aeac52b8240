"""Compares the exact solver of the weight fit with iterative methods on the same pairs and the same objective.

    python bench/fit_solver.py [--pairs 10000] [--l2 0.01] [--near 1e-6]

Each method runs until its objective is close to the optimum (relative distance `--near`), or until its maximum number
of steps. The last column is the largest distance of a weight from its exact value. The objective is flat near the
optimum, so the weights converge after the objective. Times are wall-clock times; set OMP_NUM_THREADS=1 to measure one
thread. The time of the exact solver includes its certificate.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rbr.reward.hinge_solver import solve_hinge

Array = NDArray[np.float64]

ADAM_STEPS = 20_000
ADAM_RATE = 0.01
SMOOTHINGS = tuple(10.0**-power for power in range(1, 9))
MIN_REPEATS, MAX_REPEATS = 3, 9


@dataclass(frozen=True)
class HingeProblem:
    """The objective mean_i max(0, required_leads[i] - feature_differences[i] . w) + l2 / 2 |w|^2.

    Attributes:
        feature_differences: Features of the better reply minus features of the worse reply, (pairs, features).
        required_leads: Least reward difference of each pair, (pairs,).
        l2: Strength of the ridge.
    """

    feature_differences: Array
    required_leads: Array
    l2: float

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        """Returns the objective and a subgradient of shape (features,)."""
        violation = self.required_leads - self.feature_differences @ weights
        active = violation > 0
        value = violation[active].sum() / violation.size + self.l2 / 2 * weights @ weights
        return float(value), self.l2 * weights - active @ self.feature_differences / violation.size

    def smoothed(self, weights: Array, width: float) -> tuple[float, Array]:
        """Returns the objective and its gradient after a parabola of this width replaces the corner of the hinge."""
        violation = self.required_leads - self.feature_differences @ weights
        slope = np.clip(violation / width, 0, 1)
        value = (slope * (violation - width * slope / 2)).mean() + self.l2 / 2 * weights @ weights
        return float(value), self.l2 * weights - slope @ self.feature_differences / violation.size


def random_pairs(pairs: int, l2: float, seed: int = 0) -> HingeProblem:
    """Returns random pairs like those of a fit: confident grades, classes computed from grades, noisy scores."""
    rng = np.random.default_rng(seed)

    def features(truth: Array) -> Array:
        p = np.clip(np.abs(truth - rng.beta(0.3, 6, truth.shape)), 0, 1)
        ideal = p[:, 0] * p[:, 1] * (1 - p[:, 2:8]).prod(axis=1) * (1 - p[:, 8])
        fair = p[:, 0] * p[:, 1] * (1 - p[:, 8]) - ideal
        return np.column_stack([ideal, fair, (1 - p[:, 0] * p[:, 1]) * (1 - p[:, 8]), p[:, 8], p])

    polite = (rng.random((pairs, 15)) < 0.05).astype(float)
    polite[:, :2], polite[:, 8] = 1, 0
    flawed = (rng.random((pairs, 15)) < 0.3).astype(float)
    return HingeProblem(features(polite) - features(flawed), 1 + rng.normal(0.5, 1, pairs), l2)


def adam(problem: HingeProblem, visit: Callable[[Array], None]) -> None:
    """Runs the paper's optimizer with its learning rate on the full batch, with the ridge in the objective."""
    weights = np.zeros(problem.feature_differences.shape[1])
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, ADAM_STEPS + 1):
        visit(weights)
        _, gradient = problem.value_and_gradient(weights)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        weights = weights - ADAM_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)


def dual_lbfgs(problem: HingeProblem, visit: Callable[[Array], None]) -> None:
    """Runs L-BFGS-B on the box-constrained dual."""
    size = problem.required_leads.size
    rows = problem.feature_differences / (size * problem.l2)

    def dual(beta: Array) -> tuple[float, Array]:
        weights = beta @ rows
        value = problem.l2 / 2 * weights @ weights - problem.required_leads @ beta / size
        return float(value), (problem.feature_differences @ weights - problem.required_leads) / size

    options = {"maxiter": 15_000, "maxfun": 50_000, "ftol": 0, "gtol": 1e-12}
    bounds = [(0, 1)] * size
    callback = lambda beta: visit(beta @ rows)  # noqa: E731
    minimize(dual, np.full(size, 0.5), jac=True, bounds=bounds, callback=callback, method="L-BFGS-B", options=options)


def smoothed_lbfgs(problem: HingeProblem, visit: Callable[[Array], None]) -> None:
    """Runs L-BFGS on the smoothed primal, with less and less smoothing."""
    weights = np.zeros(problem.feature_differences.shape[1])
    for width in SMOOTHINGS:
        options = {"maxiter": 2_000, "ftol": 0, "gtol": 1e-10}
        result = minimize(
            problem.smoothed, weights, (width,), jac=True, callback=visit, method="L-BFGS-B", options=options
        )
        weights = result.x


class GoalReached(Exception):
    """Raised to stop a method that has reached its goal."""


@dataclass
class TimedRun:
    """A run of one method until its objective reaches the goal, or until the method ends.

    Attributes:
        problem: Objective to minimize.
        goal: Value of the objective at which the run stops.
        best: Lowest value that the method has visited.
        weights: Weights with the lowest value; None before the run.
        seconds: Wall-clock time of the run.
    """

    problem: HingeProblem
    goal: float
    best: float = np.inf
    weights: Array | None = None
    seconds: float = 0.0

    def run(self, method: Callable[[HingeProblem, Callable[[Array], None]], None]) -> "TimedRun":
        """Runs a method, which passes each of its iterates to a callback. Returns this object."""
        started = time.perf_counter()
        with suppress(GoalReached):
            method(self.problem, self._visit)
        self.seconds = time.perf_counter() - started
        return self

    def _visit(self, weights: Array) -> None:
        value, _ = self.problem.value_and_gradient(weights)
        if value < self.best:
            self.best, self.weights = value, weights.copy()
        if value <= self.goal:
            raise GoalReached


def main() -> None:
    """Runs all methods on the same pairs and prints one line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000, help="number of pairs (default: %(default)s)")
    parser.add_argument("--l2", type=float, default=0.01, help="strength of the ridge (default: %(default)s)")
    parser.add_argument(
        "--near", type=float, default=1e-6, help="relative distance from the optimum (default: %(default)s)"
    )
    arguments = parser.parse_args()
    problem = random_pairs(arguments.pairs, arguments.l2)
    pair_weights = np.full(arguments.pairs, 1 / arguments.pairs)
    times = []
    while len(times) < MIN_REPEATS or (len(times) < MAX_REPEATS and sum(times) < 1):
        started = time.perf_counter()
        solution = solve_hinge(problem.feature_differences, problem.required_leads, pair_weights, problem.l2)
        times.append(time.perf_counter() - started)
    exact = float(np.median(times))
    print(f"{arguments.pairs} pairs, {problem.feature_differences.shape[1]} features, l2 {problem.l2:g}")
    print(f"{'exact':24} {exact:8.3f} s   certified within {solution.gap:.0e} of {solution.primal:.6f}")
    methods = {"Adam": adam, "L-BFGS-B on the dual": dual_lbfgs, "L-BFGS on smoothed hinge": smoothed_lbfgs}
    for name, method in methods.items():
        run = TimedRun(problem, solution.primal * (1 + arguments.near)).run(method)
        excess = run.best / solution.primal - 1
        ratio = f"{run.seconds / exact:7.1f} x" if run.best <= run.goal else f"> {run.seconds / exact:5.1f} x"
        off = np.abs(run.weights - solution.weights).max()
        print(f"{name:24} {run.seconds:8.3f} s {ratio}   excess {excess:.0e}   weights off by {off:.0e}")


if __name__ == "__main__":
    main()
