"""The gaps between classes are the extremes of R_rbr over all replies, and each comes with a reply that reaches it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.classes.features import FeatureMap
from rbr.reward.class_order import ClassOrder, OrderGap
from rbr.rulebook import ClassDiagram, compile_rules
from tests.rbr.reward.hostile_data import reward_rules, rewards_of_all_replies
from tests.rbr.rulebook.random_rules import NAMES, diagrams

OUTSIDE = ("x", "y")


def gaps(diagram: ClassDiagram, features: tuple[str, ...], weights: list[float]) -> list[OrderGap]:
    return ClassOrder(diagram, features).gaps(np.array(weights))


@settings(max_examples=100, deadline=None)
@given(diagrams(), st.sets(st.sampled_from((*NAMES, *OUTSIDE))), st.integers(0, 2**32 - 1), st.booleans())
def test_the_gaps_are_those_of_all_replies(diagram: ClassDiagram, chosen: set[str], seed: int, with_ties: bool) -> None:
    features = FeatureMap(diagram, tuple(sorted(chosen)), {})
    weights = np.random.default_rng(seed).normal(0, 2, len(features.feature_names))
    if with_ties:
        weights = weights.round()  # Many weights are 0 or equal.
    r_rbr, classes = rewards_of_all_replies(features, weights)
    order = ClassOrder(diagram, features.feature_propositions)
    reached = [name for index, name in enumerate(diagram.classes) if (classes == index).any()]
    assert list(order.classes) == reached
    found = order.gaps(weights)
    assert [(gap.better.class_name, gap.worse.class_name) for gap in found] == list(pairwise(reached))
    rules = reward_rules(features, weights)
    for gap in found:
        better, worse = (diagram.classes.index(reply.class_name) for reply in (gap.better, gap.worse))
        assert gap.better.r_rbr == pytest.approx(r_rbr[classes == better].min(), abs=1e-9)
        assert gap.worse.r_rbr == pytest.approx(r_rbr[classes == worse].max(), abs=1e-9)
        assert gap.lead == gap.better.r_rbr - gap.worse.r_rbr
        # The true propositions are those of a reply in this class, with these features and this reward.
        for reply in (gap.better, gap.worse):
            grades = np.array([[float(name in reply.true_propositions) for name in features.propositions]])
            np.testing.assert_array_equal(features.features(grades)[0], reply.features)
            assert features.classes[features.class_probabilities(grades)[0].argmax()] == reply.class_name
            assert rules.r_rbr(grades)[0] == pytest.approx(reply.r_rbr)


RULES = compile_rules({"good": "a and not b", "fair": "a and b", "bad": "not a"}, ["good", "fair", "bad"])


@pytest.mark.parametrize(
    ("features", "weights", "leads", "true_of_best_bad"),
    [
        # The classes alone.
        ((), [3.0, 1.0, 0.0], [2.0, 1.0], ()),
        ((), [1.0, 1.0, 2.0], [0.0, -1.0], ()),
        # `b` is false in good, true in fair, and can be true in bad.
        (("b",), [3.0, 1.0, 0.0, 0.5], [1.5, 1.0], ("b",)),
        (("b",), [3.0, 1.0, 0.0, -0.5], [2.5, 0.5], ()),
        # No rule names `x`: it can be false in the better class and true in the worse class.
        (("x",), [3.0, 1.0, 0.0, 0.75], [1.25, 0.25], ("x",)),
        (("x",), [3.0, 1.0, 0.0, -0.75], [1.25, 0.25], ()),
        (("b", "x"), [3.0, 1.0, 0.0, 0.5, 0.75], [0.75, 0.25], ("b", "x")),
    ],
)
def test_the_gaps_of_three_classes_by_hand(
    features: tuple[str, ...], weights: list[float], leads: list[float], true_of_best_bad: tuple[str, ...]
) -> None:
    found = gaps(RULES, features, weights)
    assert [gap.lead for gap in found] == pytest.approx(leads)
    assert found[-1].worse.true_propositions == true_of_best_bad


def test_a_class_that_no_reply_falls_into_is_skipped() -> None:
    diagram = compile_rules({"good": "a", "fair": "a and not a", "bad": "not a"}, ["good", "fair", "bad"])
    (gap,) = gaps(diagram, (), [1.0, -50.0, 0.0])
    assert (gap.better.class_name, gap.worse.class_name, gap.lead) == ("good", "bad", 1.0)


def test_one_class_has_no_gap() -> None:
    assert gaps(compile_rules({"all": "a or not a", "none": "a and not a"}, ["all", "none"]), (), [1.0, 0.0]) == []
