"""The exact solver of the weight fit against iterative ones, on the same pairs and the same objective.

    python bench/fit_solver.py [--pairs 10000] [--l2 0.01] [--near 1e-6]

Every method gets as long as it needs to come near the optimum (a relative excess), or its full number of steps.
The last column tells how far off its weights still are: the objective is flat, so they lag behind.
Times are wall clock on one thread if OMP_NUM_THREADS=1; the exact solver is timed to its certificate.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rbr.reward.hinge import solve_hinge

Array = NDArray[np.float64]

ADAM_STEPS = 20_000
ADAM_RATE = 0.01
SMOOTHINGS = tuple(10.0**-power for power in range(1, 9))
FEWEST, MOST = 3, 9


@dataclass(frozen=True)
class Problem:
    """mean_i max(0, constants[i] - differences[i] . w) + l2 / 2 |w|^2."""

    differences: Array
    constants: Array
    l2: float

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        violation = self.constants - self.differences @ weights
        active = violation > 0
        value = violation[active].sum() / violation.size + self.l2 / 2 * weights @ weights
        return float(value), self.l2 * weights - active @ self.differences / violation.size

    def smoothed(self, weights: Array, width: float) -> tuple[float, Array]:
        """With the hinge's corner rounded off to a parabola `width` wide."""
        violation = self.constants - self.differences @ weights
        slope = np.clip(violation / width, 0, 1)
        value = (slope * (violation - width * slope / 2)).mean() + self.l2 / 2 * weights @ weights
        return float(value), self.l2 * weights - slope @ self.differences / violation.size


def comparisons(pairs: int, l2: float, seed: int = 0) -> Problem:
    """Pairs like those of a fit: sharp grades, classes made of propositions, scores that err."""
    rng = np.random.default_rng(seed)

    def features(truth: Array) -> Array:
        p = np.clip(np.abs(truth - rng.beta(0.3, 6, truth.shape)), 0, 1)
        ideal = p[:, 0] * p[:, 1] * (1 - p[:, 2:8]).prod(axis=1) * (1 - p[:, 8])
        fair = p[:, 0] * p[:, 1] * (1 - p[:, 8]) - ideal
        return np.column_stack([ideal, fair, (1 - p[:, 0] * p[:, 1]) * (1 - p[:, 8]), p[:, 8], p])

    polite = (rng.random((pairs, 15)) < 0.05).astype(float)
    polite[:, :2], polite[:, 8] = 1, 0
    flawed = (rng.random((pairs, 15)) < 0.3).astype(float)
    return Problem(features(polite) - features(flawed), 1 + rng.normal(0.5, 1, pairs), l2)


def adam(problem: Problem, visit: Callable[[Array], None]) -> None:
    """The paper's optimizer and rate, full batch, with the ridge in the objective so that both mean the same."""
    weights = np.zeros(problem.differences.shape[1])
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, ADAM_STEPS + 1):
        visit(weights)
        _, gradient = problem.value_and_gradient(weights)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        weights = weights - ADAM_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)


def dual_lbfgs(problem: Problem, visit: Callable[[Array], None]) -> None:
    """L-BFGS-B on the box-constrained dual."""
    size = problem.constants.size
    rows = problem.differences / (size * problem.l2)

    def dual(beta: Array) -> tuple[float, Array]:
        weights = beta @ rows
        value = problem.l2 / 2 * weights @ weights - problem.constants @ beta / size
        return float(value), (problem.differences @ weights - problem.constants) / size

    options = {"maxiter": 15_000, "maxfun": 50_000, "ftol": 0, "gtol": 1e-12}
    bounds = [(0, 1)] * size
    callback = lambda beta: visit(beta @ rows)  # noqa: E731
    minimize(dual, np.full(size, 0.5), jac=True, bounds=bounds, callback=callback, method="L-BFGS-B", options=options)


def smoothed_lbfgs(problem: Problem, visit: Callable[[Array], None]) -> None:
    """L-BFGS on the primal with the corner rounded off, sharper and sharper."""
    weights = np.zeros(problem.differences.shape[1])
    for width in SMOOTHINGS:
        options = {"maxiter": 2_000, "ftol": 0, "gtol": 1e-10}
        found = minimize(
            problem.smoothed, weights, (width,), jac=True, callback=visit, method="L-BFGS-B", options=options
        )
        weights = found.x


class Near(Exception):
    """Raised to stop a method that is near enough."""


@dataclass
class Race:
    """A method's time to an objective of `goal`, or to its end."""

    problem: Problem
    goal: float
    best: float = np.inf
    weights: Array | None = None
    seconds: float = 0.0

    def run(self, method: Callable[[Problem, Callable[[Array], None]], None]) -> "Race":
        started = time.perf_counter()
        with suppress(Near):
            method(self.problem, self._visit)
        self.seconds = time.perf_counter() - started
        return self

    def _visit(self, weights: Array) -> None:
        value, _ = self.problem.value_and_gradient(weights)
        if value < self.best:
            self.best, self.weights = value, weights.copy()
        if value <= self.goal:
            raise Near


def main() -> None:
    """Prints one line per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--l2", type=float, default=0.01)
    parser.add_argument("--near", type=float, default=1e-6)
    arguments = parser.parse_args()
    problem = comparisons(arguments.pairs, arguments.l2)
    shares = np.full(arguments.pairs, 1 / arguments.pairs)
    times = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < 1):
        started = time.perf_counter()
        solution = solve_hinge(problem.differences, problem.constants, shares, problem.l2)
        times.append(time.perf_counter() - started)
    exact = float(np.median(times))
    print(f"{arguments.pairs} pairs, {problem.differences.shape[1]} features, l2 {problem.l2:g}")
    print(f"{'exact':24} {exact:8.3f} s   certified within {solution.gap:.0e} of {solution.primal:.6f}")
    methods = {"Adam": adam, "L-BFGS-B on the dual": dual_lbfgs, "L-BFGS on smoothed hinge": smoothed_lbfgs}
    for name, method in methods.items():
        race = Race(problem, solution.primal * (1 + arguments.near)).run(method)
        excess = race.best / solution.primal - 1
        ratio = f"{race.seconds / exact:7.1f} x" if race.best <= race.goal else f"> {race.seconds / exact:5.1f} x"
        off = np.abs(race.weights - solution.weights).max()
        print(f"{name:24} {race.seconds:8.3f} s {ratio}   excess {excess:.0e}   weights off by {off:.0e}")


if __name__ == "__main__":
    main()
