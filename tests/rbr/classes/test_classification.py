import numpy as np
import polars as pl
import pytest

from rbr.classes.classification import (
    class_rule_propositions,
    gold_classes,
    most_probable_classes,
    thresholded_classes,
    true_classes,
)
from rbr.classes.grade_matrix import grade_matrix
from rbr.conversation import GoldRow
from rbr.errors import InputError
from rbr.reward.fit_problems import fit_problems
from rbr.rulebook import Behavior, ContentPolicy, Rulebook

SHARE = {"response_types": ["comply"], "classes": ["bad"]}
BEHAVIOR = Behavior.model_validate(
    {
        "classes": ["good", "bad"],
        "response_types": {
            "comply": {
                "classes": {"good": "answers", "bad": "not answers"},
                "features": ["answers", "polite"],
                "ranking": [["full"], ["part", "other"]],
                "margins": {"full": 2.0},
            },
            "refusal": {
                "classes": {"good": "refuses and polite", "bad": "not (refuses and polite)"},
                "features": ["polite"],
                "ranking": [["refusal"], ["scolding"]],
            },
        },
        "agreement": {"bar": 0.5},
        "metrics": dict.fromkeys(
            ["unsafe", "over_refusal", "illogical", "hard_refusal_style", "soft_refusal_style"], SHARE
        ),
    }
)
REPLIES = pl.DataFrame(
    {
        "completion_id": ["r1", "c1", "r2", "c2"],
        "response_type": ["refusal", "comply", "refusal", "comply"],
        "prompt_id": ["p1", "p2", "p1", "p2"],
        "label": ["refusal", "full", "scolding", "part"],
    }
)


def grades(rows: list[tuple[str, str, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["completion_id", "proposition", "p_yes"], orient="row")


GRADES = grades(
    [
        ("c1", "answers", 0.9),
        ("c1", "polite", 0.5),
        ("c2", "answers", 0.3),
        ("c2", "polite", 0.5),
        ("r1", "refuses", 0.8),
        ("r1", "polite", 0.75),
        ("r2", "refuses", 0.8),
        ("r2", "polite", None),
    ]
)


def test_a_grade_that_is_null_or_has_no_row_is_nan() -> None:
    matrix = grade_matrix(GRADES, ["r2", "c1", "r2"], ["polite", "refuses"])
    np.testing.assert_array_equal(matrix, [[np.nan, 0.8], [0.5, np.nan], [np.nan, 0.8]])


def test_the_most_probable_class_has_its_probability_and_the_replies_keep_their_order() -> None:
    classed = most_probable_classes(REPLIES, GRADES, BEHAVIOR, {})
    assert classed["completion_id"].to_list() == REPLIES["completion_id"].to_list()
    assert classed["class_name"].to_list() == ["good", "good", None, "bad"]
    assert classed["p_class"].to_list() == pytest.approx([0.6, 0.9, None, 0.7])


def test_an_unread_grade_takes_the_class_only_from_the_replies_whose_class_it_could_change() -> None:
    unread = grades([("r1", "refuses", 0.1), ("r1", "polite", None), ("r2", "refuses", 0.9), ("r2", "polite", None)])
    refusals = REPLIES.filter(pl.col("response_type") == "refusal")
    # The first reply does not refuse, so it is bad: with probability 0.9 if it is polite, and 1 if it is not.
    classed = most_probable_classes(refusals, unread, BEHAVIOR, {})
    assert classed.select("class_name", "p_class").rows() == [("bad", pytest.approx(0.9)), (None, None)]
    assert thresholded_classes(refusals, unread, BEHAVIOR, {})["class_name"].to_list() == ["bad", None]
    # A threshold can make each of them a refusal, or neither.
    lenient, strict = {"refuses": 0.1}, {"refuses": 0.95}
    assert thresholded_classes(refusals, unread, BEHAVIOR, lenient)["class_name"].to_list() == [None, None]
    assert most_probable_classes(refusals, unread, BEHAVIOR, strict)["class_name"].to_list() == ["bad", "bad"]


def test_every_grade_is_cut_at_its_own_threshold() -> None:
    assert thresholded_classes(REPLIES, GRADES, BEHAVIOR, {})["class_name"].to_list() == ["good", "good", None, "bad"]
    stricter = thresholded_classes(REPLIES, GRADES, BEHAVIOR, {"polite": 0.8, "answers": 0.3})
    assert stricter["class_name"].to_list() == ["bad", "good", None, "good"]


def test_true_classes_follow_from_the_truth_values() -> None:
    truths = [
        {"answers": False, "polite": True, "refuses": True},
        {"answers": False, "polite": True, "refuses": True},
        {"answers": True, "polite": False, "refuses": True},
        {"answers": True, "polite": False, "refuses": False},
    ]
    assert true_classes(REPLIES, truths, BEHAVIOR)["class_name"].to_list() == ["good", "bad", "bad", "good"]
    assert class_rule_propositions(BEHAVIOR) == ("answers", "polite", "refuses")


def test_a_true_class_does_not_need_the_truth_values_that_cannot_change_it() -> None:
    truths = [{"polite": True}, {"answers": True}, {"polite": False}, {}]
    classed = true_classes(REPLIES, truths, BEHAVIOR)
    assert classed["class_name"].to_list() == [None, "good", "bad", None]
    assert classed["possible_classes"].to_list() == [["good", "bad"], ["good"], ["bad"], ["good", "bad"]]
    assert true_classes(REPLIES.clear(), [], BEHAVIOR).schema == classed.schema


def test_fit_problems_contain_accepted_features_scores_and_labels() -> None:
    scores = pl.DataFrame({"completion_id": ["c1", "c2", "r1", "r2"], "score": [1.0, None, 0.5, 0.25]})
    comply, refusal = fit_problems(REPLIES, GRADES, scores, BEHAVIOR, accepted=["polite"], thresholds={})
    assert comply.feature_names == ("class:good", "class:bad", "proposition:polite")
    np.testing.assert_allclose(comply.features, [[0.9, 0.1, 0.5], [0.3, 0.7, 0.5]])
    np.testing.assert_array_equal(comply.r_rm, [1.0, np.nan])
    assert comply.margins["full"] == 2.0
    assert refusal.labels == ["refusal", "scolding"]
    assert np.isnan(refusal.features[1]).any()


def test_a_response_type_without_comparisons_has_no_fit_problem() -> None:
    scores = pl.DataFrame({"completion_id": ["c1"], "score": [1.0]})
    only_comply = REPLIES.filter(pl.col("response_type") == "comply")
    problems = fit_problems(only_comply, GRADES, scores, BEHAVIOR, accepted=[], thresholds={})
    assert [problem.response_type for problem in problems] == ["comply"]


def gold(line: int, category: str, labels: dict[str, bool]) -> GoldRow:
    return GoldRow(({"role": "user", "content": "?"},), "", category, labels, line)


def rulebook() -> Rulebook:
    category = {"description": "d", "question": "q", "response_type": "refusal"}
    return Rulebook.model_construct(
        behavior=BEHAVIOR,
        content_policy=ContentPolicy.model_validate({"categories": {"X-R": category}}),
    )


def test_the_labels_of_a_gold_row_decide_its_class() -> None:
    rows = [gold(1, "X-R", {"refuses": True, "polite": True}), gold(3, "X-R", {"refuses": True, "polite": False})]
    assert gold_classes(rows, rulebook(), where="gold").select("line", "class_name").rows() == [(1, "good"), (3, "bad")]


def test_the_class_is_null_if_it_depends_on_a_missing_label() -> None:
    rows = [gold(1, "X-R", {"refuses": True}), gold(2, "X-R", {"refuses": False})]
    classes = gold_classes(rows, rulebook(), where="gold").select("class_name", "missing").rows()
    assert classes == [(None, ["polite"]), ("bad", [])]


def test_every_row_with_an_unknown_category_is_reported_with_its_line() -> None:
    with pytest.raises(InputError) as caught:
        gold_classes([gold(7, "Y", {}), gold(8, "X-R", {}), gold(9, "Y", {})], rulebook(), where="gold")
    assert [str(problem).splitlines()[0] for problem in caught.value.problems] == [
        "gold:7 category: the category 'Y' is not in the content policy",
        "gold:9 category: the category 'Y' is not in the content policy",
    ]
