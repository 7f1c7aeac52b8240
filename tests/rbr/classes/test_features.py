"""Features of a rulebook that is small enough to compute them by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.classes.features import feature_map, most_probable_class_index, recentered
from rbr.errors import InputError
from rbr.rulebook import Behavior, load_behavior

METRICS = ("unsafe", "over_refusal", "illogical", "hard_refusal_style", "soft_refusal_style")


def behavior(classes: dict[str, str], features: list[str]) -> Behavior:
    return Behavior.model_validate(
        {
            "classes": list(classes),
            "response_types": {"comply": {"classes": classes, "features": features, "ranking": [["full"], ["other"]]}},
            "agreement": {"bar": 0.5},
            "metrics": {name: {"response_types": ["comply"], "classes": list(classes)[-1:]} for name in METRICS},
        }
    )


SMALL = behavior(
    {"good": "answers and not scolds", "fair": "answers and scolds", "bad": "not answers"}, ["polite", "answers"]
)


def test_features_are_the_classes_best_to_worst_and_then_the_propositions_sorted_by_name() -> None:
    assert feature_map(SMALL, "comply").feature_names == (
        "class:good",
        "class:fair",
        "class:bad",
        "proposition:answers",
        "proposition:polite",
    )


def test_the_propositions_to_grade_are_those_of_the_classes_and_of_the_features() -> None:
    assert feature_map(SMALL, "comply").propositions == ("answers", "polite", "scolds")


def test_class_features_are_products_of_the_grades() -> None:
    features = feature_map(SMALL, "comply").features(np.array([[0.8, 0.3, 0.25]]))
    np.testing.assert_allclose(features, [[0.8 * 0.75, 0.8 * 0.25, 0.2, 0.8, 0.3]])


def test_certain_grades_give_a_certain_class() -> None:
    features = feature_map(SMALL, "comply")
    np.testing.assert_array_equal(features.class_probabilities(np.array([[1.0, 0.0, 1.0]])), [[0, 1, 0]])
    assert features.thresholded_class_indices(np.array([[1.0, 0.0, 1.0]])).tolist() == [1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3))
def test_class_probabilities_sum_to_one_at_any_thresholds(grades: list[float], thresholds: list[float]) -> None:
    cuts = dict(zip(("answers", "polite", "scolds"), thresholds, strict=True))
    probabilities = feature_map(SMALL, "comply", thresholds=cuts).class_probabilities(np.array([grades]))
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all()


def test_a_proposition_that_is_not_accepted_has_no_feature_and_stays_in_the_classes() -> None:
    features = feature_map(SMALL, "comply", accepted=["polite"])
    assert features.feature_names == ("class:good", "class:fair", "class:bad", "proposition:polite")
    assert features.propositions == ("answers", "polite", "scolds")
    assert feature_map(SMALL, "comply", accepted=[]).propositions == ("answers", "scolds")


def test_only_thresholds_of_needed_propositions_are_kept() -> None:
    features = feature_map(SMALL, "comply", accepted=[], thresholds={"polite": 0.3, "scolds": 0.2, "else": 0.1})
    assert features.thresholds == {"scolds": 0.2}


def test_a_missing_grade_affects_only_the_results_that_need_it() -> None:
    features = feature_map(SMALL, "comply")
    without_polite = np.array([[0.9, np.nan, 0.1]])
    np.testing.assert_allclose(features.features(without_polite), [[0.81, 0.09, 0.1, 0.9, np.nan]])
    assert features.thresholded_class_indices(without_polite).tolist() == [0]
    without_scolds = np.array([[0.9, 0.5, np.nan]])
    assert np.isnan(features.class_probabilities(without_scolds)).all()
    assert features.thresholded_class_indices(without_scolds).tolist() == [-1]


def test_grades_at_their_threshold_count_as_yes() -> None:
    features = feature_map(SMALL, "comply", thresholds={"answers": 0.7, "scolds": 0.2})
    grades = np.array([[0.7, 0.0, 0.19], [0.7, 0.0, 0.2], [0.69, 0.0, 0.19]])
    assert features.thresholded_class_indices(grades).tolist() == [0, 1, 2]


def test_the_most_probable_class_changes_at_the_threshold() -> None:
    features = feature_map(SMALL, "comply", thresholds={"answers": 0.7})
    probabilities = features.class_probabilities(np.array([[0.6, 0.5, 0.0], [0.7, 0.5, 0.0], [0.8, 0.5, 0.0]]))
    np.testing.assert_allclose(probabilities[1], [0.5, 0, 0.5])
    assert most_probable_class_index(probabilities).tolist() == [2, 0, 0]


def test_the_input_array_is_not_changed() -> None:
    grades = np.array([[0.4, 0.4, 0.4]])
    feature_map(SMALL, "comply", thresholds={"answers": 0.9}).features(grades)
    np.testing.assert_array_equal(grades, [[0.4, 0.4, 0.4]])


def test_no_replies_have_no_features() -> None:
    features = feature_map(SMALL, "comply")
    assert features.features(np.empty((0, 3))).shape == (0, 5)
    assert features.thresholded_class_indices(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (1, 4)])
def test_grades_of_another_shape_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected the shape \[N, 3\]"):
        feature_map(SMALL, "comply").features(np.zeros(shape))


def test_classes_that_overlap_are_rejected() -> None:
    with pytest.raises(InputError):
        feature_map(behavior({"good": "answers", "bad": "scolds"}, []), "comply")


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
def test_recentering_keeps_the_order_of_grades_and_the_values_0_and_1(
    first: float, second: float, threshold: float
) -> None:
    low, high = sorted((first, second))
    shifted = recentered(np.array([0.0, low, high, threshold, 1.0]), threshold)
    assert (shifted[0], shifted[4]) == (0, 1)
    assert 0 <= shifted[1] <= shifted[2] + 1e-12 <= 1 + 1e-12
    assert shifted[3] == pytest.approx(0.5)


def test_recentering_shifts_the_log_odds() -> None:
    def log_odds(p: float) -> float:
        return float(np.log(p / (1 - p)))

    shifted = recentered(np.array([0.3]), 0.8)[0]
    assert log_odds(shifted) == pytest.approx(log_odds(0.3) - log_odds(0.8))
    assert np.isnan(recentered(np.array([np.nan]), 0.8)[0])


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_outside_the_open_unit_interval_is_rejected(threshold: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        recentered(np.array([0.5]), threshold)


def test_the_better_of_equally_probable_classes_is_used_and_a_missing_row_has_none() -> None:
    assert most_probable_class_index(np.array([[0.2, 0.4, 0.4], [0.5, 0.5, 0.0], [np.nan] * 3])).tolist() == [1, 0, -1]


def test_the_default_rulebook_has_as_many_features_as_the_paper() -> None:
    rules = load_behavior("rulebook/behavior.yaml")
    counts = {name: len(feature_map(rules, name).feature_names) for name in rules.response_types}
    assert counts == {"hard_refusal": 20, "soft_refusal_intent": 23, "soft_refusal_method": 23, "comply": 18}
