"""The checks of the fitted weights: what passes, what blocks, and what the words say."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pytest
from numpy.typing import NDArray

from assets.reward_checks import (
    CHECKS,
    MAX_GAP,
    check_error_rates,
    check_optimality,
    check_order,
    check_signs,
)
from rbr.reward.class_order import ClassOrder, ExtremeReply, OrderGap
from rbr.reward.error_rates import ErrorRates
from rbr.reward.fit_result import FitResult
from rbr.rulebook import Behavior, compile_rules, load_behavior
from resources.pages.check_results import UNDECIDED
from tests.assets.project import ROOT

BEHAVIOR = load_behavior(ROOT / "rulebook" / "behavior.yaml")
FEATURES = ("class:ideal", "class:unacceptable", "proposition:apology", "proposition:judgement")
DIAGRAM = compile_rules({"ideal": "apology", "unacceptable": "not apology"}, ["ideal", "unacceptable"])


@dataclass(frozen=True)
class KnownOrder(ClassOrder):
    """An order whose gaps are given, whatever the weights are."""

    known: tuple[OrderGap, ...] = ()

    def gaps(self, weights: NDArray[np.float64], below: float = np.inf) -> list[OrderGap]:
        return list(self.known)


def gap(better: float, worse: float) -> OrderGap:
    """Returns the gap between an ideal reply with judgement and an unacceptable reply without any proposition."""
    return OrderGap(
        ExtremeReply("ideal", better, np.zeros(4), ("apology", "judgement")),
        ExtremeReply("unacceptable", worse, np.zeros(4), ()),
    )


def result(
    response_type: str = "hard_refusal", *, gaps: tuple[OrderGap, ...] = (gap(2.0, 1.25),), **changes: Any
) -> FitResult:
    arguments: dict[str, Any] = {
        "response_type": response_type,
        "feature_names": FEATURES,
        "weights": np.array([3.0, 1.0, 0.5, -0.5]),
        "low": np.full(4, np.nan),
        "high": np.full(4, np.nan),
        "primal": 0.5,
        "dual": 0.5,
        "gap": 1e-12,
        "n_prompts": 10,
        "n_pairs": 30,
        "n_held_out": 5,
        "n_incomplete_replies": 0,
        "errors": ErrorRates(20, 0.5, 0.25, 0.01),
        "signs": ("free", "free", "desired", "undesired"),
        "order": KnownOrder(DIAGRAM, ("apology", "judgement"), gaps),
    }
    return FitResult(**{**arguments, **changes})


def words(check: dg.AssetCheckResult) -> str:
    assert check.description is not None
    return check.description


def assert_undecided(check: dg.AssetCheckResult) -> None:
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert words(check).startswith(UNDECIDED)


def test_every_check_blocks_and_says_what_it_checks() -> None:
    assert [spec.name for spec in CHECKS] == [
        "weights_are_optimal",
        "reward_orders_classes_as_ranked",
        "weights_have_declared_signs",
        "reward_error_rate_reaches_bar",
    ]
    assert all(spec.blocking and spec.description for spec in CHECKS)


def test_without_any_fit_no_check_passes() -> None:
    for check in (
        check_optimality([]),
        check_order([], is_constrained=True),
        check_signs([], is_constrained=True),
        check_error_rates([], BEHAVIOR),
    ):
        assert_undecided(check)
        assert words(check) == "Undecided: No weights were fitted, because there is no verified comparison."


# Optimality


@pytest.mark.parametrize(("gap", "passes"), [(0.0, True), (MAX_GAP, True), (1.1 * MAX_GAP, False), (np.inf, False)])
def test_the_duality_gap_must_be_small(gap: float, passes: bool) -> None:
    assert check_optimality([result(gap=gap)]).passed == passes


def test_a_gap_that_is_not_a_number_fails() -> None:
    assert not check_optimality([result(gap=float("nan"))]).passed


def test_the_words_name_the_response_types_with_a_large_gap() -> None:
    check = check_optimality([result("comply", gap=1e-3), result("hard_refusal")])
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert words(check) == (
        "The relative duality gap is above 1e-08: comply 1.0e-03. Raise fit.l2, and report the data."
    )


# Order


def test_the_words_name_the_replies_of_the_two_classes_that_are_in_the_wrong_order() -> None:
    check = check_order([result("comply"), result(gaps=(gap(1.0, 1.25),))], is_constrained=True)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert words(check) == (
        "R_rbr is against the order of the classes. hard_refusal: a reply of the class unacceptable with no "
        "proposition gets +1.250, and a reply of the better class ideal with apology, judgement gets +1.000. "
        "Set fit.constraints to order_and_signs."
    )


@pytest.mark.parametrize(("better", "worse", "passes"), [(1.0, 0.99, True), (1.0, 1.0, False), (-2.0, -3.0, True)])
def test_a_better_class_must_lead(better: float, worse: float, passes: bool) -> None:
    assert check_order([result(gaps=(gap(better, worse),))], is_constrained=True).passed == passes


def test_the_words_of_a_right_order_give_the_smallest_lead_of_each_response_type() -> None:
    results = [result("comply", gaps=(gap(2.0, 1.0), gap(2.0, 1.5))), result("hard_refusal")]
    check = check_order(results, is_constrained=True)
    assert check.passed
    assert words(check) == "Smallest lead of a class over the next worse class: comply 0.500, hard_refusal 0.750."


# Signs


def test_the_words_name_the_features_whose_weight_is_against_their_sign() -> None:
    turned = result(weights=np.array([3.0, 1.0, -0.5, 0.5]))
    check = check_signs([result("comply"), turned], is_constrained=True)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert words(check) == (
        "Weights against the sign of their proposition: hard_refusal: proposition:apology, proposition:judgement. "
        "Set fit.constraints to order_and_signs."
    )


def test_weights_of_zero_are_not_against_a_sign() -> None:
    assert check_signs([result(weights=np.zeros(4))], is_constrained=True).passed


def test_without_constraints_order_and_signs_only_warn() -> None:
    wrong = [result(gaps=(gap(1.0, 2.0),), weights=np.array([3.0, 1.0, -0.5, 0.5]))]
    for check in (check_order(wrong, is_constrained=False), check_signs(wrong, is_constrained=False)):
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


# Error rates


def behavior(**error_rate: Any) -> Behavior:
    return Behavior.model_validate({**BEHAVIOR.model_dump(mode="json"), "error_rate": error_rate})


@pytest.mark.parametrize(
    ("rm", "total", "bar", "passes"),
    [
        (0.5, 0.04, 0.05, True),
        (0.5, 0.05, 0.05, True),
        (0.5, 0.051, 0.05, False),
        (0.04, 0.04, 0.05, False),  # No better than R_rm alone.
        (0.03, 0.04, 0.05, False),
        (0.0, 0.01, 0.05, False),
        (0.0, 0.0, 0.05, True),  # No pair is wrong, so nothing can be better.
        (0.5, 0.0, 0.0, True),
        (0.5, 0.01, 0.0, False),
    ],
)
def test_the_error_rate_must_reach_the_bar_and_be_below_that_of_the_reward_model(
    rm: float, total: float, bar: float, passes: bool
) -> None:
    check = check_error_rates([result(errors=ErrorRates(100, rm, 0.2, total))], behavior(bar=bar))
    assert check.passed == passes
    assert check.severity == dg.AssetCheckSeverity.ERROR


def test_the_words_name_each_response_type_with_its_error_rate_its_bar_and_what_to_do() -> None:
    results = [
        result("comply", errors=ErrorRates(100, 0.5, 0.2, 0.04)),
        result("hard_refusal", errors=ErrorRates(100, 0.02, 0.2, 0.02)),
        result("soft_refusal_intent", errors=ErrorRates(100, 0.5, 0.2, 0.01)),
    ]
    check = check_error_rates(results, behavior(bar=0.05, per_response_type={"comply": 0.03}))
    assert words(check) == (
        "The error rate of R_rm + R_rbr on held-out prompts is too high: comply has 0.040 of 100 pairs, the bar "
        "is 0.03; hard_refusal has 0.020 of 100 pairs, and R_rm alone has 0.020. The table wrongly_ordered_pairs "
        "says why. Add prompts or candidates, correct the recipes, or raise the bar in behavior.yaml."
    )


def test_a_bar_of_one_response_type_does_not_hold_for_others() -> None:
    high = ErrorRates(100, 0.9, 0.2, 0.3)
    bars = behavior(bar=0.05, per_response_type={"comply": 0.4})
    assert check_error_rates([result("comply", errors=high)], bars).passed
    assert not check_error_rates([result("hard_refusal", errors=high)], bars).passed


NO_PAIRS = ErrorRates(0, None, None, None)


@pytest.mark.parametrize(
    ("n_pairs", "n_left_out", "passed", "description"),
    [
        (10, 0, True, "Error rate of R_rm + R_rbr on held-out prompts: hard_refusal 0.000 of 10 pairs."),
        (10, 3, True, "Error rate of R_rm + R_rbr on held-out prompts: hard_refusal 0.000 of 10 pairs (3 left out)."),
        (
            1,
            0,
            False,
            "Undecided: There are fewer than 10 held-out pairs: hard_refusal has 0.000 of 1 pairs. Add prompts, or "
            "raise fit.held_out_fraction or synthesis.candidates.",
        ),
    ],
    ids=["enough", "enough, and some left out", "a single pair"],
)
def test_an_error_rate_rests_on_enough_pairs_or_the_check_warns(
    n_pairs: int, n_left_out: int, passed: bool, description: str
) -> None:
    check = check_error_rates([result(errors=ErrorRates(n_pairs, 0.5, 0.2, 0.0, n_left_out))], BEHAVIOR)
    assert (check.passed, words(check)) == (passed, description)
    assert passed or check.severity == dg.AssetCheckSeverity.WARN


def test_an_error_rate_of_few_pairs_still_stops_the_run_if_it_is_too_high() -> None:
    check = check_error_rates([result(errors=ErrorRates(2, 0.5, 0.2, 0.5))], BEHAVIOR)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR


def test_without_held_out_pairs_the_error_rate_is_undecided() -> None:
    check = check_error_rates([result("comply", errors=NO_PAIRS), result("hard_refusal")], BEHAVIOR)
    assert_undecided(check)
    assert words(check) == (
        "Undecided: There is no held-out pair with an ideal reply: comply. Add prompts, or raise fit.held_out_fraction "
        "or synthesis.candidates."
    )


def test_an_error_rate_that_is_too_high_is_reported_even_if_another_is_undecided() -> None:
    high = ErrorRates(100, 0.9, 0.2, 0.3)
    check = check_error_rates([result("comply", errors=NO_PAIRS), result(errors=high)], BEHAVIOR)
    assert not check.passed
    assert words(check).startswith("The error rate of R_rm + R_rbr on held-out prompts is too high: hard_refusal")
