"""Counts of prompts per response type, and what is said if they are too small."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.comparisons.prompt_counts import (
    MIN_TEST_PROMPTS,
    MIN_TRAINING_PROMPTS,
    PromptCount,
    count_prompts,
    describe_test_counts,
    describe_training_counts,
)
from rbr.comparisons.prompt_sampling import choose_per_response_type, is_held_out

RESPONSE_TYPES = {"None": "comply", "K-C": "comply", "K-R": "hard_refusal"}
SCHEMA = {"prompt_id": pl.String, "category": pl.String, "split": pl.String}


def prompts(**counts: int) -> pl.DataFrame:
    """Prompts of one category per keyword, such as ``train_none`` and ``test_refused``."""
    categories = {"none": "None", "refused": "K-R"}
    rows = [
        (f"{name} {number}", categories[name.rpartition("_")[2]], name.rpartition("_")[0])
        for name, count in counts.items()
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def counted(frame: pl.DataFrame, per_response_type: int = 100, held_out: float = 0.2) -> dict[str, PromptCount]:
    counts = count_prompts(
        frame, RESPONSE_TYPES, prompts_per_response_type=per_response_type, held_out_fraction=held_out
    )
    return {count.response_type: count for count in counts}


def test_every_response_type_of_the_policy_is_counted_by_split() -> None:
    counts = counted(prompts(train_none=7, test_none=2, unseen_none=1))
    assert list(counts) == ["comply", "hard_refusal"]
    comply, refusal = counts.values()
    assert (comply.training, comply.fitted + comply.held_out, comply.test) == (7, 7, {"test": 2, "unseen": 1})
    assert comply.categories == ("K-C", "None")
    assert (refusal.training, refusal.fitted, refusal.held_out, refusal.test) == (0, 0, 0, {})


@given(st.integers(0, 30), st.integers(1, 20), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_only_the_chosen_prompts_are_fitted_or_held_out(train: int, per_response_type: int, held_out: float) -> None:
    frame = prompts(train_none=train)
    count = counted(frame, per_response_type, held_out)["comply"]
    typed = frame.with_columns(response_type=pl.lit("comply"))
    chosen = choose_per_response_type(typed, per_response_type)["prompt_id"]
    assert count.held_out == sum(is_held_out(prompt_id, held_out) for prompt_id in chosen)
    assert count.fitted + count.held_out == min(train, per_response_type)


@pytest.mark.parametrize(
    ("training", "fitted", "held_out", "is_enough"),
    [(5, 4, 1, True), (4, 3, 1, False), (5, 5, 0, False), (5, 0, 5, False), (0, 0, 0, False)],
)
def test_training_needs_enough_prompts_for_the_fit_and_held_out(
    training: int, fitted: int, held_out: int, is_enough: bool
) -> None:
    count = PromptCount("comply", ("None",), training, fitted, held_out, {})
    assert (count.training_shortfall is None) == is_enough


@pytest.mark.parametrize(("test", "is_enough"), [({"test": 2, "unseen": 1}, True), ({"test": 2}, False), ({}, False)])
def test_test_prompts_count_over_all_splits(test: dict[str, int], is_enough: bool) -> None:
    count = PromptCount("comply", ("None",), MIN_TRAINING_PROMPTS, 4, 1, test)
    assert (count.test_shortfall is None) == is_enough


def test_the_words_name_the_response_types_the_counts_and_what_to_do() -> None:
    enough = PromptCount("comply", ("None",), 6, 4, 2, {"test": MIN_TEST_PROMPTS})
    short = PromptCount("hard_refusal", ("C-R", "K-R"), 4, 4, 0, {"unseen": 1})
    assert describe_training_counts([enough, short]) == (
        "hard_refusal has 4 training prompts (5 needed): 4 for the fit (1 needed), 0 held out for the error rates "
        "(1 needed). Add prompts to the data file: for hard_refusal, of the category C-R or K-R. "
        "A smaller evaluation.test_fraction also gives more training prompts. "
        "A hash decides which prompts are held out; a larger fit.held_out_fraction holds out more."
    )
    assert describe_test_counts([enough, short]) == (
        "hard_refusal has 1 test prompts (3 needed): 1 in the split unseen. Add prompts to the data file: "
        "for hard_refusal, of the category C-R or K-R. A larger evaluation.test_fraction also gives more test prompts."
    )


def test_with_nothing_for_the_fit_the_words_name_the_fraction_to_lower() -> None:
    words = describe_training_counts([PromptCount("comply", ("None",), 9, 0, 9, {})])
    assert words.endswith("A hash decides which prompts are held out; a smaller fit.held_out_fraction holds out fewer.")
    assert "evaluation.test_fraction" not in words


def test_if_not_all_prompts_are_used_the_words_name_the_setting_that_uses_more() -> None:
    words = describe_training_counts([PromptCount("comply", ("None",), 40, 3, 0, {})])
    assert words.endswith("A larger synthesis.prompts_per_response_type uses more of the training prompts.")
