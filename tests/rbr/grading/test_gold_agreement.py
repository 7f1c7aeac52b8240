"""Agreement of grader and gold labels: measures computed by hand, thresholds by brute force."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.grading.gold_agreement import AGREEMENT_SCHEMA, agreement_by_proposition, best_threshold

GRADES = [0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.2, 0.1]
LABELS = [1, 1, 0, 1, 0, 0, 0, 0]


def measured(p_yes: list[float], labels: list[int]) -> dict[str, object]:
    column = (len(labels), 1)
    table = agreement_by_proposition(
        ["apology"],
        np.reshape(np.array(p_yes, dtype=np.float64), column),
        np.reshape(np.array(labels, dtype=np.bool_), column),
        labeled=np.ones(column, dtype=np.bool_),
    )
    assert table.schema == AGREEMENT_SCHEMA
    return table.row(0, named=True)


def balanced_accuracy(p_yes: NDArray[np.float64], gold: NDArray[np.bool_], threshold: float) -> float:
    predicted = p_yes >= threshold
    return float((predicted[gold].mean() + (~predicted[~gold]).mean()) / 2)


def test_the_measures_equal_those_computed_by_hand() -> None:
    row = measured(GRADES, LABELS)
    # At 0.5 the grader agrees with two of three yes labels and four of five no labels.
    assert row["balanced_accuracy"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert row["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert (row["n"], row["n_missing"], row["n_yes"], row["prevalence"]) == (8, 0, 3, 3 / 8)


def test_a_threshold_that_is_not_significantly_better_stays_at_one_half() -> None:
    # Between 0.3 and 0.4 the grader agrees with all three yes labels, but eight labels may agree by chance.
    assert measured(GRADES, LABELS)["threshold"] == 0.5


def test_a_threshold_that_is_significantly_better_is_used() -> None:
    row = measured(GRADES * 40, LABELS * 40)
    assert 0.3 < row["threshold"] < 0.4
    assert row["balanced_accuracy"] == pytest.approx((3 / 3 + 4 / 5) / 2)
    assert row["f1"] == pytest.approx(2 * 3 / (3 + 4))


def test_the_interval_combines_the_wilson_intervals_of_sensitivity_and_specificity() -> None:
    row = measured(GRADES, LABELS)
    # Wilson at 95 %: 2 of 3 gives 0.2077 to 0.9385, and 4 of 5 gives 0.3755 to 0.9638.
    low, high = np.hypot(2 / 3 - 0.2077, 0.8 - 0.3755) / 2, np.hypot(0.9385 - 2 / 3, 0.9638 - 0.8) / 2
    assert row["balanced_accuracy_low"] == pytest.approx(11 / 15 - low, abs=1e-4)
    assert row["balanced_accuracy_high"] == pytest.approx(11 / 15 + high, abs=1e-4)


def test_a_perfect_accuracy_on_few_labels_has_a_wide_interval() -> None:
    few, many = (measured([0.9] * n + [0.1] * n, [1] * n + [0] * n) for n in (3, 300))
    assert few["balanced_accuracy"] == many["balanced_accuracy"] == 1
    assert few["balanced_accuracy_low"] < 0.65 and many["balanced_accuracy_low"] > 0.98
    assert few["balanced_accuracy_high"] == 1


def test_always_answering_the_majority_has_a_balanced_accuracy_of_one_half() -> None:
    assert measured([0.1] * 20, [1] * 2 + [0] * 18)["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]])
def test_labels_that_are_all_equal_give_no_measures(labels: list[int]) -> None:
    row = measured([0.9, 0.8, 0.1], labels)
    assert (row["balanced_accuracy"], row["balanced_accuracy_low"], row["balanced_accuracy_high"]) == (None,) * 3
    assert (row["f1"], row["threshold"]) == (None, 0.5)


def test_missing_grades_are_counted_and_left_out() -> None:
    row = measured([*GRADES, np.nan, np.nan], [*LABELS, 1, 0])
    assert (row["n"], row["n_missing"]) == (8, 2)
    assert row["balanced_accuracy"] == measured(GRADES, LABELS)["balanced_accuracy"]


def test_labels_without_any_readable_grade_give_no_measures() -> None:
    row = measured([np.nan, np.nan], [1, 0])
    assert (row["n"], row["prevalence"], row["balanced_accuracy"]) == (0, None, None)


def test_replies_without_a_label_of_a_proposition_do_not_count_for_it() -> None:
    p_yes = np.array([[0.9, 0.9], [0.1, 0.1], [0.1, 0.1]])
    gold = np.array([[True, True], [False, False], [True, True]])
    labeled = np.array([[True, True], [True, True], [False, True]])
    table = agreement_by_proposition(["first", "second"], p_yes, gold, labeled)
    assert table["balanced_accuracy"].to_list() == [1.0, 0.75]


def test_the_order_of_labels_does_not_matter() -> None:
    assert measured(GRADES[::-1], LABELS[::-1]) == measured(GRADES, LABELS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=25))
def test_no_threshold_has_a_higher_balanced_accuracy(rows: list[tuple[float, bool]]) -> None:
    # `best_threshold` treats nearly equal grades as equal, so make them equal here too.
    p_yes = np.round(np.array([p for p, _ in rows]), 6)
    gold = np.array([label for _, label in rows])
    assume(gold.any() and not gold.all())
    threshold = best_threshold(p_yes, gold)
    assert 0 < threshold < 1
    distinct = np.unique(p_yes)
    candidates = (distinct[:-1] + distinct[1:]) / 2
    best = max((balanced_accuracy(p_yes, gold, float(candidate)) for candidate in candidates), default=0.5)
    assert balanced_accuracy(p_yes, gold, threshold) == pytest.approx(best)


def test_the_widest_of_equally_good_gaps_is_used_and_then_the_most_central() -> None:
    # Every threshold between 0.2 and 0.9 is perfect, so the result is a short decimal near the middle.
    assert best_threshold(np.array([0.1, 0.2, 0.9]), np.array([False, False, True])) in (0.5, 0.6)
    # The labels are no, yes, no, yes: two gaps are equally good.
    wide = best_threshold(np.array([0.05, 0.35, 0.45, 0.5]), np.array([False, True, False, True]))
    assert 0.05 < wide < 0.35
    central = best_threshold(np.array([0.0, 0.25, 0.5, 0.75]), np.array([False, True, False, True]))
    assert 0.5 < central < 0.75


def test_one_changed_label_among_clear_grades_does_not_move_the_threshold() -> None:
    p_yes = np.array([0.02, 0.03, 0.05, 0.04, 0.94, 0.97, 0.96, 0.95])
    gold = p_yes > 0.5
    changed = gold.copy()
    changed[0] = True
    assert best_threshold(p_yes, changed) == best_threshold(p_yes, gold) == 0.5


def test_grades_that_are_all_equal_have_the_threshold_one_half() -> None:
    assert best_threshold(np.full(4, 0.93), np.array([True, True, False, False])) == 0.5


def test_grades_of_almost_zero_still_have_a_threshold_above_zero() -> None:
    p_yes, gold = np.array([0.0, 1e-12, 2e-9, 1.0]), np.array([False, False, True, True])
    assert 0 < best_threshold(p_yes, gold) < 2e-9
    assert balanced_accuracy(p_yes, gold, best_threshold(p_yes, gold)) == 1


def test_an_inverted_grader_has_a_balanced_accuracy_of_at_most_one_half() -> None:
    assert measured([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])["balanced_accuracy"] <= 0.5


def test_arrays_of_different_shapes_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"must have the shape \[N, propositions\]"):
        agreement_by_proposition(["a"], np.zeros((2, 1)), np.zeros((2, 2), bool), np.ones((2, 1), bool))


def test_no_propositions_give_an_empty_table_with_all_columns() -> None:
    table = agreement_by_proposition([], np.zeros((2, 0)), np.zeros((2, 0), bool), np.ones((2, 0), bool))
    assert table.equals(pl.DataFrame(schema=AGREEMENT_SCHEMA))
