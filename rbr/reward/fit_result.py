"""The result of a fit: weights, intervals, certificate and error rates of one response type."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbr.reward.class_order import ClassOrder, OrderGap
from rbr.reward.error_rates import ErrorRates
from rbr.reward.signs import against_signs
from rbr.rulebook.parts import Sign

FloatArray = NDArray[np.float64]

MAX_GAP = 1e-8
"""Largest relative duality gap at which weights count as optimal."""


@dataclass(frozen=True)
class FitResult:
    """The fitted weights of one response type.

    Attributes:
        response_type: Name of the response type.
        feature_names: Names of the features, [F].
        weights: float64[F], in units of R_rm.
        low: Lower ends of the 95 % intervals, float64[F], from a bootstrap over prompts; NaN without bootstrap.
        high: Upper ends of the intervals, float64[F]; NaN without bootstrap.
        primal: Objective at the weights, in units of `spread`.
        dual: Lower bound of the objective at any weights that satisfy the constraints.
        gap: Relative duality gap, (primal - dual) / primal. It certifies how close the fit is to the optimum.
        n_prompts: Number of prompts whose pairs the fit used.
        n_pairs: Number of pairs that the fit used.
        n_held_out: Number of prompts whose pairs were held out for the error rates.
        n_incomplete_replies: Number of replies that the fit ignored, because a grade or the score is missing.
        errors: Error rates on the held-out prompts.
        signs: Sign of each feature, [F]; empty if all are free.
        spread: Spread of R_rm within prompts, in units of R_rm: the unit of margins and ridge.
        hinge_loss: Mean hinge loss over the fitted pairs, in units of `spread`.
        past_margin: Share of the fitted pairs in which the better reply leads by its margin, in [0, 1].
        order: Order of the classes; None for a problem without classes.
        refit_without_constraints: Fits the same pairs without constraints; None if the fit had no constraints.

    Example:
        >>> result = FitResult("comply", ("class:ideal",), np.array([1.5]), np.array([np.nan]), np.array([np.nan]),
        ...                    primal=0.1, dual=0.1, gap=0.0, n_prompts=1, n_pairs=1, n_held_out=0,
        ...                    n_incomplete_replies=0, errors=ErrorRates(0, None, None, None))
        >>> result.weight_rows()[0]["weight"], result.order_lead
        (1.5, None)
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
    signs: tuple[Sign, ...] = ()
    spread: float = 1.0
    hinge_loss: float = 0.0
    past_margin: float = 1.0
    order: ClassOrder | None = field(default=None, repr=False)
    refit_without_constraints: Callable[[], "FitResult"] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def constraint_price(self) -> float:
        """How much the constraints raise the hinge loss, in units of `spread`; 0 without constraints.

        With a strong ridge, it can be a little below 0, because the ridge is not part of it. It needs a second fit, so
        it is computed when it is read.
        """
        if self.refit_without_constraints is None:
            return 0.0
        return self.hinge_loss - self.refit_without_constraints().hinge_loss

    @cached_property
    def gaps(self) -> tuple[OrderGap, ...]:
        """Gap between each class and the next worse one, best to worst, in units of R_rm; empty without classes."""
        return () if self.order is None else tuple(self.order.gaps(self.weights))

    @property
    def order_lead(self) -> float | None:
        """The smallest lead of a class over the next worse one, in units of R_rm; None with fewer than two classes.

        Below 0, some reply gets a higher R_rbr than a reply of a better class.
        """
        return min((gap.lead for gap in self.gaps), default=None)

    @property
    def is_optimal(self) -> bool:
        """Whether the gap certifies that the weights are optimal."""
        return self.gap <= MAX_GAP

    @property
    def against_signs(self) -> tuple[str, ...]:
        """Names of the features whose weight is against their sign."""
        if not self.signs:
            return ()
        wrong = against_signs(self.weights, self.signs)
        return tuple(name for name, is_wrong in zip(self.feature_names, wrong, strict=True) if is_wrong)

    def weight_rows(self) -> list[dict[str, Any]]:
        """Returns one row per feature: response_type, feature, sign, weight, low and high (None without bootstrap)."""
        signs = self.signs or ("free",) * len(self.feature_names)
        columns = zip(self.feature_names, signs, self.weights, self.low, self.high, strict=True)
        return [
            {
                "response_type": self.response_type,
                "feature": name,
                "sign": sign,
                "weight": float(weight),
                "low": _none_if_nan(low),
                "high": _none_if_nan(high),
            }
            for name, sign, weight, low, high in columns
        ]

    def certificate_row(self) -> dict[str, Any]:
        """Returns counts, certificate and error rates as one flat row."""
        return {
            "response_type": self.response_type,
            "n_prompts": self.n_prompts,
            "n_pairs": self.n_pairs,
            "n_held_out": self.n_held_out,
            "n_incomplete_replies": self.n_incomplete_replies,
            "spread": self.spread,
            "primal": self.primal,
            "dual": self.dual,
            "gap": self.gap,
            "hinge_loss": self.hinge_loss,
            "constraint_price": self.constraint_price,
            "past_margin": self.past_margin,
            "order_lead": self.order_lead,
            "n_error_pairs": self.errors.n_pairs,
            "n_error_pairs_left_out": self.errors.n_left_out,
            "error_rm": self.errors.rm,
            "error_rbr": self.errors.rbr,
            "error_total": self.errors.total,
        }


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
