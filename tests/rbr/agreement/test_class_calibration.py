"""Class probabilities against labels, on made-up graders of which the truth is known."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.agreement.class_calibration import (
    CLASS_SCHEMA,
    MATCHES,
    TOLERANCE,
    TOO_HIGH,
    TOO_LOW,
    UNDECIDED,
    compare_classes,
)
from rbr.agreement.dependent_pairs import APART, NOT_FOUND, PAIR_SCHEMA, TOGETHER, dependent_pairs
from rbr.agreement.judged_replies import JudgedReplies
from rbr.classes.features import FeatureMap
from rbr.rulebook import compile_rules

DIAGRAM = compile_rules(
    {"ideal": "a and b and c", "partly": "a and not (b and c)", "bad": "not a"}, ["ideal", "partly", "bad"]
)
FEATURES = FeatureMap(DIAGRAM, (), {})
COUNTS = ["class_name", "n", "n_unread", "verdict", "dependence_verdict"]

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def independent(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """Each proposition is true with its own probability, whatever the others are."""
    return rng.random(p.shape) < p


def together(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """The probabilities are right, but in four of five replies one draw decides all propositions."""
    one_draw = rng.random((len(p), 1)) < 0.8
    return np.where(one_draw, rng.random((len(p), 1)) < p, independent(rng, p))


def apart(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """The probabilities are right, but the propositions are true together as rarely as possible."""
    start = np.stack([np.zeros(len(p)), p[:, 0], p[:, 0] + p[:, 1]], axis=1)
    return (rng.random((len(p), 1)) - start) % 1 < p


def replies(draw: Draw, n: int, seed: int, *, per_prompt: int = 1) -> JudgedReplies:
    """Replies with grades between about 0.1 and 0.9."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(0.3, 1.2, (n, 1)) - rng.normal(0, 0.3, (n, 3))))
    truth = draw(rng, p)
    prompts = [str(number // per_prompt) for number in range(n)]
    return JudgedReplies(FEATURES, p, truth, np.ones_like(truth), prompts)


def with_unread(judged: JudgedReplies, n: int) -> JudgedReplies:
    p_yes = judged.p_yes.copy()
    p_yes[:n, 1] = np.nan
    return JudgedReplies(judged.features, p_yes, judged.truth, judged.labeled, judged.prompts)


def row_of(judged: JudgedReplies, class_name: str = "ideal") -> dict:
    return compare_classes(judged).row(by_predicate=pl.col("class_name") == class_name, named=True)


# Independent propositions


def test_independent_propositions_are_found_dependent_only_by_chance() -> None:
    judged = [replies(independent, n=150, seed=seed) for seed in range(60)]
    wrong_pairs = sum(dependent_pairs(one)["verdict"].is_in([TOGETHER, APART]).any() for one in judged)
    wrong_classes = sum(compare_classes(one)["verdict"].is_in([TOO_LOW, TOO_HIGH]).any() for one in judged)
    # In at most 5 % of samples, each: more than 8 of 60 have a probability below 1 %.
    assert wrong_pairs <= 8
    assert wrong_classes <= 8


def test_a_confident_grader_that_is_right_raises_no_alarm() -> None:
    # Two unlikely mistakes in one reply almost never happen, so their absence must not look like a dependence.
    rng = np.random.default_rng(0)
    p = np.where(rng.random((1000, 3)) < 0.5, 0.02, 0.98)
    truth = p > 0.5
    judged = JudgedReplies(FEATURES, p, truth, np.ones_like(truth), [str(number) for number in range(1000)])
    assert set(dependent_pairs(judged)["verdict"]) == {NOT_FOUND}
    assert set(compare_classes(judged)["verdict"]) == {MATCHES}


@pytest.mark.parametrize(("n", "verdict"), [(20, MATCHES), (19, UNDECIDED)])
def test_a_few_replies_without_a_mistake_do_not_show_that_there_are_none(n: int, verdict: str) -> None:
    p = np.ones((n, 3))
    judged = JudgedReplies(FEATURES, p, p > 0.5, p > 0.5, [str(number) for number in range(n)])
    row = compare_classes(judged, min_labels=1).row(0, named=True)
    assert row["gap"] == 0.0
    assert row["gap_high"] == pytest.approx(1.96 / n, abs=1e-4)
    assert row["verdict"] == row["dependence_verdict"] == verdict


# Dependent propositions


@settings(max_examples=25, deadline=None, derandomize=True)  # A verdict about a sample is wrong now and then.
@given(st.integers(200, 400), st.integers(0, 10_000))
def test_three_propositions_that_move_together_make_the_product_too_low(n: int, seed: int) -> None:
    judged = replies(together, n, seed)
    found = dependent_pairs(judged).filter(pl.col("verdict") != NOT_FOUND)
    assert set(found["verdict"]) == {TOGETHER}
    ideal = found.filter(pl.col("class_name") == "ideal")
    assert (ideal["missed_probability"] > 0).all() and (ideal["low"] > 0).all()
    row = row_of(judged)
    assert row["verdict"] == row["dependence_verdict"] == TOO_LOW
    assert row["dependence"] > TOLERANCE
    assert row["mean_probability"] < row["observed_low"]


@settings(max_examples=25, deadline=None, derandomize=True)  # A verdict about a sample is wrong now and then.
@given(st.integers(250, 400), st.integers(0, 10_000))
def test_three_propositions_that_exclude_each_other_make_the_product_too_high(n: int, seed: int) -> None:
    judged = replies(apart, n, seed)
    found = dependent_pairs(judged).filter(pl.col("verdict") != NOT_FOUND)
    assert set(found["verdict"]) == {APART}
    row = row_of(judged)
    assert row["dependence_verdict"] == TOO_HIGH
    assert row["dependence_high"] < 0
    assert row["mean_probability"] > row["observed"]


def test_the_largest_missed_probability_comes_first_and_no_pair_is_missing() -> None:
    pairs = dependent_pairs(replies(together, n=200, seed=1))
    sizes = pairs["missed_probability"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    # No pair with a changes the class bad, because this class depends on a alone; b and c do not change it either.
    named = set(pairs.select("class_name", "first", "second").iter_rows())
    assert named == {(name, *pair) for name in ("ideal", "partly") for pair in (("a", "b"), ("a", "c"), ("b", "c"))}


def test_the_missed_probabilities_of_all_pairs_add_up_to_the_dependence_if_no_group_is_larger() -> None:
    # With a certain a, only b and c can depend on each other.
    judged = replies(together, n=200, seed=1)
    p_yes = judged.p_yes.copy()
    p_yes[:, 0] = judged.truth[:, 0]
    judged = JudgedReplies(FEATURES, p_yes, judged.truth, judged.labeled, judged.prompts)
    for name in ("ideal", "partly"):
        missed = dependent_pairs(judged).filter(pl.col("class_name") == name)["missed_probability"].sum()
        assert row_of(judged, name)["dependence"] == pytest.approx(missed)


# A grade that is wrong is no dependence


def test_a_single_wrong_grade_moves_the_class_but_is_not_called_a_dependence() -> None:
    judged = replies(independent, n=400, seed=3)
    p_yes = judged.p_yes.copy()
    p_yes[:, 0] = p_yes[:, 0] ** 2  # too low for every reply
    judged = JudgedReplies(FEATURES, p_yes, judged.truth, judged.labeled, judged.prompts)
    row = row_of(judged, "bad")
    assert row["verdict"] == TOO_HIGH
    assert row["dependence"] == pytest.approx(0, abs=1e-12)
    assert row["dependence_verdict"] == MATCHES
    assert set(dependent_pairs(judged)["verdict"]) == {NOT_FOUND}


# Counts and intervals


def test_the_figures_of_a_class_follow_from_its_replies() -> None:
    p = np.array([[0.9, 0.9, 0.9], [0.9, 0.1, 0.5], [0.2, 0.5, 0.5], [0.8, 0.5, 0.5]] * 10)
    truth = np.array([[True, True, True], [True, False, True], [False, False, False], [False, True, True]] * 10)
    judged = JudgedReplies(FEATURES, p, truth, np.ones_like(truth), [str(number) for number in range(40)])
    table = compare_classes(judged)
    assert table["class_name"].to_list() == ["ideal", "partly", "bad"]
    assert table["n"].to_list() == [40] * 3
    assert table["observed"].to_list() == pytest.approx([0.25, 0.25, 0.5])
    assert table["mean_probability"].to_list() == pytest.approx(DIAGRAM.class_probabilities(p).mean(axis=0).tolist())
    assert table["gap"].to_list() == pytest.approx((table["observed"] - table["mean_probability"]).to_list())
    # Half of the replies without a were not most probably bad.
    assert table["accuracy"].to_list() == pytest.approx([1.0, 1.0, 0.5])


def test_a_class_without_replies_has_no_accuracy() -> None:
    p = np.full((30, 3), 0.9)
    judged = JudgedReplies(FEATURES, p, p > 0.5, p > 0.5, [str(number) for number in range(30)])
    assert compare_classes(judged)["accuracy"].to_list() == [1.0, None, None]


def test_many_replies_to_one_prompt_count_little_more_than_one() -> None:
    alone, repeated = replies(independent, n=40, seed=5), replies(independent, n=40, seed=5)
    ten_times = JudgedReplies(
        FEATURES,
        *(np.repeat(values, 10, axis=0) for values in (repeated.p_yes, repeated.truth, repeated.labeled)),
        prompts=np.repeat(repeated.prompts, 10).tolist(),
    )
    once, often = row_of(alone), row_of(ten_times)
    assert often["gap"] == pytest.approx(once["gap"])
    assert often["gap_high"] - often["gap"] == pytest.approx(once["gap_high"] - once["gap"], rel=0.1)


# Too few


@settings(deadline=None)
@given(st.integers(0, 19), st.sampled_from([independent, together, apart]))
def test_too_few_replies_are_undecided_and_have_no_numbers(n: int, draw: Draw) -> None:
    judged = replies(draw, n, seed=n)
    table, pairs = compare_classes(judged), dependent_pairs(judged)
    assert table.schema == CLASS_SCHEMA and pairs.schema == PAIR_SCHEMA
    assert table.select(COUNTS).rows() == [(name, n, 0, UNDECIDED, UNDECIDED) for name in DIAGRAM.classes]
    assert table.drop(COUNTS).null_count().sum_horizontal().item() == table.drop(COUNTS).width * 3
    assert set(pairs["verdict"]) == {UNDECIDED}
    assert pairs.select(pl.col("missed_probability", "low", "high").is_null().all()).row(0) == (True, True, True)


@pytest.mark.parametrize(("unread", "verdict"), [(4, MATCHES), (5, UNDECIDED)])
def test_unread_grades_are_counted_and_too_many_leave_the_classes_undecided(unread: int, verdict: str) -> None:
    p = np.ones((40, 3))
    judged = with_unread(JudgedReplies(FEATURES, p, p > 0.5, p > 0.5, [str(number) for number in range(40)]), unread)
    row = compare_classes(judged).row(0, named=True)
    assert (row["n"], row["n_unread"], row["verdict"]) == (40 - unread, unread, verdict)


def test_a_reply_counts_for_its_class_even_if_labels_that_do_not_matter_are_missing() -> None:
    judged = replies(independent, n=200, seed=2)
    labeled = judged.labeled.copy()
    labeled[~judged.truth[:, 0], 1:] = False  # without a, the class is bad whatever b and c are
    partly = JudgedReplies(FEATURES, judged.p_yes, judged.truth, labeled, judged.prompts)
    assert row_of(partly)["n"] == 200
    assert row_of(partly)["gap"] == pytest.approx(row_of(judged)["gap"])


def test_without_complete_labels_the_dependence_is_undecided_but_the_gap_is_not() -> None:
    judged = replies(independent, n=200, seed=2)
    labeled = judged.labeled.copy()
    labeled[:, 2] = False
    # b is never true, so a decides the class, whatever c is.
    without_c = JudgedReplies(FEATURES, judged.p_yes, judged.truth & [True, False, True], labeled, judged.prompts)
    row = row_of(without_c, "bad")
    assert row["n"] == 200
    assert row["gap"] is not None
    assert row["dependence"] is None and row["dependence_verdict"] == UNDECIDED


def test_arrays_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[N, propositions\]"):
        JudgedReplies(
            FEATURES, np.zeros((2, 3)), np.zeros((2, 2), dtype=bool), np.zeros((2, 3), dtype=bool), ["x", "y"]
        )
