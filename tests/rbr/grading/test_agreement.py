"""Agreement of grader and labels: figures by hand, thresholds by brute force."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.grading.agreement import SCHEMA, agreement, best_cut

GRADES = [0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.2, 0.1]
LABELS = [1, 1, 0, 1, 0, 0, 0, 0]


def measured(p_yes: list[float], labels: list[int], bar: float = 0.7) -> dict[str, object]:
    column = (len(labels), 1)
    table = agreement(
        ["apology"],
        np.reshape(np.array(p_yes, dtype=np.float64), column),
        np.reshape(np.array(labels, dtype=np.bool_), column),
        np.ones(column, dtype=np.bool_),
        bar_of=lambda _: bar,
    )
    assert table.schema == SCHEMA
    return table.row(0, named=True)


def balanced_accuracy(p_yes: NDArray[np.float64], gold: NDArray[np.bool_], threshold: float) -> float:
    said = p_yes >= threshold
    return float((said[gold].mean() + (~said[~gold]).mean()) / 2)


def test_the_figures_are_those_on_paper() -> None:
    row = measured(GRADES, LABELS)
    # At 0.5 two of three yes labels are met, and four of five no labels.
    assert row["balanced_accuracy"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert row["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert (row["n"], row["n_missing"], row["n_yes"], row["prevalence"]) == (8, 0, 3, 3 / 8)
    assert (row["accepted"], row["reason"]) == (True, None)


def test_a_threshold_that_the_labels_do_not_clearly_ask_for_stays_at_a_half() -> None:
    # Between 0.3 and 0.4 all three yes labels would be met, which eight labels are too few to tell from luck.
    assert measured(GRADES, LABELS)["threshold"] == 0.5


def test_a_threshold_that_many_labels_ask_for_is_taken() -> None:
    row = measured(GRADES * 40, LABELS * 40)
    assert 0.3 < row["threshold"] < 0.4
    assert row["balanced_accuracy"] == pytest.approx((3 / 3 + 4 / 5) / 2)
    assert row["f1"] == pytest.approx(2 * 3 / (3 + 4))


def test_the_interval_combines_wilson_limits_of_both_shares() -> None:
    row = measured(GRADES, LABELS)
    # Wilson at 95 %: 2 of 3 lies within 0.2077 and 0.9385, 4 of 5 within 0.3755 and 0.9638.
    low, high = np.hypot(2 / 3 - 0.2077, 0.8 - 0.3755) / 2, np.hypot(0.9385 - 2 / 3, 0.9638 - 0.8) / 2
    assert row["low"] == pytest.approx(11 / 15 - low, abs=1e-4)
    assert row["high"] == pytest.approx(11 / 15 + high, abs=1e-4)


def test_a_few_labels_that_happen_to_be_met_are_not_taken_for_certainty() -> None:
    few, many = (measured([0.9] * n + [0.1] * n, [1] * n + [0] * n) for n in (3, 300))
    assert few["balanced_accuracy"] == many["balanced_accuracy"] == 1
    assert few["low"] < 0.65 and many["low"] > 0.98
    assert few["high"] == 1


def test_an_accuracy_below_the_bar_is_not_accepted_and_says_by_how_much() -> None:
    assert measured(GRADES, LABELS, bar=11 / 15 - 1e-9)["accepted"] is True
    row = measured(GRADES, LABELS, bar=0.75)
    assert (row["accepted"], row["reason"]) == (False, "balanced accuracy 0.733 is below the bar 0.75")


def test_always_answering_the_majority_is_worth_nothing() -> None:
    row = measured([0.1] * 20, [1] * 2 + [0] * 18)
    assert row["balanced_accuracy"] == 0.5
    assert row["accepted"] is False


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]])
def test_labels_of_one_kind_measure_nothing(labels: list[int]) -> None:
    row = measured([0.9, 0.8, 0.1], labels)
    assert (row["balanced_accuracy"], row["low"], row["high"], row["f1"]) == (None,) * 4
    assert (row["threshold"], row["accepted"]) == (0.5, False)
    assert str(row["reason"]).startswith("too few labels")


def test_missing_grades_are_counted_and_left_out() -> None:
    row = measured([*GRADES, np.nan, np.nan], [*LABELS, 1, 0])
    assert (row["n"], row["n_missing"]) == (8, 2)
    assert row["balanced_accuracy"] == measured(GRADES, LABELS)["balanced_accuracy"]


def test_no_readable_grade_at_all_is_no_agreement() -> None:
    row = measured([np.nan, np.nan], [1, 0])
    assert (row["n"], row["prevalence"], row["accepted"]) == (0, None, False)


def test_replies_that_a_proposition_does_not_apply_to_have_no_say() -> None:
    p_yes = np.array([[0.9, 0.9], [0.1, 0.1], [0.1, 0.1]])
    gold = np.array([[True, True], [False, False], [True, True]])
    applies = np.array([[True, True], [True, True], [False, True]])
    table = agreement(
        ["first", "second"], p_yes, gold, applies, bar_of=lambda name: {"first": 0.5, "second": 0.9}[name]
    )
    assert table["balanced_accuracy"].to_list() == [1.0, 0.75]
    assert table["accepted"].to_list() == [True, False]


def test_the_order_of_labels_does_not_matter() -> None:
    assert measured(GRADES[::-1], LABELS[::-1]) == measured(GRADES, LABELS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=25))
def test_no_threshold_does_better(rows: list[tuple[float, bool]]) -> None:
    # Grades nearer than the rounding count as equal, so they must not be told apart here either.
    p_yes = np.round(np.array([p for p, _ in rows]), 6)
    gold = np.array([label for _, label in rows])
    assume(gold.any() and not gold.all())
    cut = best_cut(p_yes, gold)
    assert 0 < cut.threshold < 1
    assert balanced_accuracy(p_yes, gold, cut.threshold) == pytest.approx(cut.balanced_accuracy)
    between = np.unique(p_yes)
    candidates = (between[:-1] + between[1:]) / 2
    best = max((balanced_accuracy(p_yes, gold, float(threshold)) for threshold in candidates), default=0.5)
    assert cut.balanced_accuracy == pytest.approx(best)


def test_of_equally_good_gaps_the_widest_is_taken_and_then_the_most_central() -> None:
    # Perfect anywhere between 0.2 and 0.9: a short decimal near the middle.
    assert best_cut(np.array([0.1, 0.2, 0.9]), np.array([False, False, True])).threshold in (0.5, 0.6)
    # Two gaps of equal merit in no, yes, no, yes.
    wide = best_cut(np.array([0.05, 0.35, 0.45, 0.5]), np.array([False, True, False, True]))
    assert 0.05 < wide.threshold < 0.35
    central = best_cut(np.array([0.0, 0.25, 0.5, 0.75]), np.array([False, True, False, True]))
    assert 0.5 < central.threshold < 0.75


def test_one_changed_label_among_clear_grades_leaves_the_threshold() -> None:
    p_yes = np.array([0.02, 0.03, 0.05, 0.04, 0.94, 0.97, 0.96, 0.95])
    gold = p_yes > 0.5
    changed = gold.copy()
    changed[0] = True
    assert best_cut(p_yes, changed).threshold == best_cut(p_yes, gold).threshold == 0.5


def test_grades_that_are_all_equal_are_cut_in_the_middle() -> None:
    cut = best_cut(np.full(4, 0.93), np.array([True, True, False, False]))
    assert (cut.threshold, cut.balanced_accuracy) == (0.5, 0.5)


def test_grades_at_the_very_ends_still_leave_a_threshold_inside() -> None:
    cut = best_cut(np.array([0.0, 1e-12, 2e-9, 1.0]), np.array([False, False, True, True]))
    assert 0 < cut.threshold < 2e-9
    assert cut.balanced_accuracy == 1


def test_an_inverted_grader_is_never_accepted() -> None:
    row = measured([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], bar=0.51)
    assert row["balanced_accuracy"] <= 0.5
    assert row["accepted"] is False


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have the shape \[N, propositions\]"):
        agreement(["a"], np.zeros((2, 1)), np.zeros((2, 2), bool), np.ones((2, 1), bool), bar_of=lambda _: 0.5)


def test_no_proposition_gives_an_empty_table_with_all_columns() -> None:
    table = agreement([], np.zeros((2, 0)), np.zeros((2, 0), bool), np.ones((2, 0), bool), bar_of=lambda _: 0.5)
    assert table.equals(pl.DataFrame(schema=SCHEMA))
