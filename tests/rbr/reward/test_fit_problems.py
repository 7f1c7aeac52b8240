"""Fit problems: which replies, features and scores reach the fit of each response type."""

import numpy as np
import polars as pl
import pytest

from rbr.reward.fit import fit
from rbr.reward.fit_problems import FitProblem, fit_problems
from rbr.rulebook import Behavior

SHARE = {"response_types": ["comply"], "classes": ["bad"]}
METRICS = ("unsafe", "over_refusal", "illogical", "hard_refusal_style", "soft_refusal_style")
RULES = {"good": "answers", "bad": "not answers"}
BEHAVIOR = Behavior.model_validate(
    {
        "classes": ["good", "bad"],
        "response_types": {
            "zeal": {"classes": RULES, "features": ["polite"], "ranking": [["full"], ["other"]]},
            "comply": {
                "classes": RULES,
                "features": ["polite", "answers"],
                "ranking": [["full", "complete"], ["other"]],
                "margins": {"full": 0.5, "complete": 2.0},
                # The class rules decide the sign of `answers`, and no rule names `polite`.
                "signs": {"polite": "undesired"},
            },
        },
        "agreement": {"bar": 0.5},
        "metrics": dict.fromkeys(METRICS, SHARE),
    }
)

PROMPTS = [f"p{index}" for index in range(6)]
VERIFIED = pl.DataFrame(
    [
        (f"{response_type} {prompt} {label}", prompt, response_type, label)
        for response_type in ("comply", "zeal")
        for prompt in PROMPTS
        for label in ("full", "other")
    ],
    schema=["completion_id", "prompt_id", "response_type", "label"],
    orient="row",
)
GRADES = pl.DataFrame(
    [
        (completion_id, proposition, p)
        for completion_id, label in VERIFIED.select("completion_id", "label").iter_rows()
        for proposition, p in (("answers", 0.9 if label == "full" else 0.2), ("polite", 0.5))
    ],
    schema=["completion_id", "proposition", "p_yes"],
    orient="row",
)
# R_rm prefers the worse reply by 1.
SCORES = VERIFIED.select("completion_id", pl.when(pl.col("label") == "full").then(0.0).otherwise(1.0).alias("score"))


def problems(
    verified: pl.DataFrame = VERIFIED, grades: pl.DataFrame = GRADES, scores: pl.DataFrame = SCORES, **thresholds: float
) -> dict[str, FitProblem]:
    in_order = fit_problems(
        verified, grades, scores, BEHAVIOR, accepted=["answers", "polite", "unheard_of"], thresholds=thresholds
    )
    return {problem.response_type: problem for problem in in_order}


def test_problems_are_in_the_order_of_the_behavior_policy() -> None:
    assert list(problems(VERIFIED.reverse())) == list(BEHAVIOR.response_types)


def test_each_problem_has_the_replies_of_its_response_type_in_the_order_given() -> None:
    reversed_problem = problems(VERIFIED.reverse())["comply"]
    assert reversed_problem.prompt_ids == [prompt for prompt in PROMPTS[::-1] for _ in range(2)]
    assert reversed_problem.labels == ["other", "full"] * 6
    np.testing.assert_allclose(reversed_problem.features[:2, 0], [0.2, 0.9])
    np.testing.assert_array_equal(reversed_problem.r_rm[:2], [1.0, 0.0])


def test_the_order_of_grades_and_scores_does_not_matter() -> None:
    reversed_problem, problem = problems(grades=GRADES.reverse(), scores=SCORES.reverse())["zeal"], problems()["zeal"]
    np.testing.assert_array_equal(reversed_problem.features, problem.features)
    np.testing.assert_array_equal(reversed_problem.r_rm, problem.r_rm)


def test_grades_and_scores_of_other_replies_are_ignored() -> None:
    stray = pl.DataFrame([("stray", "answers", 0.1)], schema=GRADES.schema, orient="row")
    stray_score = pl.DataFrame([("stray", 9.0)], schema=SCORES.schema, orient="row")
    with_stray = problems(grades=pl.concat([GRADES, stray]), scores=pl.concat([SCORES, stray_score]))["comply"]
    assert with_stray.features.shape == (12, 4)
    np.testing.assert_array_equal(with_stray.features, problems()["comply"].features)


def test_features_are_those_of_the_response_type() -> None:
    by_type = problems()
    assert by_type["comply"].feature_names == ("class:good", "class:bad", "proposition:answers", "proposition:polite")
    assert by_type["zeal"].feature_names == ("class:good", "class:bad", "proposition:polite")


def test_thresholds_move_the_features() -> None:
    # With the threshold 0.9, a grade of 0.9 becomes 0.5.
    moved = problems(answers=0.9)["comply"].features[0]
    np.testing.assert_allclose(moved, [0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("missing", ["score", "unread score", "grade"])
def test_a_reply_without_score_or_grade_stays_in_the_problem_and_is_left_out_of_the_fit(missing: str) -> None:
    first = pl.col("completion_id") == "comply p0 full"
    grades, scores = GRADES, SCORES
    if missing == "score":
        scores = SCORES.filter(~first)
    elif missing == "unread score":
        scores = SCORES.with_columns(pl.when(first).then(None).otherwise("score").alias("score"))
    else:
        grades = GRADES.filter(~first)
    problem = problems(grades=grades, scores=scores)["comply"]
    assert len(problem.labels) == 12
    result = fit(problem, l2=0.01, held_out_fraction=0.0, bootstrap=0, seed=0)
    assert (result.n_incomplete_replies, result.n_prompts) == (1, 5)


def test_the_ranking_and_margins_of_the_response_type_reach_the_fit() -> None:
    def lead(response_type: str) -> float:
        problem = problems()[response_type]
        result = fit(problem, l2=1e-6, held_out_fraction=0.0, bootstrap=0, seed=0)
        r_rbr = problem.features @ result.weights
        return float(r_rbr[0] - r_rbr[1])

    # R_rm prefers the worse reply by 1, so its spread is 1 / sqrt(2). The margin of the label `full` is half a spread,
    # or a whole spread if it is not given.
    assert lead("comply") == pytest.approx(1 + 0.5 / np.sqrt(2), rel=1e-5)
    assert lead("zeal") == pytest.approx(1 + 1 / np.sqrt(2), rel=1e-5)


def test_the_order_of_the_classes_and_the_signs_reach_the_fit() -> None:
    by_type = problems()
    assert by_type["comply"].signs == ("free", "free", "desired", "undesired")
    assert by_type["zeal"].signs == ("free", "free", "free")
    order = by_type["comply"].order
    assert order is not None
    assert order.classes == ("good", "bad")
    assert order.feature_propositions == ("answers", "polite")
