"""Fits the weights of one response type (paper section 4, Eq. 2), with certificate, error rates and intervals.

A pair is two replies to the same prompt whose labels have different ranks. Pairs of the same prompt share replies, so
the held-out split and the bootstrap draw prompts, not pairs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.reward.error_rates import ErrorRates, error_rates
from rbr.reward.fit_problems import FitProblem
from rbr.reward.hinge_solver import HingeSolution, solve_hinge
from rbr.rulebook.parts import DEFAULT_MARGIN

FloatArray = NDArray[np.float64]

_INTERVAL_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class FitResult:
    """The fitted weights of one response type.

    Attributes:
        response_type: Name of the response type.
        feature_names: Names of the features, [F].
        weights: float64[F], in units of R_rm.
        low: Lower ends of the 95 % intervals, float64[F], from a bootstrap over prompts; NaN without bootstrap.
        high: Upper ends of the intervals, float64[F]; NaN without bootstrap.
        primal: Objective at the weights.
        dual: Lower bound of the objective at any weights.
        gap: Relative duality gap, (primal - dual) / primal. It certifies how close the fit is to the optimum.
        n_prompts: Number of prompts whose pairs the fit used.
        n_pairs: Number of pairs that the fit used.
        n_held_out: Number of prompts whose pairs were held out for the error rates.
        n_incomplete_replies: Number of replies that the fit ignored, because a grade or the score is missing.
        errors: Error rates on the held-out prompts.

    Example:
        >>> result = FitResult("comply", ("class:ideal",), np.array([1.5]), np.array([np.nan]), np.array([np.nan]),
        ...                    primal=0.1, dual=0.1, gap=0.0, n_prompts=1, n_pairs=1, n_held_out=0,
        ...                    n_incomplete_replies=0, errors=ErrorRates(0, None, None, None))
        >>> result.weight_rows()
        [{'response_type': 'comply', 'feature': 'class:ideal', 'weight': 1.5, 'low': None, 'high': None}]
    """

    response_type: str
    feature_names: tuple[str, ...]
    weights: FloatArray
    low: FloatArray
    high: FloatArray
    primal: float
    dual: float
    gap: float
    n_prompts: int
    n_pairs: int
    n_held_out: int
    n_incomplete_replies: int
    errors: ErrorRates

    def weight_rows(self) -> list[dict[str, Any]]:
        """Returns one row per feature: response_type, feature, weight, low and high (None without bootstrap)."""
        columns = zip(self.feature_names, self.weights, self.low, self.high, strict=True)
        return [
            {
                "response_type": self.response_type,
                "feature": name,
                "weight": float(weight),
                "low": _none_if_nan(low),
                "high": _none_if_nan(high),
            }
            for name, weight, low, high in columns
        ]

    def certificate_row(self) -> dict[str, Any]:
        """Returns counts, certificate and error rates as one flat row."""
        return {
            "response_type": self.response_type,
            "n_prompts": self.n_prompts,
            "n_pairs": self.n_pairs,
            "n_held_out": self.n_held_out,
            "primal": self.primal,
            "dual": self.dual,
            "gap": self.gap,
            "error_rm": self.errors.rm,
            "error_rbr": self.errors.rbr,
            "error_total": self.errors.total,
        }


def fit(problem: FitProblem, *, l2: float, held_out_fraction: float, bootstrap: int, seed: int) -> FitResult:
    """Fits the weights of one response type (section 4, Eq. 2 with ridge and label margins).

    The weights minimize the mean over pairs of max(0, margin + R_tot(worse) - R_tot(better)), plus l2/2 |w|^2.

    Args:
        problem: Comparisons of the response type.
        l2: Strength of the ridge, above 0.
        held_out_fraction: Expected share of prompts, in [0, 1], that are held out for the error rates. A hash of the
            prompt id selects the prompts.
        bootstrap: Number of refits on resampled prompts for the intervals; 0 for no intervals.
        seed: Seed of the bootstrap.

    Raises:
        InputError: `l2` is not above 0, a label is not ranked, a margin is negative, or no pair is left.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["good", "bad"], features=np.array([[1.0], [0.0]]), r_rm=np.array([0.0, 0.5]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> result = fit(problem, l2=0.001, held_out_fraction=0.0, bootstrap=0, seed=0)
        >>> result.weights.round(3), result.gap < 1e-6  # The weight offsets 0.5 of R_rm and adds the margin of 1.
        (array([1.5]), True)
    """
    if not l2 > 0:
        raise InputError(f"l2 is {l2}, but must be above 0", where="fit.l2", hint="Use a small number, such as 0.001.")
    rows = _usable_rows(problem)
    pairs = _ordered_pairs(rows)
    fitted, held_out = _split(pairs, held_out_fraction)
    if fitted.is_empty():
        raise _no_pairs(problem, rows, pairs)
    constraints = _PairConstraints.of(fitted, problem)
    solution = constraints.solve(np.ones(constraints.n_prompts), l2)
    bootstrap_seed = [seed, int(content_hash(problem.response_type), 16)]
    low, high = _intervals(constraints, l2, bootstrap, bootstrap_seed)
    return FitResult(
        response_type=problem.response_type,
        feature_names=problem.feature_names,
        weights=solution.weights,
        low=low,
        high=high,
        primal=solution.primal,
        dual=solution.dual,
        gap=solution.gap,
        n_prompts=constraints.n_prompts,
        n_pairs=fitted.height,
        n_held_out=held_out["prompt_id"].n_unique(),
        n_incomplete_replies=len(problem.prompt_ids) - rows.height,
        errors=error_rates(held_out, problem, solution.weights),
    )


@dataclass(frozen=True)
class _PairConstraints:
    """One soft constraint on the weights per pair: ``feature_differences[i] . w >= required_leads[i]``.

    Attributes:
        feature_differences: phi(better) - phi(worse), float64[pairs, F].
        required_leads: margin + R_rm(worse) - R_rm(better), float64[pairs].
        prompt: Index of the prompt of each pair, [pairs].
        n_prompts: Number of prompts.
    """

    feature_differences: FloatArray
    required_leads: FloatArray
    prompt: NDArray[np.intp]
    n_prompts: int

    @classmethod
    def of(cls, pairs: pl.DataFrame, problem: FitProblem) -> "_PairConstraints":
        better, worse = pairs["better"].to_numpy(), pairs["worse"].to_numpy()
        _, prompt = np.unique(pairs["prompt_id"].to_numpy(), return_inverse=True)
        return cls(
            problem.features[better] - problem.features[worse],
            pairs["margin"].to_numpy() + problem.r_rm[worse] - problem.r_rm[better],
            prompt,
            int(prompt.max()) + 1,
        )

    def solve(self, prompt_counts: FloatArray, l2: float) -> HingeSolution:
        """Solves the fit in which prompt j occurs ``prompt_counts[j]`` times; `prompt_counts` is float64[n_prompts]."""
        pair_weights = prompt_counts[self.prompt]
        is_used = pair_weights > 0
        pair_weights = pair_weights[is_used] / pair_weights.sum()
        return solve_hinge(self.feature_differences[is_used], self.required_leads[is_used], pair_weights, l2)


def _usable_rows(problem: FitProblem) -> pl.DataFrame:
    """Returns row, prompt_id, rank (0 is the best) and margin of each reply with all grades and a score."""
    rank = {label: place for place, labels in enumerate(problem.ranking) for label in labels}
    unranked = sorted(set(problem.labels) - set(rank))
    if unranked:
        raise InputError(
            f"the label `{unranked[0]}` is not ranked",
            where=f"response_types.{problem.response_type}.ranking",
            hint=f"Add the label to the ranking. Ranked labels: {', '.join(rank)}.",
        )
    for label, margin in problem.margins.items():
        if not margin >= 0:
            raise InputError(
                f"the margin of `{label}` is {margin}, but must not be negative",
                where=f"response_types.{problem.response_type}.margins",
                hint="Use 0 or more.",
            )
    is_complete = np.isfinite(problem.features).all(axis=1) & np.isfinite(problem.r_rm)
    return pl.DataFrame(
        {
            "row": np.arange(len(problem.labels)),
            "prompt_id": list(problem.prompt_ids),
            "rank": [rank[label] for label in problem.labels],
            "margin": [float(problem.margins.get(label, DEFAULT_MARGIN)) for label in problem.labels],
        },
        schema={"row": pl.Int64, "prompt_id": pl.String, "rank": pl.Int64, "margin": pl.Float64},
    ).filter(pl.Series(is_complete, dtype=pl.Boolean))


def _ordered_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns all pairs (better, worse) of replies to the same prompt, with margin and rank of the better reply."""
    better = rows.select("prompt_id", pl.col("row").alias("better"), "rank", "margin")
    worse = rows.select("prompt_id", pl.col("row").alias("worse"), pl.col("rank").alias("worse_rank"))
    pairs = better.join(worse, on="prompt_id").filter(pl.col("rank") < pl.col("worse_rank"))
    return pairs.sort("prompt_id", "better", "worse")


def _split(pairs: pl.DataFrame, held_out_fraction: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits pairs into fitted pairs and held-out pairs, so that all pairs of a prompt are on the same side."""
    # The salt "fit" makes this split independent of the test split, which hashes the prompt id alone.
    held_out = [
        prompt_id
        for prompt_id in pairs["prompt_id"].unique().to_list()
        if int(content_hash(["fit", prompt_id]), 16) / 2**64 < held_out_fraction
    ]
    is_held_out = pl.col("prompt_id").is_in(held_out)
    return pairs.filter(~is_held_out), pairs.filter(is_held_out)


def _no_pairs(problem: FitProblem, rows: pl.DataFrame, pairs: pl.DataFrame) -> InputError:
    where = f"fit of {problem.response_type}"
    if not pairs.is_empty():
        return InputError(
            f"all {pairs['prompt_id'].n_unique()} prompts with comparisons are held out",
            where=where,
            hint="Lower fit.held_out_fraction, or add prompts.",
        )
    return InputError(
        "no prompt has two replies of different rank; "
        f"{rows.height} of {len(problem.labels)} replies have all grades and a score",
        where=where,
        hint="Raise synthesis.candidates or the number of prompts, or widen may_be in synthesis.yaml.",
    )


def _intervals(constraints: _PairConstraints, l2: float, draws: int, seed: list[int]) -> tuple[FloatArray, FloatArray]:
    """Returns the lower and upper ends of the bootstrap intervals, float64[F] each; NaN without draws."""
    if draws == 0:
        no_interval = np.full(constraints.feature_differences.shape[1], np.nan)
        return no_interval, no_interval
    n_prompts = constraints.n_prompts
    # How often each draw contains each prompt, int64[draws, prompts].
    counts = np.random.default_rng(seed).multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=draws)
    refits = np.array([constraints.solve(prompt_counts.astype(np.float64), l2).weights for prompt_counts in counts])
    low, high = np.percentile(refits, _INTERVAL_PERCENTILES, axis=0)
    return low, high


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
