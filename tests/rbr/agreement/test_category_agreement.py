"""Categories by the grader are compared with given ones, on a sample that new prompts hardly move."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.agreement.category_agreement import (
    CATEGORY_SCHEMA,
    MEASURES,
    NO_CATEGORY,
    compare_categories,
    find_categories,
    overall_accuracy,
    sample_categorized,
)
from rbr.rulebook import load_content_policy

POLICY = load_content_policy("rulebook/content_policy.yaml")
CODES = sorted(POLICY.categories)


def prompts(**categories: int) -> pl.DataFrame:
    rows = [(f"{code}{number}", code.replace("_", "-")) for code, n in categories.items() for number in range(n)]
    return pl.DataFrame(rows, schema=["prompt_id", "category"], orient="row")


def graded(prompt_id: str, p_yes: dict[str, float | None], outcome: str = "answered") -> pl.DataFrame:
    rows = [(prompt_id, code, p_yes.get(code, 0.1)) for code in CODES]
    frame = pl.DataFrame(
        rows, schema={"prompt_id": pl.String, "category": pl.String, "p_yes": pl.Float64}, orient="row"
    )
    return frame.with_columns(
        outcome=pl.when(pl.col("p_yes").is_null()).then(pl.lit(outcome)).otherwise(pl.lit("answered"))
    )


def found(*pairs: tuple[str, str | None]) -> pl.DataFrame:
    rows = [(str(number), given, answer, answer is None) for number, (given, answer) in enumerate(pairs)]
    schema = {"prompt_id": pl.String, "category": pl.String, "found": pl.String, "refused": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def row_of(category: str, frame: pl.DataFrame) -> dict[str, object]:
    table = compare_categories(frame, POLICY)
    assert table.schema == CATEGORY_SCHEMA
    assert table["category"].to_list() == CODES
    return table.row(by_predicate=pl.col("category") == category, named=True)


# The sample


def test_the_sample_has_at_most_so_many_prompts_of_each_category_and_none_without_a_category() -> None:
    frame = pl.concat(
        [prompts(K_R=30, K_C=3), pl.DataFrame({"prompt_id": ["x"], "category": [None]})], how="vertical_relaxed"
    )
    counts = dict(sample_categorized(frame, 5)["category"].value_counts().iter_rows())
    assert counts == {"K-R": 5, "K-C": 3}


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(20)), st.integers(0, 19))
def test_the_order_of_prompts_does_not_matter_and_a_new_prompt_replaces_at_most_one(order: list[int], new: int) -> None:
    frame = prompts(K_R=20)
    chosen = set(sample_categorized(frame, 6)["prompt_id"])
    assert set(sample_categorized(frame[order], 6)["prompt_id"]) == chosen
    without = frame.filter(pl.col("prompt_id") != f"K_R{new}")
    assert len(chosen - set(sample_categorized(without, 6)["prompt_id"])) <= 1


# The category by the grader


@pytest.mark.parametrize(
    ("p_yes", "expected"),
    [
        ({"K-C": 0.8}, "K-C"),
        ({"K-C": 0.8, "K-R": 0.9}, "K-R"),
        ({"K-C": 0.4}, NO_CATEGORY),
        ({"K-C": 0.8, "H-R": None}, None),
        (dict.fromkeys(CODES), None),
    ],
    ids=["one is high", "the highest counts", "all are low", "an answer is missing", "all answers are missing"],
)
def test_the_category_is_found_by_the_rule_of_the_pipeline(p_yes: dict, expected: str | None) -> None:
    asked = pl.DataFrame({"prompt_id": ["p"], "category": ["K-R"]})
    row = find_categories(asked, graded("p", p_yes, "refused"), POLICY, bar=0.5).row(0)
    assert row == ("p", "K-R", expected, expected is None)


def test_a_prompt_without_any_answer_is_missing_and_not_wrong() -> None:
    asked = pl.DataFrame({"prompt_id": ["p", "q"], "category": ["K-R", "K-R"]})
    frame = find_categories(asked, graded("q", {"K-R": 0.9}), POLICY, bar=0.5)
    assert frame["found"].to_list() == [None, "K-R"]


# The measures


def test_the_measures_equal_those_computed_by_hand() -> None:
    pairs = [("K-R", "K-R")] * 6 + [("K-R", "K-C")] * 2 + [("K-C", "K-R")] * 1 + [("None", "None")] * 11
    row = row_of("K-R", found(*pairs))
    assert (row["true_yes"], row["false_yes"], row["false_no"], row["true_no"]) == (6, 1, 2, 11)
    assert row["accuracy"] == pytest.approx(17 / 20)
    assert row["majority_accuracy"] == pytest.approx(12 / 20)
    assert row["balanced_accuracy"] == pytest.approx((6 / 8 + 11 / 12) / 2)
    assert row["f1"] == pytest.approx(12 / 15)
    by_chance = (8 * 7 + 12 * 13) / 400
    assert row["kappa"] == pytest.approx((17 / 20 - by_chance) / (1 - by_chance))
    assert row["confused_with"] == "K-C"


def test_a_prompt_without_a_category_by_the_grader_is_wrong_and_one_with_a_missing_answer_is_left_out() -> None:
    row = row_of("K-R", found(("K-R", NO_CATEGORY), ("K-R", None), ("None", "None")))
    assert (row["n"], row["n_missing"], row["n_refused"]) == (2, 1, 1)
    assert (row["false_no"], row["balanced_accuracy"], row["confused_with"]) == (1, 0.5, NO_CATEGORY)


@pytest.mark.parametrize("frame", [found(), found(("K-R", None))], ids=["no prompt", "no answer"])
def test_without_an_answer_there_is_no_number(frame: pl.DataFrame) -> None:
    row = row_of("K-R", frame)
    assert row["n"] == 0 and all(row[name] is None for name in (*MEASURES, "majority_accuracy"))
    assert overall_accuracy(frame, POLICY) == {}


def test_the_response_type_can_be_right_although_the_category_is_wrong() -> None:
    shares = overall_accuracy(found(("K-R", "H-R"), ("K-R", "K-R"), ("K-R", NO_CATEGORY)), POLICY)
    assert shares["category"].value == pytest.approx(1 / 3)
    assert shares["response type"].value == pytest.approx(2 / 3)
    assert shares["category"].low < 1 / 3 < shares["category"].high
