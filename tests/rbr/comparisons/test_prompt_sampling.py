import polars as pl
import pytest

from rbr.comparisons.prompt_sampling import balanced_order, choose_per_response_type
from rbr.errors import InputError

PROMPTS = pl.DataFrame(
    [(f"{category}-{index}", category) for category, size in (("A", 2), ("B", 7), ("C", 30)) for index in range(size)],
    schema=["prompt_id", "category"],
    orient="row",
)


def test_every_part_of_the_order_has_the_categories_equally_often() -> None:
    order = balanced_order(PROMPTS, 60, seed=3)
    for start in range(0, 60, 3):
        assert sorted(order["category"][start : start + 3]) == ["A", "B", "C"]


def test_all_prompts_of_a_category_are_used_before_one_is_repeated() -> None:
    order = balanced_order(PROMPTS, 39, seed=0)
    of_b = order.filter(pl.col("category") == "B")["prompt_id"].to_list()
    assert len(set(of_b[:7])) == 7
    assert set(of_b[7:]) <= set(of_b[:7])
    assert len(set(order.filter(pl.col("category") == "C")["prompt_id"])) == 13


def test_the_order_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    order = balanced_order(PROMPTS, 20, seed=0)["prompt_id"].to_list()
    assert balanced_order(PROMPTS.reverse(), 20, seed=0)["prompt_id"].to_list() == order
    assert balanced_order(PROMPTS, 20, seed=1)["prompt_id"].to_list() != order


def test_a_longer_order_begins_with_the_shorter_one() -> None:
    shorter = balanced_order(PROMPTS, 10, seed=0)
    assert balanced_order(PROMPTS, 25, seed=0).head(10).equals(shorter)


def test_an_empty_frame_is_rejected() -> None:
    with pytest.raises(InputError, match="no training prompts"):
        balanced_order(PROMPTS.clear(), 1, seed=0)


TYPED = PROMPTS.with_columns(
    pl.when(pl.col("category") == "C").then(pl.lit("hard_refusal")).otherwise(pl.lit("comply")).alias("response_type")
)


def test_the_prompts_of_a_response_type_are_spread_over_its_categories() -> None:
    chosen = choose_per_response_type(TYPED, 6)
    counts = dict(chosen.group_by("category").len().iter_rows())
    assert counts == {"A": 2, "B": 4, "C": 6}


def test_a_new_prompt_replaces_at_most_one_chosen_prompt() -> None:
    before = set(choose_per_response_type(TYPED, 6)["prompt_id"])
    for index in range(40):
        added = pl.DataFrame({"prompt_id": [f"new-{index}"], "category": ["C"], "response_type": ["hard_refusal"]})
        after = set(choose_per_response_type(pl.concat([TYPED, added]), 6)["prompt_id"])
        assert len(before - after) <= 1


def test_the_chosen_prompts_do_not_depend_on_the_order_of_the_rows() -> None:
    assert choose_per_response_type(TYPED.reverse(), 5).equals(choose_per_response_type(TYPED, 5))
