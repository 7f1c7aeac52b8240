"""R_rbr with refused and missing answers: compared with all replies and all completions, one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.classes.features import FeatureMap
from rbr.reward.graded_replies import MAX_UNREAD, GradedReplies, known_r_rbr, lowest_r_rbr
from rbr.rulebook import ClassDiagram, compile_rules
from tests.rbr.reward.hostile_data import reward_rules, rewards_of_all_replies
from tests.rbr.rulebook.random_rules import NAMES, diagrams

OUTSIDE = ("x", "y")


@settings(max_examples=100, deadline=None)
@given(diagrams(), st.sets(st.sampled_from((*NAMES, *OUTSIDE))), st.integers(0, 2**32 - 1))
def test_the_lowest_r_rbr_is_that_of_all_replies(diagram: ClassDiagram, chosen: set[str], seed: int) -> None:
    features = FeatureMap(diagram, tuple(sorted(chosen)), {})
    weights = np.random.default_rng(seed).normal(0, 2, len(features.feature_names))
    r_rbr, _ = rewards_of_all_replies(features, weights)
    assert lowest_r_rbr(reward_rules(features, weights)) == pytest.approx(r_rbr.min(), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(diagrams(), st.sets(st.sampled_from((*NAMES, *OUTSIDE))), st.integers(0, 2**32 - 1))
def test_no_grades_give_less_than_the_lowest_r_rbr(diagram: ClassDiagram, chosen: set[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    thresholds = dict.fromkeys(diagram.propositions, 0.75)
    features = FeatureMap(diagram, tuple(sorted(chosen)), thresholds)
    rules = reward_rules(features, generator.normal(0, 2, len(features.feature_names)))
    p_yes = generator.random((20, len(features.propositions)))
    assert (rules.r_rbr(p_yes) >= lowest_r_rbr(rules) - 1e-9).all()


@settings(max_examples=200, deadline=None)
@given(diagrams(), st.sets(st.sampled_from((*NAMES, *OUTSIDE))), st.integers(0, 2**32 - 1))
def test_r_rbr_is_known_exactly_if_all_completions_agree(diagram: ClassDiagram, chosen: set[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    features = FeatureMap(diagram, tuple(sorted(chosen)), {})
    # Equal and zero weights, and certain grades, so that many unread answers do not matter.
    rules = reward_rules(features, generator.integers(-1, 2, len(features.feature_names)).astype(float))
    p_yes = generator.choice([0.0, 1.0, 0.25, np.nan], (6, len(features.propositions)), p=[0.35, 0.35, 0.1, 0.2])
    for grades, r_rbr in zip(p_yes, known_r_rbr(rules, p_yes), strict=True):
        unread = np.flatnonzero(np.isnan(grades))
        completions = np.repeat(grades[None], 2 ** len(unread), axis=0)
        completions[:, unread] = list(product([0.0, 1.0], repeat=len(unread)))
        values = rules.r_rbr(completions)
        if np.ptp(values) > 1e-9:
            assert np.isnan(r_rbr)
        else:
            assert r_rbr == pytest.approx(values[0])
            # Then R_rbr is the same for probabilities between 0 and 1, too.
            completions[:, unread] = generator.random((len(completions), len(unread)))
            assert rules.r_rbr(completions) == pytest.approx(r_rbr)


@pytest.mark.parametrize(("n_unread", "is_known"), [(MAX_UNREAD, True), (MAX_UNREAD + 1, False)])
def test_a_reply_with_too_many_unread_answers_has_no_r_rbr(n_unread: int, is_known: bool) -> None:
    names = [f"a{index:02}" for index in range(n_unread)]
    diagram = compile_rules({"good": "not harm", "bad": "harm"}, ["good", "bad"])
    features = FeatureMap(diagram, tuple(names), {})
    rules = reward_rules(features, np.array([1.0, -1.0, *[0.0] * n_unread]))
    p_yes = np.array([[np.nan if name in names else 1.0 for name in features.propositions]])
    assert np.isfinite(known_r_rbr(rules, p_yes)).tolist() == [is_known]


def test_no_response_type_gives_no_r_rbr() -> None:
    joined = GradedReplies.joined([], n_replies=2)
    assert np.isnan(joined.r_rbr).all()
    assert not (joined.refused | joined.unread | joined.unanswered).any()
