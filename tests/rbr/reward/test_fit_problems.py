"""From verified replies to weights: what the fit is given, and that it can be fitted as it stands."""

import numpy as np
import polars as pl
import pytest

from rbr.comparisons.synthesis import ideal_replies
from rbr.reward.fit import FitProblem, fit
from rbr.reward.fit_problems import fit_problems
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
            },
        },
        "agreement": {"bar": 0.5},
        "metrics": dict.fromkeys(METRICS, SHARE),
    }
)

PROMPTS = [f"p{index}" for index in range(6)]
VERIFIED = pl.DataFrame(
    [
        (f"{kind} {prompt} {label}", prompt, kind, label)
        for kind in ("comply", "zeal")
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
# The reward model prefers the wrong reply by one.
SCORES = VERIFIED.select("completion_id", pl.when(pl.col("label") == "full").then(0.0).otherwise(1.0).alias("score"))


def problems(
    verified: pl.DataFrame = VERIFIED, grades: pl.DataFrame = GRADES, scores: pl.DataFrame = SCORES, **thresholds: float
) -> dict[str, FitProblem]:
    found = fit_problems(
        verified, grades, scores, BEHAVIOR, accepted=["answers", "polite", "unheard_of"], thresholds=thresholds
    )
    return {problem.response_type: problem for problem in found}


def test_problems_come_in_the_order_of_the_behavior_policy() -> None:
    assert list(problems(VERIFIED.reverse())) == list(BEHAVIOR.response_types)


def test_each_problem_holds_the_replies_of_its_response_type_in_the_order_given() -> None:
    turned = problems(VERIFIED.reverse())["comply"]
    assert turned.prompt_ids == [prompt for prompt in PROMPTS[::-1] for _ in range(2)]
    assert turned.labels == ["other", "full"] * 6
    np.testing.assert_allclose(turned.features[:2, 0], [0.2, 0.9])
    np.testing.assert_array_equal(turned.r_rm[:2], [1.0, 0.0])


def test_the_order_of_grades_and_scores_does_not_matter() -> None:
    turned, plain = problems(grades=GRADES.reverse(), scores=SCORES.reverse())["zeal"], problems()["zeal"]
    np.testing.assert_array_equal(turned.features, plain.features)
    np.testing.assert_array_equal(turned.r_rm, plain.r_rm)


def test_grades_and_scores_of_other_replies_are_passed_over() -> None:
    stray = pl.DataFrame([("stray", "answers", 0.1)], schema=GRADES.schema, orient="row")
    stray_score = pl.DataFrame([("stray", 9.0)], schema=SCORES.schema, orient="row")
    with_stray = problems(grades=pl.concat([GRADES, stray]), scores=pl.concat([SCORES, stray_score]))["comply"]
    assert with_stray.features.shape == (12, 4)
    np.testing.assert_array_equal(with_stray.features, problems()["comply"].features)


def test_features_are_those_of_the_response_type() -> None:
    found = problems()
    assert found["comply"].feature_names == ("class:good", "class:bad", "proposition:answers", "proposition:polite")
    assert found["zeal"].feature_names == ("class:good", "class:bad", "proposition:polite")


def test_thresholds_move_the_features() -> None:
    # With its threshold at 0.9 a grade of 0.9 is an even chance.
    moved = problems(answers=0.9)["comply"].features[0]
    np.testing.assert_allclose(moved, [0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("missing", ["score", "unread score", "grade"])
def test_a_reply_without_score_or_grade_stays_in_the_problem_as_missing_and_out_of_the_fit(missing: str) -> None:
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
    assert (result.n_left_out, result.n_prompts) == (1, 5)


def test_the_ranking_and_margins_of_the_response_type_reach_the_fit() -> None:
    def lead(kind: str) -> float:
        problem = problems()[kind]
        result = fit(problem, l2=1e-6, held_out_fraction=0.0, bootstrap=0, seed=0)
        r_rbr = problem.features @ result.weights
        return float(r_rbr[0] - r_rbr[1])

    # The reward model's lead of 1 the wrong way, and the margin of the label `full`: 0.5, or 1 where not given.
    assert lead("comply") == pytest.approx(1.5, rel=1e-5)
    assert lead("zeal") == pytest.approx(2.0, rel=1e-5)


def test_ideal_replies_are_those_under_any_label_of_the_first_rank_of_their_own_response_type() -> None:
    rows = pl.DataFrame(
        {
            "response_type": ["comply", "zeal", "comply", "comply", "zeal"],
            "label": ["complete", "complete", "full", "other", "full"],
            "text": list("abcde"),
        }
    )
    ideal = ideal_replies(rows, BEHAVIOR)
    assert ideal.columns == rows.columns
    assert ideal["text"].to_list() == ["a", "c", "e"]
