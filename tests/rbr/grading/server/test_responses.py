"""Which probability an answer gives to each token, in the formats of the servers."""

from math import log, nan
from typing import Any

import pytest

from rbr.grading import Answer, Outcome
from rbr.grading.answers import Reading
from rbr.grading.server.responses import AnswerReader, Choice, read_choices

READER = AnswerReader(Reading(min_mass=0.5, max_bound=0.01), ("yes", "Yes"), ("no",))
REST = [(f"t{n}", log(1e-6)) for n in range(18)]
YES, NO = log(0.7), log(0.2999)


def chat(chosen: tuple[str, Any], *listed: tuple[str, Any]) -> dict[str, Any]:
    top = [{"token": token, "logprob": value} for token, value in listed]
    return {"logprobs": {"content": [{"token": chosen[0], "logprob": chosen[1], "top_logprobs": top}]}}


def completion(chosen: tuple[str, Any], *listed: tuple[str, Any]) -> dict[str, Any]:
    return {"logprobs": {"tokens": [chosen[0]], "token_logprobs": [chosen[1]], "top_logprobs": [dict(listed)]}}


def read(choice: dict[str, Any]) -> Choice:
    choices = read_choices({"choices": [choice]}, n_prompts=1)
    assert isinstance(choices, list)
    return choices[0]


def answer_to(choice: dict[str, Any]) -> Answer:
    answer = READER.answer(read(choice))
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize("form", [chat, completion])
@pytest.mark.parametrize(
    ("chosen", "listed", "p_yes"),
    [
        pytest.param(("yes", YES), [("no", NO), *REST], 0.7, id="the chosen token is not listed"),
        pytest.param(("yes", YES), [("yes", YES), ("no", NO), *REST], 0.7, id="it is listed"),
        pytest.param(("Ġyes", -0.1), [("yes", YES), ("no", NO), *REST], 0.7, id="its number does not fit"),
        pytest.param(("yes", round(YES, 3)), [("yes", YES), ("no", NO), *REST], 0.7, id="it is listed and rounded"),
        pytest.param(("token_id:7", YES), [("yes", YES), ("no", NO), *REST], 0.7, id="it is listed by its text"),
        pytest.param(("yes", None), [("yes", YES), ("no", NO), *REST], 0.7, id="it has no number"),
        pytest.param(("Yes", log(0.2)), [("yes", log(0.5)), ("no", NO), *REST], 0.7, id="another spelling"),
    ],
)
def test_the_chosen_token_counts_once(form: Any, chosen: Any, listed: Any, p_yes: float) -> None:
    assert answer_to(form(chosen, *listed)).p_yes == pytest.approx(p_yes, abs=1e-3)


def test_a_token_that_is_listed_twice_with_a_rounded_number_counts_once() -> None:
    twice = chat(("yes", YES), ("yes", YES), ("no", NO), ("yes", round(YES, 5)), *REST)
    assert read(twice).listed["yes"] == pytest.approx(YES)
    both = chat(("yes", log(0.4)), ("yes", log(0.4)), ("no", NO), ("yes", log(0.3)), *REST)
    assert read(both).listed["yes"] == pytest.approx(YES)


def test_a_rare_token_that_was_chosen_does_not_lower_the_bound_of_the_unlisted_ones() -> None:
    # The last listed token has a probability of 0.04, so an unlisted spelling of yes may have as much.
    listed = [("yes", log(0.5)), ("no", log(0.3)), ("t0", log(0.04)), ("t1", log(0.04))]
    for choice in (chat(("rare", log(1e-9)), *listed), chat(("rare", log(1e-9)), *listed, ("rare", log(1e-9)))):
        answer = answer_to(choice)
        assert answer.outcome is Outcome.UNREADABLE and "above max_bound" in answer.reason


@pytest.mark.parametrize("number", [None, nan, "0.9"])
def test_a_listed_token_without_a_number_can_have_any_probability(number: Any) -> None:
    answer = answer_to(chat(("no", log(0.6)), ("yes", number), ("no", log(0.6)), *REST))
    assert answer.outcome is Outcome.UNREADABLE and "above max_bound" in answer.reason


@pytest.mark.parametrize(
    ("listed", "is_one_hot"),
    [
        pytest.param([("yes", 0.0), ("no", -9999.0), *((token, -9999.0) for token, _ in REST)], True, id="-9999"),
        pytest.param([("yes", 0.0), ("no", float("-inf"))], True, id="-inf"),
        pytest.param([("yes", 0.0)], True, id="no other token"),
        pytest.param([("yes", -1e-7), ("no", -16.0)], False, id="a sure judge"),
        pytest.param([("yes", YES), ("no", NO), *REST], False, id="a judge"),
        pytest.param([("yes", YES)], False, id="a list of one token"),
    ],
)
def test_an_answer_after_a_temperature_of_zero_has_one_token(listed: Any, is_one_hot: bool) -> None:
    assert read(chat(listed[0], *listed)).is_one_hot is is_one_hot
