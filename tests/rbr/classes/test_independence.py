"""The effect of propositions on class probabilities, and what is certain about classes under any dependence."""

from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rbr.classes.features import FeatureMap
from rbr.classes.independence import class_probability_bounds, effect
from rbr.rulebook import ClassDiagram, compile_rules

NAMES = ("a", "b", "c")
ASSIGNMENTS = np.array(list(product([False, True], repeat=3)))


def diagram_of(table: list[int]) -> ClassDiagram:
    """Compiles rules with any truth table: the class of each of the eight assignments of a, b and c."""
    rules = {}
    for index, name in enumerate(("ideal", "partly", "bad")):
        rows = [values for values, of in zip(ASSIGNMENTS, table, strict=True) if of == index]
        cases = [" and ".join(n if v else f"not {n}" for n, v in zip(NAMES, row, strict=True)) for row in rows]
        rules[name] = " or ".join(f"({case})" for case in cases) or "a and not a"
    return compile_rules(rules, list(rules))


diagrams = st.lists(st.integers(0, 2), min_size=8, max_size=8).map(diagram_of)
probabilities = arrays(np.float64, (1, 3), elements=st.floats(0, 1))


@given(diagrams, probabilities, st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_class_of_a_reply_is_the_sum_of_the_terms_of_all_groups_of_propositions(
    diagram: ClassDiagram, p: np.ndarray, truth: list[bool]
) -> None:
    used = [NAMES.index(name) for name in diagram.propositions]
    x, p = np.array([truth], dtype=np.float64)[:, used], p[:, used]
    groups = chain.from_iterable(combinations(range(len(used)), size) for size in range(len(used) + 1))
    terms = [np.prod((x - p)[:, list(group)], axis=1) * effect(diagram, p, *group)[0] for group in groups]
    np.testing.assert_allclose(sum(terms), diagram.class_probabilities(x)[0], atol=1e-12)


@given(diagrams, probabilities, st.floats(0, 1))
def test_an_effect_sums_to_zero_and_does_not_depend_on_its_own_proposition(
    diagram: ClassDiagram, p: np.ndarray, other: float
) -> None:
    if not diagram.propositions:
        return
    p = p[:, : len(diagram.propositions)]
    before = effect(diagram, p, 0)
    changed = p.copy()
    changed[:, 0] = other
    np.testing.assert_allclose(before.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(effect(diagram, changed, 0), before, atol=1e-12)


@given(diagrams, arrays(np.float64, 8, elements=st.floats(0, 1)).filter(lambda weights: weights.sum() > 0.01))
def test_the_bounds_hold_for_every_dependence(diagram: ClassDiagram, weights: np.ndarray) -> None:
    joint = weights / weights.sum()  # probability of each assignment
    used = [NAMES.index(name) for name in diagram.propositions]
    marginals = np.clip((joint @ ASSIGNMENTS)[None, used], 0, 1)
    truth = np.bincount(diagram.classify(ASSIGNMENTS[:, used]), weights=joint, minlength=3)
    low, high = class_probability_bounds(diagram, marginals)
    assert np.all(low[0] <= truth + 1e-9)
    assert np.all(truth <= high[0] + 1e-9)


def test_a_certain_grade_leaves_no_room_for_dependence() -> None:
    diagram = compile_rules({"good": "a and b and c", "bad": "not (a and b and c)"}, ["good", "bad"])
    low, high = class_probability_bounds(diagram, np.array([[1.0, 1.0, 0.7], [0.0, 0.5, 0.5]]))
    np.testing.assert_allclose(low, [[0.7, 0.3], [0.0, 1.0]])
    np.testing.assert_allclose(high, low)


def test_a_missing_grade_has_no_bounds() -> None:
    diagram = compile_rules({"good": "a", "bad": "not a"}, ["good", "bad"])
    low, high = class_probability_bounds(diagram, np.array([[np.nan], [0.25]]))
    assert np.isnan(low[0]).all() and np.isnan(high[0]).all()
    np.testing.assert_allclose(low[1], [0.25, 0.75])


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 0.8), (0.8, 0.5)])
def test_rules_read_recentered_grades_of_their_own_propositions(threshold: float, expected: float) -> None:
    diagram = compile_rules({"good": "b", "bad": "not b"}, ["good", "bad"])
    features = FeatureMap(diagram, feature_propositions=("a", "c"), thresholds={"b": threshold})
    np.testing.assert_allclose(features.rule_probabilities(np.array([[0.1, 0.8, 0.3]])), [[expected]])
