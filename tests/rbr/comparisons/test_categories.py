import polars as pl
import pytest

from rbr.comparisons.categories import assign_categories, check_categories
from rbr.errors import InputError
from rbr.rulebook import ContentPolicy

POLICY = ContentPolicy.model_validate(
    {
        "categories": {
            "K-R": {"description": "d", "question": "Is it wrong?", "response_type": "hard_refusal"},
            "None": {"description": "d", "question": "Is it harmless?", "response_type": "comply"},
        }
    }
)


def prompts(**categories: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"prompt_id": list(categories), "category": list(categories.values())},
        schema={"prompt_id": pl.String, "category": pl.String},
    )


def grades(*rows: tuple[str, str, float | None]) -> pl.DataFrame:
    schema = {"prompt_id": pl.String, "category": pl.String, "p_yes": pl.Float64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def test_a_given_category_is_kept_and_has_no_probability() -> None:
    labeled, quarantined = assign_categories(prompts(a="K-R"), grades(), POLICY, bar=0.9)
    row = labeled.row(0, named=True)
    assert (row["category"], row["category_source"], row["response_type"]) == ("K-R", "given", "hard_refusal")
    assert row["p_category"] is None
    assert quarantined.is_empty()


def test_a_prompt_gets_the_most_probable_category_if_it_reaches_the_bar() -> None:
    answers = grades(("a", "K-R", 0.4), ("a", "None", 0.6))
    labeled, _ = assign_categories(prompts(a=None), answers, POLICY, bar=0.6)
    row = labeled.row(0, named=True)
    assert (row["category"], row["category_source"], row["p_category"]) == ("None", "grader", 0.6)
    assert row["response_type"] == "comply"


def test_a_prompt_below_the_bar_is_quarantined_with_its_best_category() -> None:
    answers = grades(("a", "K-R", 0.4), ("a", "None", 0.3))
    labeled, quarantined = assign_categories(prompts(a=None, b="None"), answers, POLICY, bar=0.6)
    assert labeled["prompt_id"].to_list() == ["b"]
    assert quarantined.select("best_category", "p_category").row(0) == ("K-R", 0.4)


def test_answers_that_could_not_be_read_do_not_count() -> None:
    answers = grades(("a", "K-R", None), ("a", "None", 0.3), ("b", "K-R", None), ("b", "None", None))
    labeled, quarantined = assign_categories(prompts(a=None, b=None), answers, POLICY, bar=0.0)
    assert labeled["category"].to_list() == ["None"]
    assert quarantined.rows() == [("b", None, None)]


def test_the_first_of_equally_probable_categories_is_used() -> None:
    answers = grades(("a", "None", 0.7), ("a", "K-R", 0.7))
    labeled, _ = assign_categories(prompts(a=None), answers, POLICY, bar=0.5)
    assert labeled["category"].item() == "K-R"


def test_an_unknown_category_is_rejected_by_name() -> None:
    with pytest.raises(InputError, match=r"data/prompts: the category 'X'"):
        assign_categories(prompts(a="X"), grades(), POLICY, bar=0.5)
    with pytest.raises(InputError, match="data/gold_labels"):
        check_categories(["None", "X"], POLICY, where="data/gold_labels")
