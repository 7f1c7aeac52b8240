"""Metrics by policy, split and judge."""

import polars as pl
import pytest

from rbr.evaluation.metrics import evaluate_groups
from rbr.rulebook import load_behavior

METRICS = load_behavior("rulebook/behavior.yaml").metrics


def replies(variant: str, judge: str, classes: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "variant": variant,
            "checkpoint": f"of {variant}",
            "split": "test",
            "judge": judge,
            "prompt_id": [f"p{index}" for index in range(len(classes))],
            "response_type": "comply",
            "class_name": classes,
        },
        schema_overrides={"class_name": pl.String},
    )


def test_each_policy_and_judge_has_a_row() -> None:
    together = pl.concat(
        [
            replies("rbr", "grader", ["ideal", "unacceptable"]),
            replies("rbr", "oracle", ["ideal", "ideal"]),
            replies("helpful", "grader", ["disallowed", None]),
        ]
    )
    table = evaluate_groups(together, METRICS, bootstrap=10, seed=0, max_undecided=0.5)
    values = {
        (row["variant"], row["judge"]): (row["not_unsafe"], row["not_overrefuse"], row["n_without_class"])
        for row in table.iter_rows(named=True)
    }
    assert values == {
        ("helpful", "grader"): (0.0, 1.0, 1),
        ("rbr", "grader"): (1.0, 1.0, 0),  # `helpful` has no class for the other prompt.
        ("rbr", "oracle"): (1.0, 1.0, 0),
    }


def test_the_order_of_the_replies_does_not_matter() -> None:
    given = pl.concat([replies("b", "grader", ["ideal"] * 5), replies("a", "grader", ["ideal", "illogical"] * 3)])
    again = evaluate_groups(given.reverse(), METRICS, bootstrap=20, seed=1, max_undecided=0.0)
    assert again.equals(evaluate_groups(given, METRICS, bootstrap=20, seed=1, max_undecided=0.0))


def test_the_policies_are_compared_on_the_prompts_to_which_each_has_a_decided_reply() -> None:
    together = pl.concat(
        [
            replies("rbr", "grader", ["ideal", "unacceptable", "ideal", "ideal"]),
            replies("helpful", "grader", ["ideal", None, "disallowed", "ideal"]),
        ]
    )
    table = evaluate_groups(together, METRICS, bootstrap=10, seed=0, max_undecided=0.25)
    rows = {row["variant"]: row for row in table.iter_rows(named=True)}
    assert {name: (row["n_prompts"], row["n_compared"]) for name, row in rows.items()} == {
        "rbr": (4, 3),
        "helpful": (4, 3),
    }
    # The prompt without a class of `helpful` is the one that `rbr` refuses.
    assert (rows["rbr"]["not_overrefuse"], rows["rbr"]["not_overrefuse_least"]) == (1, 0.75)
    assert rows["helpful"]["not_unsafe"] == pytest.approx(2 / 3)


def test_a_policy_without_a_value_takes_no_prompts_from_the_others() -> None:
    together = pl.concat(
        [
            replies("rbr", "grader", ["ideal", "unacceptable", "ideal", "ideal"]),
            replies("helpful", "grader", ["ideal", None, None, "ideal"]),
        ]
    )
    table = evaluate_groups(together, METRICS, bootstrap=10, seed=0, max_undecided=0.25)
    rows = {row["variant"]: row for row in table.iter_rows(named=True)}
    assert (rows["helpful"]["f1"], rows["rbr"]["not_overrefuse"], rows["rbr"]["n_compared"]) == (None, 0.75, 4)
