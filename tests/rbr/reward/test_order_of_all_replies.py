"""The fitted reward says what the rules say, for every reply that the rules allow, whatever the data say.

Each test enumerates all truth values of the propositions and computes R_rbr as a user of the reward does.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.classes.features import FeatureMap, feature_map
from rbr.reward.class_order import ClassOrder
from rbr.reward.comparison_pairs import comparison_pairs, complete_replies
from rbr.reward.fit import ORDER_LEAD, FitResult, fit
from rbr.reward.fit_problems import FitProblem
from rbr.reward.signs import feature_signs
from rbr.reward.solver.interior_point import HingeProgram
from rbr.reward.solver.pair_problem import WeightConstraints
from rbr.rulebook import Behavior, ClassDiagram, compile_rules, load_behavior, load_rulebook
from rbr.rulebook.parts import SIGN_VALUES, Sign
from rbr.rulebook.released_rules import import_released_rules
from tests.rbr.reward.hostile_data import hostile_problem, rewards_of_all_replies
from tests.rbr.reward.solver.cutting_planes import bounds_of_optimum
from tests.rbr.rulebook.random_rules import NAMES, all_truths, diagrams, with_and_without

ROOT = Path(__file__).resolve().parents[3]
RELEASED = ROOT.parent / "shared" / "openai-rbr" / "proposition_prompts.yaml"
RESPONSE_TYPES = ("hard_refusal", "soft_refusal_intent", "soft_refusal_method", "comply")
OUTSIDE = ("x", "y")
"""Propositions that no class rule of the random rules names."""
ROUNDING = 1e-9


def fitted(problem: FitProblem, constraints: str = "order_and_signs", l2: float = 0.001) -> FitResult:
    return fit(problem, l2=l2, held_out_fraction=0.0, bootstrap=0, seed=0, constraints=constraints)


def check_all_replies(features: FeatureMap, problem: FitProblem, result: FitResult) -> None:
    """Checks order, gaps and signs of a constrained fit against all replies."""
    r_rbr, classes = rewards_of_all_replies(features, result.weights)
    # 1. No reply gets a lower R_rbr than a reply of a worse class, and the gaps are exact.
    reached = [index for index in range(len(features.classes)) if (classes == index).any()]
    lowest = {index: r_rbr[classes == index].min() for index in reached}
    highest = {index: r_rbr[classes == index].max() for index in reached}
    size = ROUNDING * max(1.0, np.abs(result.weights).sum())
    assert len(result.gaps) == len(reached) - 1
    for gap, (better, worse) in zip(result.gaps, pairwise(reached), strict=True):
        assert (gap.better.class_name, gap.worse.class_name) == (features.classes[better], features.classes[worse])
        assert gap.better.r_rbr == pytest.approx(lowest[better], abs=size)
        assert gap.worse.r_rbr == pytest.approx(highest[worse], abs=size)
        assert gap.lead >= 0.999 * ORDER_LEAD * result.spread - size
    # 2. A proposition does to R_rbr what the class rules say.
    declared = dict(zip(features.feature_propositions, problem.signs[len(features.classes) :], strict=True))
    by_rules = feature_signs(FeatureMap(features.diagram, features.propositions, {}), declared={})
    for column, (name, sign) in enumerate(zip(features.propositions, by_rules[len(features.classes) :], strict=True)):
        without, with_it = with_and_without(r_rbr, column)
        if declared.get(name, sign) != sign or sign == "free":
            continue
        change = (with_it - without) * SIGN_VALUES[sign]
        assert change.min() >= -size, name
    # 3. Every weight has its sign, exactly.
    assert not (result.weights * [SIGN_VALUES[sign] for sign in problem.signs] < 0).any()
    assert result.against_signs == ()
    assert result.gap <= 1e-8


@st.composite
def feature_maps(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> tuple[FeatureMap, dict[str, Sign]]:
    """Draws class rules, features inside and outside of them, thresholds, and declared signs of some features."""
    diagram: ClassDiagram = draw(diagrams(names))
    names = (*names, *OUTSIDE)
    chosen = tuple(sorted(draw(st.sets(st.sampled_from(names)))))
    thresholds = draw(st.dictionaries(st.sampled_from(names), st.floats(0.1, 0.9), max_size=3))
    signs: st.SearchStrategy[Sign] = st.sampled_from(["desired", "undesired", "free"])
    declared = draw(st.dictionaries(st.sampled_from(chosen), signs)) if chosen else {}
    return FeatureMap(diagram, chosen, thresholds), declared


@settings(max_examples=60, deadline=None)
@given(feature_maps(), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1e-2, 1.0]))
def test_the_reward_follows_random_rules_for_all_replies(
    made: tuple[FeatureMap, dict[str, Sign]], seed: int, l2: float
) -> None:
    features, declared = made
    problem = hostile_problem(features, declared, seed)
    check_all_replies(features, problem, fitted(problem, l2=l2))


def check_rulebook(behavior: Behavior, response_type: str) -> None:
    features = feature_map(behavior, response_type)
    problem = hostile_problem(features, behavior.response_types[response_type].signs, seed=1, prompts=60)
    free = fitted(problem, "none")
    # The data are hostile indeed: without constraints, the fit contradicts the rules.
    assert free.order_lead is not None and free.order_lead < 0
    assert free.against_signs
    result = fitted(problem)
    assert result.constraint_price > 0.01
    check_all_replies(features, problem, result)


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_the_reward_follows_the_default_rulebook_for_all_replies(response_type: str) -> None:
    check_rulebook(load_behavior(ROOT / "rulebook" / "behavior.yaml"), response_type)


@pytest.mark.skipif(not RELEASED.is_file(), reason="the released rules are not here")
@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_the_reward_follows_the_released_rules_for_all_replies(response_type: str, tmp_path: Path) -> None:
    import_released_rules(RELEASED, tmp_path / "rulebook")
    check_rulebook(load_rulebook(tmp_path / "rulebook").behavior, response_type)


def all_constraints(features: FeatureMap, problem: FitProblem) -> WeightConstraints:
    """Returns every constraint of the fit: one per pair of replies of neighboring classes, and one per sign."""
    truths = all_truths(len(features.propositions)).astype(np.float64)
    columns = [features.propositions.index(name) for name in features.diagram.propositions]
    classes = features.diagram.classify(truths[:, columns] > 0.5)
    replies = {int(index): np.unique(features.features(truths[classes == index]), axis=0) for index in set(classes)}
    differences = [
        (replies[better][:, None] - replies[worse][None]).reshape(-1, len(features.feature_names))
        for better, worse in pairwise(sorted(replies))
    ]
    order = np.unique(np.vstack([np.empty((0, len(features.feature_names))), *differences]), axis=0)
    signs = np.diag([SIGN_VALUES[sign] for sign in problem.signs])
    return WeightConstraints(
        np.vstack([order, signs]), np.concatenate([np.full(len(order), ORDER_LEAD), np.zeros(len(signs))])
    )


@settings(max_examples=12, deadline=None)
@given(feature_maps(names=NAMES[:3]), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1e-1]))
def test_no_weights_that_satisfy_every_constraint_have_a_smaller_objective(
    made: tuple[FeatureMap, dict[str, Sign]], seed: int, l2: float
) -> None:
    features, declared = made
    problem = hostile_problem(features, declared, seed, prompts=6, replies_per_prompt=4)
    for constraints in ("order_and_signs", "none"):
        result = fitted(problem, constraints, l2)
        pairs = comparison_pairs(problem, complete_replies(problem))
        r_rm = problem.r_rm / result.spread
        limits = WeightConstraints.none(len(features.feature_names))
        if constraints == "order_and_signs":
            limits = all_constraints(features, problem)
        bounds = bounds_of_optimum(
            HingeProgram(
                problem.features[pairs.better] - problem.features[pairs.worse],
                pairs.margins + r_rm[pairs.worse] - r_rm[pairs.better],
                np.full(len(pairs), 1 / len(pairs)),
                l2,
                np.zeros(len(features.feature_names)),
                limits,
            )
        )
        close = 1e-6 * max(1e-3, result.primal)
        assert bounds.lower - close <= result.primal <= bounds.upper + close


@settings(max_examples=25, deadline=None)
@given(feature_maps(), st.integers(0, 2**32 - 1))
def test_the_constraints_cost_objective_and_none_switches_them_off(
    made: tuple[FeatureMap, dict[str, Sign]], seed: int
) -> None:
    features, declared = made
    problem = hostile_problem(features, declared, seed)
    free, constrained = fitted(problem, "none"), fitted(problem)
    bare = fitted(replace(problem, order=None, signs=()), "order_and_signs")
    np.testing.assert_array_equal(free.weights, bare.weights)
    assert (free.constraint_price, bare.constraint_price, bare.gaps) == (0.0, 0.0, ())
    assert constrained.primal >= free.dual - ROUNDING
    assert constrained.constraint_price >= -ROUNDING
    assert constrained.constraint_price == pytest.approx(constrained.hinge_loss - free.hinge_loss)


def test_data_that_agree_with_the_rules_are_fitted_as_without_constraints() -> None:
    diagram = compile_rules({"good": "a and b", "fair": "a and not b", "bad": "not a"}, ["good", "fair", "bad"])
    features = FeatureMap(diagram, (), {})
    replies = [np.eye(3)[rank] for _ in range(20) for rank in range(3)]
    problem = FitProblem(
        response_type="hard_refusal",
        feature_names=features.feature_names,
        prompt_ids=[f"p{prompt}" for prompt in range(20) for _ in range(3)],
        labels=["best", "middle", "worst"] * 20,
        features=np.array(replies),
        r_rm=np.random.default_rng(0).normal(0, 1, 60),
        ranking=[["best"], ["middle"], ["worst"]],
        margins={},
        order=ClassOrder(diagram, ()),
        signs=("free",) * 3,
    )
    np.testing.assert_allclose(fitted(problem).weights, fitted(problem, "none").weights, atol=1e-6)


@pytest.mark.parametrize("outside", [1, 40])
def test_many_propositions_outside_the_rules_need_few_rounds_and_leave_the_order(outside: int) -> None:
    # Each outside proposition may be true or false in every class, so there are 2^outside orders to satisfy.
    diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
    names = tuple(f"outside_{number:02}" for number in range(outside))
    features = FeatureMap(diagram, names, {})
    rng = np.random.default_rng(outside)
    problem = FitProblem(
        response_type="comply",
        feature_names=features.feature_names,
        prompt_ids=[f"p{reply // 4}" for reply in range(200)],
        labels=["better", "worse"] * 100,
        features=features.features(rng.random((200, outside + 1))),
        r_rm=rng.normal(size=200),
        ranking=[["better"], ["worse"]],
        margins={},
        order=ClassOrder(diagram, names),
        signs=feature_signs(features, {}),
    )
    result = fit(problem, l2=0.01, held_out_fraction=0.0, bootstrap=2, seed=0)
    good, bad, *others = result.weights
    # The worst good reply has every proposition that costs; the best bad reply has every one that earns.
    lead = good - bad - np.abs(others).sum()
    assert lead == pytest.approx(result.order_lead)
    assert lead > 0 and result.is_optimal
