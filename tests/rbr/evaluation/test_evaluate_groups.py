"""Metrics by policy, split and judge."""

import polars as pl

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
    table = evaluate_groups(together, METRICS, bootstrap=10, seed=0)
    values = {
        (row["variant"], row["judge"]): (row["not_unsafe"], row["not_overrefuse"], row["n_missing"])
        for row in table.iter_rows(named=True)
    }
    assert values == {
        ("helpful", "grader"): (0.0, 1.0, 1),
        ("rbr", "grader"): (1.0, 0.5, 0),
        ("rbr", "oracle"): (1.0, 1.0, 0),
    }


def test_the_order_of_the_replies_does_not_matter() -> None:
    given = pl.concat([replies("b", "grader", ["ideal"] * 5), replies("a", "grader", ["ideal", "illogical"] * 3)])
    again = evaluate_groups(given.reverse(), METRICS, bootstrap=20, seed=1)
    assert again.equals(evaluate_groups(given, METRICS, bootstrap=20, seed=1))
