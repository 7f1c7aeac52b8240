"""Metrics computed by hand, and how often the intervals cover the truth."""

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.errors import InputError
from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES, Evaluation
from rbr.evaluation.metrics import evaluate
from rbr.evaluation.resampling import f1
from rbr.evaluation.share_counts import undecided_metrics
from rbr.rulebook import load_behavior

METRICS = load_behavior("rulebook/behavior.yaml").metrics
CLASSES = ["ideal", "minimum_acceptable_style", "unacceptable", "illogical", "disallowed", None]
TYPES = ["comply", "hard_refusal", "soft_refusal_intent", "soft_refusal_method"]

Reply = tuple[str, str, str | None]

HAND: list[Reply] = [
    ("a", "comply", "ideal"),
    ("a", "comply", "unacceptable"),
    ("b", "comply", "minimum_acceptable_style"),
    ("c", "comply", "disallowed"),
    ("d", "comply", "illogical"),
    ("e", "hard_refusal", "ideal"),
    ("f", "hard_refusal", "minimum_acceptable_style"),
    ("g", "hard_refusal", "disallowed"),
    ("h", "soft_refusal_intent", "ideal"),
    ("i", "soft_refusal_method", "unacceptable"),
    ("j", "comply", None),
]


def table(replies: Sequence[Reply]) -> pl.DataFrame:
    return pl.DataFrame(
        replies, schema=dict.fromkeys(("prompt_id", "response_type", "class_name"), pl.String), orient="row"
    )


def evaluated(replies: Sequence[Reply], bootstrap: int = 50, seed: int = 0) -> Evaluation:
    return evaluate(table(replies), METRICS, bootstrap=bootstrap, seed=seed, max_undecided=1.0)


def test_the_metrics_of_a_small_table_equal_those_computed_by_hand() -> None:
    result = evaluated(HAND)
    assert (result.n_prompts, result.n_completions, result.n_compared, result.n_without_class) == (10, 11, 9, 1)
    assert result.not_unsafe.value == pytest.approx(8 / 10)
    # Of five replies to comply prompts, one refuses and one is illogical. Unsafe compliance is not a refusal.
    assert result.not_overrefuse.value == pytest.approx(3 / 5)
    assert result.f1.value == pytest.approx(2 * 0.8 * 0.6 / (0.8 + 0.6))
    assert result.hard_refusal_style.value == pytest.approx(1 / 3)
    assert result.soft_refusal_style.value == pytest.approx(1 / 2)
    assert result.illogical.value == pytest.approx(1 / 10)


def test_f1_reproduces_the_table_of_the_paper() -> None:
    for not_unsafe, not_overrefuse, published in [(93.64, 98.13, 95.8), (100, 84.7, 91.7), (97.27, 97.01, 97.1)]:
        assert round(100 * float(f1(np.array(not_unsafe / 100), np.array(not_overrefuse / 100))), 1) == published


def test_harmless_gibberish_has_an_f1_of_zero() -> None:
    result = evaluated([(f"p{index}", TYPES[index % 4], "illogical") for index in range(40)])
    assert result.not_unsafe.value == 1
    assert result.illogical.value == 1
    for metric in (result.not_overrefuse, result.f1, result.hard_refusal_style, result.soft_refusal_style):
        assert (metric.value, metric.low) == (0, 0)


def test_refusing_everything_is_safe_and_has_an_f1_of_zero() -> None:
    refusals = [(f"p{index}", "comply", "unacceptable") for index in range(5)] + [("q", "hard_refusal", "ideal")]
    result = evaluated(refusals)
    assert (result.not_unsafe.value, result.hard_refusal_style.value, result.f1.value) == (1, 1, 0)


def test_unsafe_compliance_alone_has_an_f1_of_zero() -> None:
    result = evaluated([("p", "comply", "disallowed"), ("q", "hard_refusal", "disallowed")])
    assert (result.not_overrefuse.value, result.not_unsafe.value, result.f1.value) == (1, 0, 0)


def test_a_metric_that_no_reply_counts_for_is_none_and_not_zero() -> None:
    result = evaluated([("p", "comply", "ideal")])
    for metric in (result.hard_refusal_style, result.soft_refusal_style):
        assert (metric.value, metric.low, metric.high) == (None, None, None)
    assert result.not_overrefuse.value == 1


def test_f1_is_none_if_one_of_its_parts_is_none() -> None:
    result = evaluated([("p", "hard_refusal", "ideal")])
    assert (result.not_unsafe.value, result.not_overrefuse.value, result.f1.value) == (1, None, None)


@pytest.mark.parametrize("replies", [[], [("p", "comply", None)]])
def test_without_a_classified_reply_every_metric_is_none(replies: list[Reply]) -> None:
    result = evaluated(replies)
    assert {getattr(result, name).value for name in METRIC_NAMES} == {None}
    assert (result.n_completions, result.n_compared, result.n_without_class) == (len(replies), 0, len(replies))


def test_a_reply_without_a_class_is_counted_and_opens_a_range_and_changes_no_value() -> None:
    known = evaluated([("p", "comply", "ideal"), ("q", "comply", "unacceptable")])
    with_missing = evaluated([("p", "comply", "ideal"), ("q", "comply", "unacceptable"), ("r", "comply", None)])
    for name, least, most in (("not_unsafe", 2 / 3, 1), ("not_overrefuse", 1 / 3, 2 / 3), ("illogical", 0, 1 / 3)):
        metric, without = getattr(with_missing, name), getattr(known, name)
        assert (metric.value, metric.least, metric.most) == (without.value, pytest.approx(least), pytest.approx(most))
        assert without.least == without.most == without.value
    assert (known.n_without_class, with_missing.n_without_class) == (0, 1)


def test_the_range_of_f1_comes_from_the_worst_and_from_the_best_case_of_its_parts() -> None:
    f1_range = evaluated([("p", "comply", "ideal"), ("q", "comply", None), ("r", "hard_refusal", "ideal")]).f1
    assert f1_range.least == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert f1_range.most == 1


def test_a_harmful_policy_behind_a_content_filter_gets_no_value_and_a_wide_range() -> None:
    # The filter refuses the three harmful replies, so only the harmless ones have a class.
    behind_a_filter = table([("p", "comply", "ideal"), *((prompt, "hard_refusal", None) for prompt in "qrs")])
    replies = behind_a_filter.with_columns(refused=pl.col("class_name").is_null())
    result = evaluate(replies, METRICS, bootstrap=50, seed=0, max_undecided=0.05)
    metric = result.not_unsafe
    assert (metric.value, metric.low, metric.high, metric.least, metric.most) == (None, None, None, 0.25, 1)
    assert (result.f1.value, result.f1.least) == (None, pytest.approx(0.4))
    assert (result.n_without_class, result.n_refused) == (3, 3)


@pytest.mark.parametrize(("n", "low"), [(1, 0.207), (5, 0.566), (10, 0.722), (100, 0.963)])
def test_an_interval_of_all_or_none_is_as_wide_as_few_prompts_make_it(n: int, low: float) -> None:
    all_ideal = evaluated([(f"p{index}", "comply", "ideal") for index in range(n)])
    assert all_ideal.not_unsafe.low == pytest.approx(low, abs=0.001)
    assert all_ideal.f1.low == pytest.approx(low, abs=0.001)
    assert (all_ideal.illogical.low, all_ideal.illogical.high) == pytest.approx((0, 1 - low), abs=0.001)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(TYPES), st.sampled_from(CLASSES)), max_size=20))
def test_every_metric_is_a_share_and_f1_lies_between_its_parts(replies: list[Reply]) -> None:
    row = evaluated(replies, bootstrap=20).row()
    shares = [row[name + end] for name in METRIC_NAMES for end in ENDS]
    assert all(share is None or 0 <= share <= 1 for share in shares)
    for name in METRIC_NAMES:
        least, most = row[f"{name}_least"], row[f"{name}_most"]
        assert (least is None) == (most is None)
        assert least is None or least <= most
    parts = [row["not_unsafe"], row["not_overrefuse"]]
    if row["f1"] is not None:
        assert min(parts) - 1e-12 <= row["f1"] <= max(parts) + 1e-12


def test_the_same_seed_repeats_the_intervals_for_any_order_of_the_rows() -> None:
    first = evaluated(HAND, seed=3)
    assert evaluated(HAND[::-1], seed=3) == first
    assert evaluated(HAND, seed=4) != first


def test_replies_to_one_prompt_count_as_one_observation() -> None:
    verdicts = ["ideal", "unacceptable"] * 10
    alone = [(f"p{index}", "comply", verdict) for index, verdict in enumerate(verdicts)]
    copied = [reply for reply in alone for _ in range(10)]
    spread = [(f"{prompt} {copy}", type_, verdict) for copy, (prompt, type_, verdict) in enumerate(copied)]
    once, clustered, independent = (evaluated(replies, 400).not_overrefuse for replies in (alone, copied, spread))
    assert (clustered.low, clustered.high) == (once.low, once.high)
    assert clustered.low is not None and clustered.high is not None
    assert independent.low is not None and independent.high is not None
    assert independent.high - independent.low < 0.5 * (clustered.high - clustered.low)


def test_95_percent_intervals_cover_the_truth_about_that_often() -> None:
    rng = np.random.default_rng(0)
    trials, covered = 120, 0
    for trial in range(trials):
        # Prompts differ in how often their four replies refuse; 0.3 on average.
        refusing = rng.beta(1.5, 3.5, size=60)
        replies = [
            (f"p{prompt}", "comply", "unacceptable" if rng.random() < share else "ideal")
            for prompt, share in enumerate(refusing)
            for _ in range(4)
        ]
        metric = evaluated(replies, bootstrap=200, seed=trial).not_overrefuse
        assert metric.low is not None and metric.high is not None
        covered += metric.low <= 0.7 <= metric.high
    assert 0.88 <= covered / trials <= 0.99


def test_two_models_on_the_same_prompts_see_the_same_resamples() -> None:
    rng = np.random.default_rng(1)
    refuses = rng.random(50) < 0.3
    replies = [(f"p{index}", "comply", "unacceptable" if yes else "ideal") for index, yes in enumerate(refuses)]
    opposite = [
        (prompt, type_, "ideal" if name == "unacceptable" else "unacceptable") for prompt, type_, name in replies
    ]
    model, mirror = evaluated(replies).not_overrefuse, evaluated(opposite).not_overrefuse
    assert model.low is not None and mirror.high is not None
    assert model.low == pytest.approx(1 - mirror.high)


def test_a_metric_without_a_counted_reply_in_any_resample_has_no_interval() -> None:
    rare = [("soft", "soft_refusal_intent", "ideal"), *((f"p{index}", "comply", "ideal") for index in range(30))]
    seeds = (seed for seed in range(50) if evaluated(rare, bootstrap=1, seed=seed).soft_refusal_style.low is None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style = evaluated(rare, bootstrap=1, seed=next(seeds)).soft_refusal_style
    assert (style.value, style.low, style.high) == (1, None, None)


def test_a_row_has_each_metric_and_the_ends_of_its_interval() -> None:
    row = evaluated(HAND).row()
    assert tuple(row)[:5] == COUNT_NAMES
    assert set(list(row)[5:]) == {name + end for name in METRIC_NAMES for end in ENDS}
    low, value, high = row["f1_low"], row["f1"], row["f1_high"]
    assert low is not None and value is not None and high is not None and low < value < high


def test_a_bootstrap_of_zero_is_rejected() -> None:
    with pytest.raises(InputError, match=r"evaluation\.bootstrap: bootstrap is 0"):
        evaluated(HAND, bootstrap=0)


def test_f1_of_zeros_is_zero_and_of_nan_is_nan() -> None:
    scores = f1(np.array([0.0, math.nan, 0.5]), np.array([0.0, 0.5, 0.5]))
    np.testing.assert_array_equal(scores, [0.0, math.nan, 0.5])


PARTIAL = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(TYPES),
        st.lists(st.sampled_from([name for name in CLASSES if name]), min_size=1, max_size=3, unique=True),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(PARTIAL)
def test_a_metric_of_replies_with_several_possible_classes_is_that_of_every_completion_or_none(
    replies: list[tuple[str, str, list[str]]],
) -> None:
    partial = pl.DataFrame(
        {
            "prompt_id": [prompt for prompt, _, _ in replies],
            "response_type": [response_type for _, response_type, _ in replies],
            "class_name": [names[0] if len(names) == 1 else None for _, _, names in replies],
            "possible_classes": [names for _, _, names in replies],
        },
        schema_overrides={"class_name": pl.String},
    )
    result = evaluate(partial, METRICS, bootstrap=1, seed=0, max_undecided=0)
    completions = [
        evaluated([(prompt, kind, name) for (prompt, kind, _), name in zip(replies, choice, strict=True)], bootstrap=1)
        for choice in itertools.product(*(names for _, _, names in replies))
    ]
    for name in METRIC_NAMES:
        values = {getattr(completion, name).value for completion in completions}
        found = getattr(result, name)
        assert found.value == (values.pop() if len(values) == 1 and (name != "f1" or found.value is not None) else None)
        assert (found.value is None) <= (found.low is None and found.high is None)
        assert (name in undecided_metrics(partial, METRICS)) <= (found.value is None)
        bounds = [value for completion in completions if (value := getattr(completion, name).value) is not None]
        assert (found.least is None) == (not bounds)
        # One reply can be safe and an over-refusal, so the range of F1 may be wider than that of its completions.
        assert not bounds or (found.least <= min(bounds) + 1e-12 and found.most >= max(bounds) - 1e-12)
        assert not bounds or name == "f1" or (found.least, found.most) == pytest.approx((min(bounds), max(bounds)))
    assert result.n_completions == len(replies)
    assert result.n_prompts == len({prompt for prompt, _, _ in replies})
