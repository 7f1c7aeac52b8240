"""Weight fitting: the paper's Eq. 2 per response type, with certificate, held-out error rates and intervals.

Pairs are the ordered label pairs within a prompt; everything that samples or splits does so by prompt, since
the pairs of one prompt share their replies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.reward.hinge import HingeSolution, solve_hinge

FloatArray = NDArray[np.float64]

DEFAULT_MARGIN = 1.0
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class FitProblem:
    """The graded and scored comparisons of one response type; N replies, F features.

    Attributes:
        response_type: For messages and results.
        feature_names: [F].
        prompt_ids: [N].
        labels: [N]; how each reply was synthesized.
        features: float64[N, F]; a row with a NaN is left out.
        r_rm: float64[N], the reward model's scores; a NaN leaves its row out.
        ranking: Labels, best first; those of one inner sequence are not compared.
        margins: Margin by label of the better reply; 1 where not given.
    """

    response_type: str
    feature_names: tuple[str, ...]
    prompt_ids: Sequence[str]
    labels: Sequence[str]
    features: FloatArray
    r_rm: FloatArray
    ranking: Sequence[Sequence[str]]
    margins: Mapping[str, float]

    def __post_init__(self) -> None:
        rows = len(self.prompt_ids)
        if len(self.labels) != rows or self.r_rm.shape != (rows,):
            raise ValueError("prompt_ids, labels and r_rm must have one entry per reply")
        if self.features.shape != (rows, len(self.feature_names)):
            raise ValueError(f"features must have the shape [{rows}, {len(self.feature_names)}]")


@dataclass(frozen=True)
class ErrorRates:
    """How often another reply is rewarded at least as much as the ideal one of its prompt (section 6).

    Ideal are the replies under a label of the first rank; a prompt without one has no say.

    Attributes:
        n_pairs: Pairs of an ideal reply and one of a lower rank, on held-out prompts.
        rm: By the reward model alone, in [0, 1]; None without pairs.
        rbr: By the fitted rules alone.
        total: By their sum.
    """

    n_pairs: int
    rm: float | None
    rbr: float | None
    total: float | None


@dataclass(frozen=True)
class FitResult:
    """Fitted weights of one response type.

    Attributes:
        weights: float64[F], in units of R_rm.
        low: float64[F], 2.5 % point of the bootstrap over prompts; NaN without bootstrap.
        high: float64[F], 97.5 % point.
        primal: Objective at the weights.
        dual: Lower bound of the objective at any weights.
        gap: (primal - dual) / primal: the certificate that the fit is exact.
        n_prompts: Prompts with pairs, used for the fit.
        n_pairs: Ordered pairs used for the fit.
        n_held_out: Prompts with pairs kept for the error rates.
        n_left_out: Replies without a complete grade or score.
        errors: On the held-out prompts.
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
    n_left_out: int
    errors: ErrorRates

    def weight_rows(self) -> list[dict[str, Any]]:
        """One row per feature: response_type, feature, weight, low, high (None without an interval)."""
        columns = zip(self.feature_names, self.weights, self.low, self.high, strict=True)
        return [
            {
                "response_type": self.response_type,
                "feature": name,
                "weight": float(weight),
                "low": _number(low),
                "high": _number(high),
            }
            for name, weight, low, high in columns
        ]

    def certificate_row(self) -> dict[str, Any]:
        """Counts, certificate and held-out error rates as one flat row."""
        return {
            "response_type": self.response_type,
            "n_prompts": self.n_prompts,
            "n_pairs": self.n_pairs,
            "n_held_out": self.n_held_out,
            "n_left_out": self.n_left_out,
            "primal": self.primal,
            "dual": self.dual,
            "gap": self.gap,
            "error_pairs": self.errors.n_pairs,
            "error_rm": self.errors.rm,
            "error_rbr": self.errors.rbr,
            "error_total": self.errors.total,
        }


def fit(problem: FitProblem, *, l2: float, held_out_fraction: float, bootstrap: int, seed: int) -> FitResult:
    """Fits the weights of one response type (section 4, Eq. 2 with ridge and label margins).

    Minimizes mean over pairs of max(0, margin + R_tot(worse) - R_tot(better)) + l2/2 |w|^2 exactly.

    Args:
        problem: The comparisons.
        l2: Ridge strength, above 0.
        held_out_fraction: Expected share of prompts, chosen by hash, that only the error rates see.
        bootstrap: Refits on resampled prompts for the intervals; 0 for none.
        seed: Of the bootstrap.

    Raises:
        InputError: `l2` is not above 0, a label is not ranked, a margin is negative, or no pair is left.
    """
    if not l2 > 0:
        raise InputError(f"l2 is {l2}", where="fit.l2", hint="Choose a small number above 0, such as 0.001.")
    rows = _usable_rows(problem)
    pairs = _ordered_pairs(rows)
    fitted, held_out = _split(pairs, held_out_fraction)
    if fitted.is_empty():
        raise _no_pairs(problem, rows, pairs)
    lessons = _Lessons.of(fitted, problem)
    solution = lessons.solve(np.ones(lessons.n_prompts), l2)
    own_seed = [seed, int(content_hash(problem.response_type), 16)]
    low, high = _intervals(lessons, l2, bootstrap, own_seed)
    return FitResult(
        response_type=problem.response_type,
        feature_names=problem.feature_names,
        weights=solution.weights,
        low=low,
        high=high,
        primal=solution.primal,
        dual=solution.dual,
        gap=solution.gap,
        n_prompts=lessons.n_prompts,
        n_pairs=fitted.height,
        n_held_out=held_out["prompt_id"].n_unique(),
        n_left_out=len(problem.prompt_ids) - rows.height,
        errors=_error_rates(held_out, problem, solution.weights),
    )


@dataclass(frozen=True)
class _Lessons:
    """What the pairs say about the weights: ``w . differences[i]`` should reach ``constants[i]``."""

    differences: FloatArray
    constants: FloatArray
    prompt: NDArray[np.intp]
    n_prompts: int

    @classmethod
    def of(cls, pairs: pl.DataFrame, problem: FitProblem) -> "_Lessons":
        better, worse = pairs["better"].to_numpy(), pairs["worse"].to_numpy()
        _, prompt = np.unique(pairs["prompt_id"].to_numpy(), return_inverse=True)
        return cls(
            problem.features[better] - problem.features[worse],
            pairs["margin"].to_numpy() + problem.r_rm[worse] - problem.r_rm[better],
            prompt,
            int(prompt.max()) + 1,
        )

    def solve(self, multiplicity: FloatArray, l2: float) -> HingeSolution:
        shares = multiplicity[self.prompt]
        drawn = shares > 0
        shares = shares[drawn] / shares.sum()
        return solve_hinge(self.differences[drawn], self.constants[drawn], shares, l2)


def _usable_rows(problem: FitProblem) -> pl.DataFrame:
    rank = {label: place for place, labels in enumerate(problem.ranking) for label in labels}
    unknown = sorted(set(problem.labels) - set(rank))
    if unknown:
        raise InputError(
            f"the label `{unknown[0]}` is not ranked",
            where=f"response_types.{problem.response_type}.ranking",
            hint=f"Add it to the ranking, which has: {', '.join(rank)}.",
        )
    for label, margin in problem.margins.items():
        if not margin >= 0:
            raise InputError(
                f"the margin of `{label}` is {margin}",
                where=f"response_types.{problem.response_type}.margins",
                hint="Use 0 or more.",
            )
    complete = np.isfinite(problem.features).all(axis=1) & np.isfinite(problem.r_rm)
    return pl.DataFrame(
        {
            "row": np.arange(len(problem.labels)),
            "prompt_id": list(problem.prompt_ids),
            "rank": [rank[label] for label in problem.labels],
            "margin": [float(problem.margins.get(label, DEFAULT_MARGIN)) for label in problem.labels],
        },
        schema={"row": pl.Int64, "prompt_id": pl.String, "rank": pl.Int64, "margin": pl.Float64},
    ).filter(pl.Series(complete, dtype=pl.Boolean))


def _ordered_pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """All (better, worse) row indices of the same prompt, with the better one's margin and rank."""
    better = rows.select("prompt_id", pl.col("row").alias("better"), "rank", "margin")
    worse = rows.select("prompt_id", pl.col("row").alias("worse"), pl.col("rank").alias("worse_rank"))
    pairs = better.join(worse, on="prompt_id").filter(pl.col("rank") < pl.col("worse_rank"))
    return pairs.sort("prompt_id", "better", "worse")


def _split(pairs: pl.DataFrame, held_out_fraction: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    # Salted apart from the test split, which has already sorted these prompts by another hash.
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
        f"no prompt has two replies of different rank; {rows.height} of {len(problem.labels)} are usable",
        where=where,
        hint="Raise synthesis.candidates or the number of prompts, or widen may_be in synthesis.yaml.",
    )


def _intervals(lessons: _Lessons, l2: float, draws: int, seed: list[int]) -> tuple[FloatArray, FloatArray]:
    if draws == 0:
        nothing = np.full(lessons.differences.shape[1], np.nan)
        return nothing, nothing
    n = lessons.n_prompts
    multiplicities = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    refits = np.array([lessons.solve(drawn.astype(np.float64), l2).weights for drawn in multiplicities])
    low, high = np.percentile(refits, INTERVAL, axis=0)
    return low, high


def _error_rates(held_out: pl.DataFrame, problem: FitProblem, weights: FloatArray) -> ErrorRates:
    decisive = held_out.filter(pl.col("rank") == 0)
    if decisive.is_empty():
        return ErrorRates(0, None, None, None)
    ideal, other = decisive["better"].to_numpy(), decisive["worse"].to_numpy()
    r_rbr = problem.features @ weights

    def rate(reward: FloatArray) -> float:
        return float(np.mean(reward[other] >= reward[ideal]))

    return ErrorRates(decisive.height, rate(problem.r_rm), rate(r_rbr), rate(problem.r_rm + r_rbr))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
