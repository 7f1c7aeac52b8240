"""Fits the weights of one response type (paper section 4, Eq. 2), with certificate, error rates and intervals.

Pairs of the same prompt share replies, so the held-out split and the bootstrap draw prompts, not pairs. Margins and the
ridge are in units of the spread of R_rm within prompts. A reward model with another scale therefore gets weights with
another scale, and the same order of the replies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.profile import Constraints
from rbr.reward.class_order import ClassOrder, OrderGap
from rbr.reward.comparison_pairs import (
    ComparisonPairs,
    comparison_pairs,
    complete_replies,
    held_out_prompts,
    spread_within_prompts,
)
from rbr.reward.error_rates import error_rates
from rbr.reward.fit_problems import FitProblem
from rbr.reward.fit_result import FitResult
from rbr.reward.solver.pair_problem import PairProblem, WeightConstraints
from rbr.reward.solver.pair_solver import PairSolution, refine, solve_constrained, solve_pairs
from rbr.rulebook.parts import SIGN_VALUES

FloatArray = NDArray[np.float64]

ORDER_LEAD = 0.2
"""Smallest lead in R_rbr of a class over the next worse class, in units of the spread of R_rm within prompts."""

_CONSTRAINT_TOLERANCE = 1e-9
_ROUNDING = 1e-8
_REFIT_GAP = 1e-5
_REFIT_NEAR_SHARE = 0.1
_INTERVAL_PERCENTILES = (2.5, 97.5)


def fit(
    problem: FitProblem,
    *,
    l2: float,
    held_out_fraction: float,
    bootstrap: int,
    seed: int,
    constraints: Constraints = "order_and_signs",
) -> FitResult:
    """Fits the weights of one response type (section 4, Eq. 2 with ridge and label margins).

    The weights minimize the mean over pairs of max(0, margin + R_tot(worse) - R_tot(better)), plus l2/2 |w|^2. All
    terms are in units of the spread of R_rm within prompts.

    Args:
        problem: Comparisons of the response type.
        l2: Strength of the ridge, above 0.
        held_out_fraction: Expected share of prompts, in [0, 1], that are held out for the error rates. A hash of the
            prompt id selects the prompts.
        bootstrap: Number of refits on resampled prompts for the intervals; 0 for no intervals.
        seed: Seed of the bootstrap.
        constraints: ``order_and_signs``: no reply gets a lower R_rbr than a reply of a worse class, for all truth
            values of the propositions, and no weight is against the sign of its feature. ``none``: the paper's fit.

    Raises:
        InputError: `l2` is not above 0, a label is not ranked, a margin is negative, no pair is left, or rounding
            errors kept the solver from satisfying the constraints.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["good", "bad"], features=np.array([[1.0], [0.0]]), r_rm=np.array([0.0, 2.0]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> result = fit(problem, l2=0.001, held_out_fraction=0.0, bootstrap=0, seed=0)
        >>> round(result.spread, 3), result.weights.round(3)  # The weight offsets 2 of R_rm and adds a margin of 1.414.
        (1.414, array([3.414]))
    """
    if not l2 > 0:
        raise InputError(f"l2 is {l2}, but must be above 0", where="fit.l2", hint="Use a small number, such as 0.001.")
    rows = complete_replies(problem)
    pairs = comparison_pairs(problem, rows)
    is_held_out = held_out_prompts(pairs, held_out_fraction)
    fitted, held_out = pairs.of_prompts(~is_held_out), pairs.of_prompts(is_held_out)
    if not len(fitted):
        raise _no_pairs(problem, len(pairs.prompt_ids))
    spread = spread_within_prompts(problem, fitted)
    weight_fit = _WeightFit.of(problem, fitted, spread, l2, constraints)
    try:
        solution = weight_fit.solve()
    except ArithmeticError as error:
        where = f"fit of {problem.response_type}"
        raise InputError(str(error), where=where, hint="Raise fit.l2, such as to 0.01.") from error
    bootstrap_seed = [seed, int(content_hash(problem.response_type), 16)]
    low, high = weight_fit.intervals(solution, bootstrap, bootstrap_seed)
    weights = weight_fit.weights(solution.weights) * spread
    hinge_loss, past_margin = weight_fit.hinge_loss(solution.weights)
    return FitResult(
        response_type=problem.response_type,
        feature_names=problem.feature_names,
        weights=weights,
        low=low * spread,
        high=high * spread,
        primal=solution.primal,
        dual=solution.dual,
        gap=solution.gap,
        n_prompts=len(fitted.prompt_ids),
        n_pairs=len(fitted),
        n_held_out=len(held_out.prompt_ids),
        n_incomplete_replies=len(problem.prompt_ids) - rows.size,
        errors=error_rates(held_out, problem, weights, held_out_fraction),
        signs=problem.signs,
        spread=spread,
        hinge_loss=hinge_loss,
        past_margin=past_margin,
        order=problem.order,
        refit_without_constraints=partial(
            fit,
            problem,
            l2=l2,
            held_out_fraction=held_out_fraction,
            bootstrap=0,
            seed=seed,
            constraints="none",
        )
        if weight_fit.is_constrained
        else None,
    )


@dataclass(frozen=True)
class _WeightFit:
    """A fit in units of the spread of R_rm, and in variables that make its constraints simple.

    A variable is the weight of one feature, or its positive or its negative part. The weight of a free proposition that
    no class depends on is split into two such parts: the proposition can be true or false in every class, so its weight
    narrows each gap between classes by its absolute value, which is the sum of the two parts.

    Attributes:
        problem: One row per pair, and one column per variable; V variables.
        prompts: Index of the prompt of each pair, [N].
        n_prompts: Number of prompts.
        order: Order of the classes that the weights must respect; None for no order.
        columns: Feature of each variable, [V].
        directions: -1 for the negative part of a weight, else 1, [V].
        is_part: Whether a variable is a part of a weight, bool[V].
        signs: 1 if a variable must not be below 0, -1 if it must not be above 0, 0 if it is free, [V].
    """

    problem: PairProblem
    prompts: NDArray[np.int32]
    n_prompts: int
    order: ClassOrder | None
    columns: NDArray[np.intp]
    directions: NDArray[np.int64]
    is_part: NDArray[np.bool_]
    signs: NDArray[np.int64]

    @classmethod
    def of(
        cls, problem: FitProblem, pairs: ComparisonPairs, spread: float, l2: float, constraints: Constraints
    ) -> "_WeightFit":
        is_constrained = constraints == "order_and_signs"
        order = problem.order if is_constrained else None
        n_features = problem.features.shape[1]
        signs = [SIGN_VALUES[sign] for sign in problem.signs] if is_constrained and problem.signs else [0] * n_features
        split = [] if order is None else [column for column in order.outside_columns if signs[column] == 0]
        columns = np.array([*range(n_features), *split])
        directions = np.repeat([1, -1], [n_features, len(split)])
        is_part = np.isin(columns, split)
        r_rm = problem.r_rm / spread
        # A reply without all grades is in no pair, so its features do not matter. NaN would spread to the products.
        features = np.nan_to_num(problem.features)
        if split:
            features = features[:, columns] * directions
        required_leads = pairs.margins + r_rm[pairs.worse] - r_rm[pairs.better]
        return cls(
            PairProblem(np.ascontiguousarray(features), pairs.better, pairs.worse, required_leads, l2),
            pairs.prompts,
            len(pairs.prompt_ids),
            order,
            columns,
            directions,
            is_part,
            np.where(is_part, 1, np.array(signs, dtype=np.int64)[columns]),
        )

    @property
    def is_constrained(self) -> bool:
        """Whether any constraint applies."""
        return self.order is not None or bool(self.signs.any())

    def weights(self, variables: FloatArray) -> FloatArray:
        """Returns the weights of the features, float64[F], in units of the spread."""
        return np.bincount(self.columns, self.directions * variables).astype(np.float64)

    def solve(self) -> PairSolution:
        """Returns the best variables under the constraints.

        Raises:
            ArithmeticError: Rounding errors kept the solver from satisfying the constraints.
        """
        pair_weights = np.full(self.prompts.size, 1 / self.prompts.size)
        if not self.is_constrained:
            return solve_pairs(self.problem, pair_weights)
        solution = solve_constrained(self.problem, pair_weights, self._typical_constraints, self._violated)
        return self._exactly_signed(solution)

    def hinge_loss(self, variables: FloatArray) -> tuple[float, float]:
        """Returns the mean hinge loss over the pairs, and the share of pairs that reach their margin."""
        leads = self.problem.leads(variables)
        return float(np.maximum(0.0, -leads).mean()), float((leads >= -_CONSTRAINT_TOLERANCE).mean())

    def intervals(self, solution: PairSolution, draws: int, seed: list[int]) -> tuple[FloatArray, FloatArray]:
        """Returns the lower and upper ends of the bootstrap intervals, float64[F] each; NaN without draws."""
        if draws == 0:
            no_interval = np.full(self.weights(solution.weights).size, np.nan)
            return no_interval, no_interval
        # How often each draw contains each prompt, int64[draws, prompts].
        shares = np.full(self.n_prompts, 1 / self.n_prompts)
        counts = np.random.default_rng(seed).multinomial(self.n_prompts, shares, size=draws)
        refits = np.array([self.weights(self._refit(solution, prompt_counts)) for prompt_counts in counts])
        low, high = np.percentile(refits, _INTERVAL_PERCENTILES, axis=0)
        return low, high

    def _refit(self, solution: PairSolution, prompt_counts: NDArray[np.int64]) -> FloatArray:
        """Returns the variables if prompt j occurs ``prompt_counts[j]`` times, from a start near them."""
        pair_weights = prompt_counts[self.prompts].astype(np.float64)
        pair_weights /= pair_weights.sum()
        refit = refine(
            self.problem,
            pair_weights,
            solution.constraints,
            self._violated,
            start=solution.weights,
            relative_gap=_REFIT_GAP,
            near_share=_REFIT_NEAR_SHARE,
        )
        return self._exactly_signed(refit).weights

    def _typical_constraints(self, variables: FloatArray) -> WeightConstraints:
        """Returns constraints that probably matter, from variables that are roughly right without constraints.

        They are the signs, and the order of the replies that are extreme if all weights have their sign.
        """
        signed = np.flatnonzero(self.signs)
        signs = WeightConstraints(self.signs[signed, None] * np.eye(self.signs.size)[signed], np.zeros(signed.size))
        if self.order is None:
            return signs
        typical = np.where(self.signs == 0, variables, self.signs)
        typical[: len(self.order.diagram.classes)] = 0.0
        return signs.and_also(self._order_constraints(self.order.gaps(self.weights(typical))))

    def _violated(self, variables: FloatArray) -> WeightConstraints:
        """Returns the order constraints that the weights violate: at most one per pair of neighboring classes.

        The signs are among the constraints from the start, so the variables never violate them.
        """
        if self.order is None:
            return WeightConstraints.none(variables.size)
        gaps = self.order.gaps(self.weights(variables), below=ORDER_LEAD - _CONSTRAINT_TOLERANCE)
        return self._order_constraints(gaps)

    def _order_constraints(self, gaps: Sequence[OrderGap]) -> WeightConstraints:
        rows = np.array([gap.better.features - gap.worse.features for gap in gaps])
        in_variables = rows.reshape(len(gaps), -1)[:, self.columns] * self.directions if len(gaps) else rows
        in_variables = in_variables.reshape(len(gaps), self.columns.size)
        return WeightConstraints(np.where(self.is_part, -1.0, in_variables), np.full(len(gaps), ORDER_LEAD))

    def _exactly_signed(self, solution: PairSolution) -> PairSolution:
        """Returns the solution with 0 in place of signed variables that differ from 0 by rounding."""
        is_zero = (self.signs != 0) & (self.signs * solution.weights < _ROUNDING)
        variables = np.where(is_zero, 0.0, solution.weights)
        return PairSolution(variables, solution.primal, solution.dual, solution.constraints)


def _no_pairs(problem: FitProblem, n_prompts: int) -> InputError:
    """Returns why there is no pair to fit, with what to do about the first cause.

    Args:
        problem: The fit problem.
        n_prompts: Number of prompts with a pair of complete replies.
    """
    where = f"fit of {problem.response_type}"
    if n_prompts:
        return InputError(
            f"all {n_prompts} prompts with comparisons are held out",
            where=where,
            hint="Lower fit.held_out_fraction, or add prompts.",
        )
    n_replies = len(problem.labels)
    n_ungraded = int((~np.isfinite(problem.features).all(axis=1)).sum())
    n_unscored = int((~np.isfinite(problem.r_rm)).sum())
    if not len(comparison_pairs(problem, np.arange(n_replies))):
        hint = "Raise synthesis.candidates or the number of prompts, or widen may_be in synthesis.yaml."
    elif n_ungraded >= n_unscored:
        hint = (
            "There are such replies, but answers of the grader about them are missing. The column reason of the table "
            "grades says why."
        )
    else:
        hint = (
            "There are such replies, but scores of the reward model are missing: a reply is longer than its context, "
            "or its score is not finite."
        )
    what = (
        f"no prompt has two replies of different rank that have all grades and a score; of {n_replies} replies, "
        f"{n_ungraded} lack a grade and {n_unscored} lack a score"
    )
    return InputError(what, where=where, hint=hint)
