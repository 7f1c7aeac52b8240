"""The rows that a fit writes to its tables."""

from typing import Any

import numpy as np

from rbr.reward.error_rates import ErrorRates
from rbr.reward.fit_result import FitResult

NAN = float("nan")


def result(**changes: Any) -> FitResult:
    arguments: dict[str, Any] = {
        "response_type": "comply",
        "feature_names": ("class:ideal", "proposition:a", "proposition:b"),
        "weights": np.array([2.0, 0.5, -0.5]),
        "low": np.array([1.0, NAN, NAN]),
        "high": np.array([3.0, NAN, NAN]),
        "primal": 0.5,
        "dual": 0.25,
        "gap": 0.5,
        "n_prompts": 4,
        "n_pairs": 12,
        "n_held_out": 2,
        "n_incomplete_replies": 1,
        "errors": ErrorRates(3, 1.0, 0.0, None),
    }
    return FitResult(**{**arguments, **changes})


def test_a_weight_row_has_the_sign_and_a_missing_interval_stays_missing() -> None:
    rows = result(signs=("free", "undesired", "undesired")).weight_rows()
    assert [(row["feature"], row["sign"], row["weight"], row["low"], row["high"]) for row in rows] == [
        ("class:ideal", "free", 2.0, 1.0, 3.0),
        ("proposition:a", "undesired", 0.5, None, None),
        ("proposition:b", "undesired", -0.5, None, None),
    ]
    assert {row["sign"] for row in result().weight_rows()} == {"free"}


def test_features_whose_weight_is_against_their_sign_are_named() -> None:
    assert result(signs=("free", "undesired", "undesired")).against_signs == ("proposition:a",)
    assert result(signs=("undesired", "desired", "desired")).against_signs == ("class:ideal", "proposition:b")
    assert result().against_signs == ()


def test_a_missing_error_rate_and_a_missing_order_stay_missing() -> None:
    row = result().certificate_row()
    assert (row["n_error_pairs"], row["error_rm"], row["error_rbr"], row["error_total"]) == (3, 1.0, 0.0, None)
    assert row["order_lead"] is None
    assert (row["primal"], row["dual"], row["gap"]) == (0.5, 0.25, 0.5)
