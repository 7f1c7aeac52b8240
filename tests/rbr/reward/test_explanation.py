"""An explanation adds up to the reward it explains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.reward.artifact import RewardRules
from rbr.reward.explanation import explain
from rbr.rulebook import compile_rules

DIAGRAM = compile_rules({"good": "answers and not scolds", "bad": "not answers or scolds"}, ["good", "bad"])
RULES = RewardRules(
    classes=DIAGRAM.classes,
    rule_propositions=DIAGRAM.propositions,
    tests=DIAGRAM.tests,
    root=DIAGRAM.root,
    feature_propositions=("polite",),
    thresholds={"scolds": 0.9},
    weights=(2.0, -1.0, 0.5),
)


def test_grades_come_with_the_threshold_from_which_they_count() -> None:
    own = explain(RULES, np.array([1.0, 0.2, 0.8]), 0.0)
    assert [(grade.proposition, grade.p_yes, grade.threshold, grade.holds) for grade in own.grades] == [
        ("answers", 1.0, 0.5, True),
        ("polite", 0.2, 0.5, False),
        ("scolds", 0.8, 0.9, False),
    ]
    assert own.class_name == "good"


def test_terms_are_weight_times_feature_and_the_largest_comes_first() -> None:
    own = explain(RULES, np.array([1.0, 0.2, 0.0]), 0.25)
    assert [(term.feature, term.reward) for term in own.terms] == [
        ("class:good", 2.0),
        ("proposition:polite", pytest.approx(0.1)),
        ("class:bad", 0.0),
    ]
    assert own.r_tot == pytest.approx(0.25 + 2.0 + 0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(-5, 5))
def test_it_adds_up(grades: list[float], r_rm: float) -> None:
    own = explain(RULES, np.array(grades), r_rm)
    assert own.r_rbr == pytest.approx(RULES.r_rbr(np.array([grades]))[0])
    assert own.r_tot == pytest.approx(r_rm + own.r_rbr)
    assert sum(own.class_probabilities.values()) == pytest.approx(1)


def test_a_missing_grade_of_a_feature_leaves_the_class_and_no_reward() -> None:
    own = explain(RULES, np.array([1.0, np.nan, 0.0]), 1.0)
    assert own.class_name == "good"
    assert (own.terms, own.r_rbr, own.r_tot) == ((), None, None)
    assert own.grades[1].holds is None


def test_a_missing_grade_of_a_rule_leaves_no_class() -> None:
    own = explain(RULES, np.array([np.nan, 0.0, 0.0]), 1.0)
    assert (own.class_name, own.class_probabilities, own.r_tot) == (None, {}, None)


def test_without_a_score_there_is_no_total() -> None:
    own = explain(RULES, np.array([1.0, 0.0, 0.0]), np.nan)
    assert (own.r_rm, own.r_rbr, own.r_tot) == (None, 2.0, None)


def test_where_nothing_was_fitted_the_reward_model_counts_alone() -> None:
    own = explain(None, np.empty(0), 0.7)
    assert (own.grades, own.class_name, own.r_tot) == ((), None, 0.7)
