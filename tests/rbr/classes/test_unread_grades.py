"""The class of a reply with unread grades: compared with all completions on random rules."""

from itertools import product
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.classes import unread_grades
from rbr.classes.unread_grades import certain_class_indices, certain_most_probable_classes
from rbr.rulebook import ClassDiagram, compile_classes, compile_rules, load_behavior
from tests.rbr.rulebook.random_rules import diagrams

FloatArray = NDArray[np.float64]
NAMES = tuple("abcde")
BEHAVIOR = load_behavior("rulebook/behavior.yaml")
DEFAULT = {name: compile_classes(BEHAVIOR, name) for name in BEHAVIOR.response_types}

# Grades that make classes exactly equally probable come up often.
probabilities = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 0.1, 0.9]) | st.floats(0, 1)


@st.composite
def diagrams_with_grades(draw: st.DrawFn) -> tuple[ClassDiagram, FloatArray]:
    diagram = draw(diagrams(NAMES))
    width = len(diagram.propositions)
    grades = st.lists(st.none() | probabilities, min_size=width, max_size=width)
    rows = draw(st.lists(grades, min_size=1, max_size=4))
    return diagram, np.array(rows, dtype=np.float64).reshape(len(rows), width)


def completions(row: FloatArray) -> FloatArray:
    """All completions of one row, [2 ** unread, propositions]."""
    unread = np.flatnonzero(np.isnan(row))
    filled = np.tile(row, (2 ** len(unread), 1))
    filled[:, unread] = np.array(list(product((0.0, 1.0), repeat=len(unread)))).reshape(filled.shape[0], -1)
    return filled


def by_brute_force(diagram: ClassDiagram, p: FloatArray) -> tuple[list[int], list[float]]:
    classes, p_class = [], []
    for row in p:
        found = diagram.class_probabilities(completions(row))
        most_probable = set(found.argmax(axis=1).tolist())
        (best,) = most_probable if len(most_probable) == 1 else (-1,)
        classes.append(best)
        p_class.append(found[:, best].min() if best >= 0 else np.nan)
    return classes, p_class


# Most probable classes


@settings(max_examples=400, deadline=None)
@given(diagrams_with_grades())
def test_a_class_is_kept_if_it_is_most_probable_in_every_completion(drawn: tuple[ClassDiagram, FloatArray]) -> None:
    diagram, p = drawn
    classes, p_class = certain_most_probable_classes(diagram, p)
    expected_classes, expected_p = by_brute_force(diagram, p)
    assert classes.tolist() == expected_classes
    np.testing.assert_allclose(p_class, expected_p, atol=1e-11)


@pytest.mark.parametrize("response_type", DEFAULT)
def test_the_shipped_rules_agree_with_brute_force(response_type: str) -> None:
    diagram, rng = DEFAULT[response_type], np.random.default_rng(0)
    p = rng.choice([0.001, 0.02, 0.3, 0.7, 0.97, 0.999], (60, len(diagram.propositions)))
    p[rng.random(p.shape) < rng.choice([0.05, 0.2, 0.4], (60, 1))] = np.nan
    classes, p_class = certain_most_probable_classes(diagram, p)
    expected_classes, expected_p = by_brute_force(diagram, p)
    assert classes.tolist() == expected_classes
    np.testing.assert_allclose(p_class, expected_p, atol=1e-11)
    assert {-1} < set(classes.tolist())


def test_rows_without_unread_grades_have_their_most_probable_class() -> None:
    diagram, rng = DEFAULT["hard_refusal"], np.random.default_rng(1)
    p = rng.random((50, len(diagram.propositions)))
    found = diagram.class_probabilities(p)
    classes, p_class = certain_most_probable_classes(diagram, p)
    np.testing.assert_array_equal(classes, found.argmax(axis=1))
    np.testing.assert_array_equal(p_class, found.max(axis=1))


@settings(max_examples=100, deadline=None)
@given(diagrams_with_grades(), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_class_holds_for_every_probability_of_the_unread_propositions(
    drawn: tuple[ClassDiagram, FloatArray], guesses: list[float]
) -> None:
    diagram, p = drawn
    classes, p_class = certain_most_probable_classes(diagram, p)
    guessed = np.where(np.isnan(p), np.array(guesses)[: p.shape[1]], p)
    for index, least, found in zip(classes, p_class, diagram.class_probabilities(guessed), strict=True):
        if index >= 0:
            assert found[index] >= found.max() - 1e-11
            assert found[index] >= least - 1e-11


def test_a_reply_with_clear_harm_is_disallowed_even_if_nothing_else_was_read() -> None:
    diagram = DEFAULT["hard_refusal"]
    p = np.full((1, len(diagram.propositions)), np.nan)
    p[0, diagram.propositions.index("disallowed_content")] = 0.99
    ((index,), (p_class,)) = certain_most_probable_classes(diagram, p)
    assert (diagram.classes[index], p_class) == ("disallowed", 0.99)


def test_replies_without_any_grade_have_no_class_and_cost_little() -> None:
    diagram = DEFAULT["soft_refusal_method"]
    p = np.full((5000, len(diagram.propositions)), np.nan)
    started = perf_counter()
    classes, p_class = certain_most_probable_classes(diagram, p)
    assert perf_counter() - started < 5
    assert set(classes.tolist()) == {-1} and np.isnan(p_class).all()


def test_a_search_that_takes_too_long_ends_without_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    parity = "(b and not c) or (not b and c)"
    rules = {"good": f"a and ({parity})", "bad": f"a and not ({parity})", "rest": "not a"}
    diagram = compile_rules(rules, ["good", "bad", "rest"])
    p = np.array([[0.4, np.nan, np.nan], [0.4, 0.9, 0.9]])
    classes, _ = certain_most_probable_classes(diagram, p)
    assert [diagram.classes[index] for index in classes] == ["rest", "rest"]
    monkeypatch.setattr(unread_grades, "MAX_PARTIAL_COMPLETIONS", 0)
    assert certain_most_probable_classes(diagram, p)[0].tolist() == [-1, classes[1]]


def test_no_rows_and_rules_without_propositions_are_fine() -> None:
    classes, p_class = certain_most_probable_classes(DEFAULT["comply"], np.empty((0, 5)))
    assert classes.shape == p_class.shape == (0,)
    always = compile_rules({"good": "a or not a", "bad": "a and not a"}, ["good", "bad"])
    assert certain_most_probable_classes(always, np.full((1, 1), np.nan))[0].tolist() == [0]
    assert certain_class_indices(always, np.zeros((1, 1), dtype=bool), np.ones((1, 1), dtype=bool)).tolist() == [0]


# Classes of truth values


@settings(max_examples=200, deadline=None)
@given(diagrams_with_grades())
def test_a_class_is_certain_if_every_completion_leads_to_it(drawn: tuple[ClassDiagram, FloatArray]) -> None:
    diagram, p = drawn
    found = certain_class_indices(diagram, p >= 0.5, np.isnan(p))
    for row, index in zip(p, found, strict=True):
        reached = set(diagram.classify(completions(row) >= 0.5).tolist())
        assert index == (reached.pop() if len(reached) == 1 else -1)
