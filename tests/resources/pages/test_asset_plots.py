"""Plots on asset pages are PNGs that are small enough for Dagster's event log."""

import base64
import struct

import dagster as dg
import polars as pl
import pytest

from rbr.agreement.reliability import BIN_SCHEMA
from rbr.evaluation.estimates import METRIC_NAMES
from rbr.rulebook import load_behavior
from resources.pages.asset_plots import (
    MAX_BYTES,
    curves_plot,
    metrics_plot,
    reliability_plot,
    reward_histograms,
    weights_plot,
)

BEHAVIOR = load_behavior("rulebook/behavior.yaml")


def size_of(picture: dg.MarkdownMetadataValue, title: str) -> tuple[int, int]:
    """Returns width and height of the PNG in the markdown; fails if there is none or if it is too large."""
    head, encoded = picture.value.removesuffix(")").split("base64,")
    assert head == f"![{title}](data:image/png;"
    assert len(picture.value) < MAX_BYTES + 100
    png = base64.b64decode(encoded, validate=True)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def weights(*response_types: str, low: float | None = -1.0, features: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                response_type,
                f"proposition:number_{index}",
                "undesired",
                (-1.0) ** index * index,
                low,
                2.0 if low is not None else None,
            )
            for response_type in response_types
            for index in range(features)
        ],
        schema={
            "response_type": pl.String,
            "feature": pl.String,
            "sign": pl.String,
            "weight": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
        },
        orient="row",
    )


def test_weights_have_a_panel_for_each_response_type() -> None:
    one, _ = size_of(weights_plot(weights("comply")), "fitted weights")
    three, _ = size_of(weights_plot(weights("a", "b", "c")), "fitted weights")
    assert three > 2 * one


def test_other_weights_give_another_plot_and_equal_weights_the_same() -> None:
    drawn = weights_plot(weights("comply"))
    assert weights_plot(weights("comply")).value == drawn.value
    assert weights_plot(weights("comply", features=4)).value != drawn.value


@pytest.mark.parametrize("frame", [weights(), weights("comply", low=None)], ids=["none", "without intervals"])
def test_weights_can_be_plotted_without_rows_and_without_intervals(frame: pl.DataFrame) -> None:
    assert size_of(weights_plot(frame), "fitted weights") > (0, 0)


def test_a_weight_against_its_sign_has_another_color() -> None:
    drawn = weights("comply")
    desired = drawn.with_columns(sign=pl.lit("desired"))
    assert weights_plot(desired).value != weights_plot(drawn).value


def rewarded(*classes: str) -> pl.DataFrame:
    """Returns replies to two comply prompts: one of each class, the better the class, the higher the reward."""
    return pl.DataFrame(
        [
            (prompt, "comply", name, float(-rank), float(-2 * rank), float(-3 * rank))
            for prompt in ("p", "q")
            for rank, name in enumerate(classes)
        ],
        schema={
            "prompt_id": pl.String,
            "response_type": pl.String,
            "class_name": pl.String,
            **dict.fromkeys(("r_rm", "r_rbr", "r_tot"), pl.Float64),
        },
        orient="row",
    )


def test_rewards_are_drawn_by_class_and_response_type() -> None:
    drawn = reward_histograms(rewarded("ideal", "unacceptable", "disallowed"), BEHAVIOR)
    assert size_of(drawn, "rewards by class") > (0, 0)
    assert reward_histograms(rewarded("ideal", "unacceptable"), BEHAVIOR).value != drawn.value


@pytest.mark.parametrize("classes", [(), ("unacceptable", "disallowed")], ids=["no replies", "no ideal reply"])
def test_rewards_are_drawn_even_if_no_prompt_has_an_ideal_reply(classes: tuple[str, ...]) -> None:
    assert size_of(reward_histograms(rewarded(*classes), BEHAVIOR), "rewards by class") > (0, 0)


def evaluations(rows: int, value: float | None = 0.5) -> pl.DataFrame:
    figures = {f"{name}{end}": value for name in METRIC_NAMES for end in ("", "_low", "_high")}
    return pl.DataFrame(
        [{"variant": f"v{row}", "split": "test", "judge": "grader", **figures} for row in range(rows)],
        schema_overrides=dict.fromkeys(figures, pl.Float64),
    )


def test_metrics_are_plotted_for_every_policy() -> None:
    one = metrics_plot(evaluations(1), list(METRIC_NAMES))
    assert size_of(one, "evaluation metrics") > (0, 0)
    assert metrics_plot(evaluations(3), list(METRIC_NAMES)).value != one.value


def test_a_missing_metric_leaves_a_gap() -> None:
    missing = metrics_plot(evaluations(2, value=None), list(METRIC_NAMES))
    assert size_of(missing, "evaluation metrics") > (0, 0)
    assert missing.value != metrics_plot(evaluations(2, value=0.0), list(METRIC_NAMES)).value


def curves(metrics: int, steps: int) -> pl.DataFrame:
    rows = [(step, f"metric_{index}", (step * 7919 % 101) / 101) for index in range(metrics) for step in range(steps)]
    return pl.DataFrame(rows, schema={"step": pl.Int64, "metric": pl.String, "value": pl.Float64}, orient="row")


def test_every_curve_has_a_panel_with_three_panels_per_row() -> None:
    _, three = size_of(curves_plot(curves(3, 5)), "training curves")
    _, four = size_of(curves_plot(curves(4, 5)), "training curves")
    assert four > 1.5 * three


def test_curves_may_be_missing_or_hold_missing_values() -> None:
    assert size_of(curves_plot(curves(0, 0)), "training curves") > (0, 0)
    gap = pl.DataFrame({"step": [1, 2], "metric": "loss", "value": [1.0, None]})
    assert size_of(curves_plot(gap), "training curves") > (0, 0)


def test_rows_in_another_order_give_the_same_curve() -> None:
    assert curves_plot(curves(2, 5).reverse()).value == curves_plot(curves(2, 5)).value


def test_a_plot_that_would_be_too_large_is_made_smaller() -> None:
    width, _ = size_of(curves_plot(curves(3, 5)), "training curves")
    crowded, _ = size_of(curves_plot(curves(15, 300)), "training curves")
    assert crowded < width


def reliability(propositions: int, bins: int = 10) -> pl.DataFrame:
    rows = [
        (f"a_rather_long_name_of_a_proposition_{number}", row, 100, 50, row / bins, 0.5, 0.4, 0.6)
        for number in range(propositions)
        for row in range(bins)
    ]
    return pl.DataFrame(rows, schema=BIN_SCHEMA, orient="row")


def test_reliability_has_a_panel_for_each_proposition_and_fits_into_the_event_log() -> None:
    width, five = size_of(reliability_plot(reliability(5)), "reliability")
    same_width, twenty_two = size_of(reliability_plot(reliability(22)), "reliability")
    assert width == same_width and twenty_two > 3 * five


def test_reliability_shows_the_counts_of_the_bins() -> None:
    drawn = reliability(3)
    assert reliability_plot(drawn).value != reliability_plot(drawn.with_columns(n=pl.lit(7, pl.Int64))).value


def test_reliability_can_be_plotted_without_labels() -> None:
    assert size_of(reliability_plot(reliability(0)), "reliability") > (0, 0)
