"""Explanations of a reward: grades, class and terms, which add up to the reward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.reward.artifact import RewardRules
from rbr.reward.explanation import explain, explain_without_weights
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


def test_each_grade_has_its_threshold_and_counts_as_true_at_the_threshold() -> None:
    explanation = explain(RULES, np.array([1.0, 0.2, 0.8]), 0.0)
    assert [(grade.proposition, grade.p_yes, grade.threshold, grade.holds) for grade in explanation.grades] == [
        ("answers", 1.0, 0.5, True),
        ("polite", 0.2, 0.5, False),
        ("scolds", 0.8, 0.9, False),
    ]
    assert explanation.class_name == "good"


def test_terms_are_weight_times_feature_and_the_largest_comes_first() -> None:
    explanation = explain(RULES, np.array([1.0, 0.2, 0.0]), 0.25)
    assert [(term.feature, term.reward) for term in explanation.terms] == [
        ("class:good", 2.0),
        ("proposition:polite", pytest.approx(0.1)),
        ("class:bad", 0.0),
    ]
    assert explanation.r_tot == pytest.approx(0.25 + 2.0 + 0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(-5, 5))
def test_the_terms_add_up_to_r_rbr_and_r_tot(grades: list[float], r_rm: float) -> None:
    explanation = explain(RULES, np.array(grades), r_rm)
    assert explanation.r_rbr == pytest.approx(RULES.r_rbr(np.array([grades]))[0])
    assert explanation.r_tot == pytest.approx(r_rm + explanation.r_rbr)
    assert sum(explanation.class_probabilities.values()) == pytest.approx(1)


def test_with_a_missing_feature_grade_the_class_is_known_and_the_reward_is_not() -> None:
    explanation = explain(RULES, np.array([1.0, np.nan, 0.0]), 1.0)
    assert explanation.class_name == "good"
    assert (explanation.terms, explanation.r_rbr, explanation.r_tot) == ((), None, None)
    assert explanation.grades[1].holds is None


def test_with_a_missing_rule_grade_the_class_is_unknown() -> None:
    explanation = explain(RULES, np.array([np.nan, 0.0, 0.0]), 1.0)
    assert (explanation.class_name, explanation.class_probabilities, explanation.r_tot) == (None, {}, None)


def test_without_a_score_r_tot_is_unknown() -> None:
    explanation = explain(RULES, np.array([1.0, 0.0, 0.0]), np.nan)
    assert (explanation.r_rm, explanation.r_rbr, explanation.r_tot) == (None, 2.0, None)


def test_the_class_is_known_if_no_answer_to_the_unread_questions_changes_it() -> None:
    explanation = explain(RULES, np.array([np.nan, 0.2, 0.95]), 1.0)
    assert (explanation.class_name, explanation.unread) == ("bad", ("answers",))
    assert (explanation.class_probabilities, explanation.r_rbr) == ({}, None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1) | st.none(), min_size=3, max_size=3))
def test_before_the_fit_the_class_is_the_same_and_the_reward_is_unknown(grades: list[float | None]) -> None:
    p_yes = np.array([np.nan if grade is None else grade for grade in grades])
    fitted, unfitted = explain(RULES, p_yes, 0.5), explain_without_weights(RULES.features, p_yes, 0.5)
    assert (unfitted.grades, unfitted.class_name) == (fitted.grades, fitted.class_name)
    assert unfitted.class_probabilities == fitted.class_probabilities
    assert (unfitted.r_rm, unfitted.terms, unfitted.r_rbr, unfitted.r_tot) == (0.5, (), None, None)


def test_a_term_against_the_rules_is_marked() -> None:
    grades = np.array([1.0, 0.2, 0.1])
    changes = {"feature_propositions": ("answers", "scolds"), "weights": (2.0, -1.0, -0.5, 0.0)}
    rules = RewardRules(**{**RULES.model_dump(), **changes})
    terms = {term.feature: term for term in explain(rules, grades[:2], 0.0).terms}
    assert {name: term.sign for name, term in terms.items()} == {
        "class:good": "free",
        "class:bad": "free",
        "proposition:answers": "desired",
        "proposition:scolds": "undesired",
    }
    assert [name for name, term in terms.items() if term.is_against_sign] == ["proposition:answers"]
    # `polite` is in no class rule. The behavior policy may declare its sign.
    for declared, is_against in [({}, False), ({"polite": "undesired"}, True), ({"polite": "desired"}, False)]:
        terms = {term.feature: term for term in explain(RULES, grades, 0.0, declared).terms}
        assert terms["proposition:polite"].is_against_sign == is_against
