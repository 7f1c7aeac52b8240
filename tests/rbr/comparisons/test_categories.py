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
    assert quarantined.rows() == [("a", "K-R", 0.4, [], "no P(yes) reaches the bar")]


def test_a_prompt_is_quarantined_if_the_unread_answer_could_be_the_most_probable_category() -> None:
    # Without the answer for K-R, the prompt would be answered instead of refused.
    answers = grades(("a", "K-R", None), ("a", "None", 0.55))
    labeled, quarantined = assign_categories(prompts(a=None), answers, POLICY, bar=0.5)
    assert labeled.is_empty()
    assert quarantined.rows() == [("a", "None", 0.55, ["K-R"], "the answer for K-R could not be read")]


@pytest.mark.parametrize(
    ("p_refuse", "p_none", "category"),
    [(1.0, None, "K-R"), (None, 1.0, None), (0.999, None, None)],
)
def test_an_unread_answer_does_no_harm_only_if_it_would_lose_even_with_p_yes_1(
    p_refuse: float | None, p_none: float | None, category: str | None
) -> None:
    # Of equally probable categories, the one that sorts first is used: K-R comes before None.
    answers = grades(("a", "K-R", p_refuse), ("a", "None", p_none))
    labeled, quarantined = assign_categories(prompts(a=None), answers, POLICY, bar=0.5)
    assert labeled["category"].to_list() == ([category] if category else [])
    assert labeled.height + quarantined.height == 1


def test_a_question_that_was_never_answered_counts_as_unread() -> None:
    _, quarantined = assign_categories(prompts(a=None, b=None), grades(("a", "None", 0.9)), POLICY, bar=0.5)
    assert quarantined.select("prompt_id", "reason").rows() == [
        ("a", "the answer for K-R could not be read"),
        ("b", "no answer could be read"),
    ]


def test_all_unread_answers_are_named() -> None:
    three = ContentPolicy.model_validate(
        {"categories": {**POLICY.model_dump()["categories"], "V-R": POLICY.model_dump()["categories"]["K-R"]}}
    )
    answers = grades(("a", "K-R", None), ("a", "None", 0.9), ("a", "V-R", None))
    _, quarantined = assign_categories(prompts(a=None), answers, three, bar=0.5)
    assert quarantined["reason"].to_list() == ["the answers for K-R, V-R could not be read"]


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        ({"K-R": "refused"}, "a content filter refused the question for K-R"),
        ({"K-R": "unreadable"}, "the answer for K-R could not be read"),
        ({"K-R": "refused", "None": "refused"}, "a content filter refused every question"),
        ({"K-R": "unreadable", "None": "unreadable"}, "no answer could be read"),
        (
            {"K-R": "refused", "None": "unreadable"},
            "a content filter refused the question for K-R, and the answer for None could not be read",
        ),
    ],
)
def test_the_reason_says_whether_an_answer_was_refused_or_not_readable(outcomes: dict[str, str], reason: str) -> None:
    rows = [("a", code, None if code in outcomes else 0.9, outcomes.get(code, "answered")) for code in ("K-R", "None")]
    schema = {"prompt_id": pl.String, "category": pl.String, "p_yes": pl.Float64, "outcome": pl.String}
    answers = pl.DataFrame(rows, schema=schema, orient="row")
    labeled, quarantined = assign_categories(prompts(a=None), answers, POLICY, bar=0.5)
    assert labeled.is_empty()
    assert quarantined.select("missing", "reason").row(0) == (sorted(outcomes), reason)


def test_the_first_of_equally_probable_categories_is_used() -> None:
    answers = grades(("a", "None", 0.7), ("a", "K-R", 0.7))
    labeled, _ = assign_categories(prompts(a=None), answers, POLICY, bar=0.5)
    assert labeled["category"].item() == "K-R"


def test_every_unknown_category_is_rejected_by_name() -> None:
    with pytest.raises(InputError, match=r"data/prompts: the category 'X'"):
        assign_categories(prompts(a="X"), grades(), POLICY, bar=0.5)
    with pytest.raises(InputError) as caught:
        check_categories(["None", "X", "K-Q", "X"], POLICY, where="data/gold_labels")
    assert [problem.what for problem in caught.value.problems] == [
        "the category 'K-Q' is not in the content policy",
        "the category 'X' is not in the content policy",
    ]
    assert caught.value.problems[0].hint == "Did you mean `K-R`?"
