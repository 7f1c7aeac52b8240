"""The checks of `fitted_weights`: is the fit optimal, and does the reward say what the rules say?"""

from collections.abc import Sequence

import dagster as dg

from rbr.reward.class_order import OrderGap
from rbr.reward.fit_result import MAX_GAP, FitResult
from rbr.rulebook import Behavior
from resources.pages.check_results import check_result

MIN_ERROR_PAIRS = 10
"""Number of held-out pairs below which an error rate says too little to pass its bar."""

_NOTHING_FITTED = "No weights were fitted, because there is no verified comparison."

CHECKS = [
    dg.AssetCheckSpec(
        "weights_are_optimal",
        asset="fitted_weights",
        blocking=True,
        description=f"The relative duality gap of each fit is at most {MAX_GAP:g}, so the weights are optimal.",
    ),
    dg.AssetCheckSpec(
        "reward_orders_classes_as_ranked",
        asset="fitted_weights",
        blocking=True,
        description="No reply gets a lower R_rbr than a reply of a worse class, for all truth values of propositions.",
    ),
    dg.AssetCheckSpec(
        "weights_have_declared_signs",
        asset="fitted_weights",
        blocking=True,
        description="No undesired proposition has a positive weight, and no desired one has a negative weight.",
    ),
    dg.AssetCheckSpec(
        "reward_error_rate_reaches_bar",
        asset="fitted_weights",
        blocking=True,
        description="On held-out prompts, the error rate of R_rm + R_rbr is at most its bar. It is also 0, or lower "
        "than that of R_rm alone.",
    ),
]


def check_optimality(results: Sequence[FitResult]) -> dg.AssetCheckResult:
    """Checks the duality gap of each fit."""
    above = [f"{result.response_type} {result.gap:.1e}" for result in results if not result.gap <= MAX_GAP]
    problem = f"The relative duality gap is above {MAX_GAP:g}: {', '.join(above)}. Raise fit.l2, and report the data."
    largest = max((result.gap for result in results), default=0.0)
    all_well = f"The largest relative duality gap is {largest:.1e}."
    return _result("weights_are_optimal", results, problem if above else None, all_well, blocks=True)


def check_order(results: Sequence[FitResult], *, is_constrained: bool) -> dg.AssetCheckResult:
    """Checks that no reply gets a lower R_rbr than a reply of a worse class.

    Args:
        results: The fits.
        is_constrained: Whether the fit had to respect the order. If not, the check only warns.
    """
    wrong = [
        f"{result.response_type}: {_describe(gap)}." for result in results for gap in result.gaps if not gap.lead > 0
    ]
    problem = f"R_rbr is against the order of the classes. {' '.join(wrong)} Set fit.constraints to order_and_signs."
    leads = [f"{result.response_type} {result.order_lead:.3f}" for result in results if result.gaps]
    all_well = f"Smallest lead of a class over the next worse class: {', '.join(leads) or 'there is one class only'}."
    name = "reward_orders_classes_as_ranked"
    return _result(name, results, problem if wrong else None, all_well, blocks=is_constrained)


def check_signs(results: Sequence[FitResult], *, is_constrained: bool) -> dg.AssetCheckResult:
    """Checks that no weight is against the sign of its proposition.

    Args:
        results: The fits.
        is_constrained: Whether the fit had to respect the signs. If not, the check only warns.
    """
    wrong = [f"{result.response_type}: {', '.join(result.against_signs)}" for result in results if result.against_signs]
    problem = (
        f"Weights against the sign of their proposition: {'; '.join(wrong)}. Set fit.constraints to order_and_signs."
    )
    all_well = "Every weight has the sign of its proposition."
    name = "weights_have_declared_signs"
    return _result(name, results, problem if wrong else None, all_well, blocks=is_constrained)


def check_error_rates(results: Sequence[FitResult], behavior: Behavior) -> dg.AssetCheckResult:
    """Checks the error rate of R_rm + R_rbr on held-out prompts against its bar, and against R_rm alone.

    The check is undecided without a held-out pair, and stops the run. With fewer than `MIN_ERROR_PAIRS` pairs, it is
    undecided, too, but only warns.
    """
    problems, undecided, too_few = [], [], []
    for result in results:
        name, errors, bar = result.response_type, result.errors, behavior.error_rate.bar_of(result.response_type)
        if errors.total is None or errors.rm is None:
            undecided.append(name)
        elif errors.total > bar:
            problems.append(f"{name} has {_rate(result)}, the bar is {bar:g}")
        elif 0 < errors.total >= errors.rm:
            problems.append(f"{name} has {_rate(result)}, and R_rm alone has {errors.rm:.3f}")
        elif errors.n_pairs < MIN_ERROR_PAIRS:
            too_few.append(f"{name} has {_rate(result)}")
    if problems:
        words = (
            f"The error rate of R_rm + R_rbr on held-out prompts is too high: {'; '.join(problems)}. The table "
            "wrongly_ordered_pairs says why. Add prompts or candidates, correct the recipes, or raise the bar in "
            "behavior.yaml."
        )
    elif not results:
        words = _NOTHING_FITTED
    elif undecided:
        words = (
            f"There is no held-out pair with an ideal reply: {', '.join(undecided)}. "
            "Add prompts, or raise fit.held_out_fraction or synthesis.candidates."
        )
    elif too_few:
        words = (
            f"There are fewer than {MIN_ERROR_PAIRS} held-out pairs: {'; '.join(too_few)}. "
            "Add prompts, or raise fit.held_out_fraction or synthesis.candidates."
        )
    else:
        rates = "; ".join(f"{result.response_type} {_rate(result)}" for result in results)
        words = f"Error rate of R_rm + R_rbr on held-out prompts: {rates}."
    passed = False if problems else None if undecided or too_few or not results else True
    blocks = bool(problems or undecided or not too_few)
    return check_result("reward_error_rate_reaches_bar", passed=passed, words=words, blocks=blocks)


def _rate(result: FitResult) -> str:
    """Returns the error rate of R_rm + R_rbr in words, with the number of pairs that it rests on."""
    errors = result.errors
    left_out = f" ({errors.n_left_out} left out)" if errors.n_left_out else ""
    return f"{errors.total:.3f} of {errors.n_pairs} pairs{left_out}"


def _result(
    name: str, results: Sequence[FitResult], problem: str | None, all_well: str, *, blocks: bool
) -> dg.AssetCheckResult:
    """Returns the result of a check that is undecided if nothing was fitted, and passes if there is no problem."""
    if not results:
        return check_result(name, passed=None, words=_NOTHING_FITTED, blocks=blocks)
    return check_result(name, passed=problem is None, words=problem or all_well, blocks=blocks)


def _describe(gap: OrderGap) -> str:
    better, worse = gap.better, gap.worse
    return (
        f"a reply of the class {worse.class_name} with {_listed(worse.true_propositions)} gets {worse.r_rbr:+.3f}, and "
        f"a reply of the better class {better.class_name} with {_listed(better.true_propositions)} gets "
        f"{better.r_rbr:+.3f}"
    )


def _listed(propositions: tuple[str, ...]) -> str:
    return ", ".join(propositions) or "no proposition"
