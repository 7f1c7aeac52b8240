"""Agreement of grader and gold labels: measures computed by hand, thresholds by brute force."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rbr.agreement.gold_agreement import (
    AGREEMENT_SCHEMA,
    MEASURES,
    agreement_by_proposition,
    agreement_of_answers,
    best_threshold,
)
from rbr.agreement.intervals import effective_size
from rbr.agreement.judgments import Judgments
from rbr.agreement.reliability import bins_by_proposition, calibration_error

GRADES = [0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.2, 0.1]
LABELS = [1, 1, 0, 1, 0, 0, 0, 0]


def judged(
    p_yes: object, gold: object, labeled: object = True, *, refused: object = False, prompts: object = None
) -> Judgments:
    """Returns judgments of the propositions a, b, ...; arrays of shape [N] are one proposition."""
    grades = np.array(p_yes, dtype=np.float64)
    grades = grades.reshape(len(grades), -1)

    def like_grades(values: object) -> NDArray[np.bool_]:
        array = np.array(values, dtype=np.bool_)
        return np.broadcast_to(array.reshape(-1, 1) if array.ndim == 1 else array, grades.shape)

    clusters = np.arange(len(grades)) if prompts is None else np.array(prompts)
    names = list("abc"[: grades.shape[1]])
    return Judgments(names, grades, like_grades(gold), like_grades(labeled), like_grades(refused), clusters)


def measured(p_yes: list[float], labels: list[int], **others: object) -> dict[str, object]:
    table = agreement_by_proposition(judged(p_yes, labels, **others))
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
    table = agreement_by_proposition(judged(p_yes, gold, labeled))
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
    yes = np.ones((2, 1), dtype=np.bool_)
    with pytest.raises(ValueError, match=r"must have the shape \[judgments, propositions\]"):
        Judgments(["a"], np.zeros((2, 1)), np.zeros((2, 2), bool), yes, yes, np.arange(2))


def test_no_propositions_give_an_empty_table_with_all_columns() -> None:
    none = np.zeros((2, 0), dtype=np.bool_)
    table = agreement_by_proposition(Judgments([], np.zeros((2, 0)), none, none, none, np.arange(2)))
    assert table.equals(pl.DataFrame(schema=AGREEMENT_SCHEMA))


# The other measures, and their intervals


def test_kappa_accuracy_brier_score_and_calibration_error_equal_those_computed_by_hand() -> None:
    row = measured(GRADES, LABELS)
    # At 0.5: two true yes, one false yes, one false no, four true no.
    assert row["accuracy"] == pytest.approx(6 / 8)
    assert row["majority_accuracy"] == pytest.approx(5 / 8)
    by_chance = (3 / 8) * (3 / 8) + (5 / 8) * (5 / 8)
    assert row["kappa"] == pytest.approx((6 / 8 - by_chance) / (1 - by_chance))
    assert row["brier"] == pytest.approx(sum((p - y) ** 2 for p, y in zip(GRADES, LABELS, strict=True)) / 8)
    # Only the two grades 0.2 share a bin; both labels are no.
    gaps = [0.1, 0.2, 0.7, 0.6, 0.3, 2 * 0.2, 0.1]
    assert row["ece"] == pytest.approx(sum(gaps) / 8)


@pytest.mark.parametrize("answer", [0.1, 0.9])
def test_a_grader_that_always_gives_the_same_answer_has_a_kappa_of_zero(answer: float) -> None:
    row = measured([answer] * 20, [1] * 4 + [0] * 16)
    assert row["kappa"] == pytest.approx(0.0)
    assert row["accuracy"] == (row["majority_accuracy"] if answer < 0.5 else pytest.approx(0.2))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 5)), min_size=1, max_size=25))
def test_every_measure_lies_in_its_interval_and_the_interval_is_never_empty(
    rows: list[tuple[float, bool, int]],
) -> None:
    row = measured([p for p, _, _ in rows], [int(y) for _, y, _ in rows], prompts=[prompt for _, _, prompt in rows])
    for name in MEASURES:
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        if value is None:
            assert (low, high) == (None, None)
        else:
            assert low <= value + 1e-9 and value <= high + 1e-9 and low < high
            assert (-1 if name == "kappa" else 0) <= low and high <= 1


@pytest.mark.parametrize("measure", MEASURES)
def test_more_labels_give_a_narrower_interval_and_more_labels_of_the_same_prompts_do_not(measure: str) -> None:
    def width(row: dict) -> float:
        return row[f"{measure}_high"] - row[f"{measure}_low"]

    once = width(measured(GRADES, LABELS))
    prompts = list(range(8)) * 10
    assert width(measured(GRADES * 10, LABELS * 10)) < 0.65 * once
    assert width(measured(GRADES * 10, LABELS * 10, prompts=prompts)) == pytest.approx(once, rel=0.05)


def test_labels_that_are_all_equal_still_say_whether_the_probabilities_are_right() -> None:
    row = measured([0.1, 0.1, 0.1, 0.6], [0, 0, 0, 0])
    assert (row["accuracy"], row["majority_accuracy"], row["kappa"]) == (0.75, 1.0, None)
    assert row["brier"] == pytest.approx((3 * 0.01 + 0.36) / 4)
    assert row["ece"] == pytest.approx((3 * 0.1 + 0.6) / 4)


def test_labels_that_a_content_filter_refused_are_counted_among_those_without_a_grade() -> None:
    row = measured([*GRADES, np.nan, np.nan], [*LABELS, 1, 0], refused=[0] * 9 + [1])
    assert (row["n"], row["n_missing"], row["n_refused"]) == (8, 2, 1)


@pytest.mark.parametrize(("prompts", "size"), [(range(12), 12), ([0] * 12, 1), ([0] * 6 + [1] * 6, 2)])
def test_right_answers_to_one_prompt_count_as_one(prompts: object, size: int) -> None:
    assert effective_size(np.ones(12, dtype=np.bool_), np.array(prompts)) == size


def test_answers_that_do_not_resemble_each_other_count_one_by_one() -> None:
    right = np.arange(4000) % 3 > 0  # Three answers to each prompt, one of them wrong.
    assert effective_size(right, np.repeat(np.arange(4000 // 4), 4)) > 3800


@pytest.mark.parametrize(("rho", "prompts", "replies"), [(0.0, 80, 1), (0.5, 60, 3)])
def test_the_intervals_contain_the_truth_nineteen_times_out_of_twenty(rho: float, prompts: int, replies: int) -> None:
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(prompts), replies)
    hits = 0
    for _ in range(300):
        gold = generator.random(clusters.size) < 0.3
        shared, own = generator.random(prompts)[clusters], generator.random(clusters.size)
        right = np.where(generator.random(clusters.size) < rho, shared, own) < 0.9
        interval = agreement_of_answers(gold == right, gold, clusters=clusters)
        hits += interval.low <= 0.9 <= interval.high
    assert 0.91 <= hits / 300 <= 0.99


def test_right_probabilities_have_an_interval_of_the_calibration_error_that_begins_at_zero() -> None:
    generator = np.random.default_rng(0)
    p_yes = generator.random((300, 100))
    gold = generator.random(p_yes.shape) < p_yes
    clusters = np.arange(100)
    errors = [calibration_error(p, y, clusters) for p, y in zip(p_yes, gold, strict=True)]
    assert np.mean([error.low == 0 for error in errors]) > 0.9
    shifted = [calibration_error(p, generator.random(100) < p**4, clusters) for p in p_yes]
    assert np.mean([error.low > 0 for error in shifted]) > 0.5


def test_the_bins_of_a_reliability_plot_count_every_label_with_a_grade_once() -> None:
    bins = bins_by_proposition(judged([0.0, 0.05, 0.95, 1.0, np.nan], [0, 1, 1, 1, 1]))
    figures = [(0, 2, 1, 0.025, 0.5), (9, 2, 2, 0.975, 1.0)]
    rows = bins.select("proposition", "bin", "n", "n_yes", "mean_p_yes", "share_yes").rows()
    assert rows == [(name, *row) for name in ("all propositions", "a") for row in figures]
    assert bins["share_yes_low"][1] < 0.6 and bins["share_yes_high"][1] == 1.0
