"""The audit of a fitted reward on tables that are small enough to check by hand."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from rbr.comparisons.prompt_sampling import is_held_out
from rbr.reward.audit import WronglyOrderedPair, class_error_rates, rewarded, wrongly_ordered_pairs
from rbr.reward.fit_problems import FitProblem
from rbr.rulebook import Behavior

RULES = {"good": "answers", "fair": "not answers and polite", "bad": "not answers and not polite"}
SHARE = {"response_types": ["comply"], "classes": ["bad"]}
METRICS = ("unsafe", "over_refusal", "illogical", "hard_refusal_style", "soft_refusal_style")
BEHAVIOR = Behavior.model_validate(
    {
        "classes": ["good", "fair", "bad"],
        "response_types": {
            "refuse": {"classes": RULES, "features": [], "ranking": [["full"], ["other"]]},
            "comply": {"classes": RULES, "features": ["polite"], "ranking": [["full"], ["other"]]},
        },
        "agreement": {"bar": 0.5},
        "metrics": dict.fromkeys(METRICS, SHARE),
    }
)


# Wrongly ordered pairs


def problem(prompt: str = "p") -> FitProblem:
    """Returns one ideal reply and three worse replies to the same prompt; the features are a, b and c."""
    return FitProblem(
        response_type="comply",
        feature_names=("a", "b", "c"),
        prompt_ids=[prompt] * 4,
        labels=["ideal", "worst", "worst", "worst"],
        features=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.5, 0.0]]),
        r_rm=np.array([1.0, 2.5, 0.0, 0.0]),
        ranking=[["ideal"], ["worst"]],
        margins={},
    )


def test_each_pair_in_which_the_worse_reply_gets_at_least_as_much_is_listed_with_its_causes() -> None:
    # R_tot is 3 for the ideal reply, and 5, 0 and 3 for the others. The last one is a tie.
    pairs = list(wrongly_ordered_pairs(problem(), np.array([2.0, 2.0, 0.5]), held_out_fraction=1.0))
    assert pairs == [
        # R_rm favors the worse reply by 1.5, b by 2 and c by 0.5. The feature a favors the better reply.
        WronglyOrderedPair(better=0, worse=1, lead=-2.0, causes=(("b", 2.0), ("R_rm", 1.5), ("c", 0.5))),
        WronglyOrderedPair(better=0, worse=3, lead=0.0, causes=(("b", 1.0),)),
    ]


def test_the_three_largest_causes_are_listed() -> None:
    pair, *_ = wrongly_ordered_pairs(problem(), np.array([-1.0, 2.0, 0.25]), held_out_fraction=1.0)
    assert [name for name, _ in pair.causes] == ["b", "R_rm", "a"]
    assert pair.lead == pytest.approx(-(2.0 + 1.5 + 1.0 + 0.25))


def test_only_pairs_of_held_out_prompts_are_listed() -> None:
    weights = np.array([2.0, 2.0, 0.5])
    names = [f"p{index}" for index in range(20)]
    listed = [name for name in names if list(wrongly_ordered_pairs(problem(name), weights, held_out_fraction=0.5))]
    assert listed == [name for name in names if is_held_out(name, 0.5)]
    assert 0 < len(listed) < len(names)


def test_a_reply_without_score_or_grade_is_in_no_pair() -> None:
    incomplete = problem()
    incomplete.r_rm[1] = np.nan
    incomplete.features[3, 1] = np.nan
    assert list(wrongly_ordered_pairs(incomplete, np.array([2.0, 2.0, 0.5]), held_out_fraction=1.0)) == []


# The reward of each reply

REPLIES = pl.DataFrame(
    [("c1", "comply", "text of c1"), ("r1", "refuse", "-"), ("c2", "comply", "-"), ("c3", "comply", "-")],
    schema=["completion_id", "response_type", "text"],
    orient="row",
)
GRADES = pl.DataFrame(
    [
        ("c1", "answers", 0.75),
        ("c1", "polite", 0.5),
        ("r1", "answers", 0.0),
        ("r1", "polite", 1.0),
        ("c2", "answers", 1.0),
        ("c2", "polite", None),
        ("c3", "answers", 0.0),
        ("c3", "polite", 0.0),
    ],
    schema={"completion_id": pl.String, "proposition": pl.String, "p_yes": pl.Float64},
    orient="row",
)
SCORES = pl.DataFrame(
    [("c3", None), ("r1", -1.0), ("c2", 0.5), ("c1", 0.25)],
    schema={"completion_id": pl.String, "score": pl.Float64},
    orient="row",
)
COMPLY = {"class:good": 4.0, "class:fair": 2.0, "class:bad": -8.0, "proposition:polite": 1.0}
REFUSE = {"class:bad": -3.0, "class:fair": -2.0, "class:good": 5.0}


def rewards(weights: Mapping[str, Mapping[str, float]], replies: pl.DataFrame = REPLIES, **thresholds: float) -> dict:
    table = rewarded(replies, GRADES, SCORES, BEHAVIOR, weights, accepted=frozenset({"polite"}), thresholds=thresholds)
    assert table["completion_id"].to_list() == replies["completion_id"].to_list()
    assert set(table.columns) == {*replies.columns, "r_rm", "r_rbr", "r_tot"}
    return {row["completion_id"]: (row["r_rm"], row["r_rbr"], row["r_tot"]) for row in table.iter_rows(named=True)}


def test_each_reply_gets_the_weighted_features_of_its_response_type() -> None:
    found = rewards({"comply": COMPLY, "refuse": REFUSE})
    # P(good) = 0.75, P(fair) = P(bad) = 0.125: 0.75 * 4 + 0.125 * 2 - 0.125 * 8 + 0.5 * 1 = 2.75.
    assert found["c1"] == pytest.approx((0.25, 2.75, 3.0))
    assert found["r1"] == pytest.approx((-1.0, -2.0, -3.0))


def test_a_missing_grade_or_score_leaves_the_reward_missing() -> None:
    found = rewards({"comply": COMPLY, "refuse": REFUSE})
    assert found["c2"] == (0.5, None, None)
    assert found["c3"] == (None, -8.0, None)


def test_a_response_type_without_weights_has_no_r_rbr_and_no_r_tot() -> None:
    found = rewards({"comply": COMPLY})
    assert found["r1"] == (-1.0, None, None)
    assert found["c1"] == pytest.approx((0.25, 2.75, 3.0))


def test_thresholds_recenter_the_grades() -> None:
    # With the threshold 0.75, the grade 0.75 becomes 0.5: 0.5 * 4 + 0.25 * 2 - 0.25 * 8 + 0.5 * 1 = 1.
    assert rewards({"comply": COMPLY}, answers=0.75)["c1"][1] == pytest.approx(1.0)


def test_no_replies_get_no_rewards() -> None:
    assert rewards({"comply": COMPLY}, REPLIES.clear()) == {}


# Error rates by class


def replies(*rows: tuple) -> pl.DataFrame:
    """Returns replies: prompt, class, R_rm, R_rbr and R_tot."""
    schema = {"prompt_id": pl.String, "class_name": pl.String}
    schema |= dict.fromkeys(("r_rm", "r_rbr", "r_tot"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(response_type=pl.lit("comply"))


def rates(table: pl.DataFrame) -> dict[str, tuple]:
    return {row[0]: row[1:] for row in class_error_rates(table, BEHAVIOR).iter_rows()}


def test_pairs_of_the_best_class_and_a_worse_class_are_counted_within_prompts() -> None:
    table = replies(
        ("p", "good", 1.0, 2.0, 3.0),
        ("p", "good", 2.0, 2.0, 4.0),
        ("p", "fair", 1.0, 1.0, 2.0),  # R_rm ties with the first good reply: an error.
        ("p", "bad", 3.0, 2.0, 5.0),  # Every reward is wrong for both good replies; R_rbr, because of the ties.
        ("q", "fair", 9.0, 9.0, 9.0),  # No reply to this prompt is good.
        ("q", "bad", 0.0, 0.0, 0.0),
        ("r", "good", 1.0, 1.0, 2.0),
        ("r", "bad", 0.0, 0.0, 0.0),  # Every reward is right.
    )
    # Of five pairs, R_rm is wrong in three, R_rbr and R_tot are wrong in two.
    assert rates(table)["comply"] == pytest.approx((5, 0, 0.6, 0.4, 0.4))


def test_pairs_of_replies_without_class_or_without_a_reward_are_left_out_and_counted() -> None:
    good = ("p", "good", 1.0, 1.0, 2.0)
    table = replies(good, ("p", "bad", 5.0, None, None), ("p", "bad", None, 5.0, None), ("p", None, 5.0, 5.0, 10.0))
    # Two pairs lack a reward. The reply without a class may be better or worse than the three others.
    assert rates(table)["comply"] == (0, 2 + 3, None, None, None)
    assert rates(pl.concat([table, replies(("p", "bad", 0.0, 2.0, 2.0))]))["comply"] == (1, 2 + 4, 0.0, 1.0, 1.0)


def test_every_response_type_has_a_row_and_without_pairs_its_rates_are_missing() -> None:
    assert rates(replies()) == dict.fromkeys(BEHAVIOR.response_types, (0, 0, None, None, None))
    assert list(rates(replies())) == list(BEHAVIOR.response_types)
