"""A server that cuts long prompts without a word gives grades of something else."""

from collections.abc import Callable
from typing import Any

import pytest

from rbr.grading import Outcome
from tests.rbr.grading.judge_server import QUESTIONS, JudgeServer, Reply, Request, conversation, error, good_answer

Serve = Callable[..., JudgeServer]
CHARACTERS_PER_TOKEN = 4
SHORT, LONG, LONGER = (conversation(word * 400) for word in ("One. ", "Longer. ", "The longest. "))


def counted(prompt: str, limit: float) -> Reply:
    good = good_answer(prompt)
    tokens = min(len(prompt) // CHARACTERS_PER_TOKEN, limit)
    return Reply(200, {**good.body, "usage": {"prompt_tokens": tokens}})


def outcomes(server: JudgeServer, *conversations: Any) -> list[str]:
    answers = server.grader(wait_s=1.0).grade(conversations, QUESTIONS)
    assert all("the server cut the prompt to" in reason for reason in answers.reasons.values())
    return [str(outcome) for outcome in answers.outcomes[:, 0]]


def test_prompts_that_the_server_cuts_are_unreadable(serve: Serve) -> None:
    server = serve(lambda request: counted(request.prompt, limit=700))
    assert outcomes(server, SHORT, LONG, LONGER) == [Outcome.ANSWERED, Outcome.UNREADABLE, Outcome.UNREADABLE]


def test_a_server_that_reads_prompts_whole_is_asked_once_more_and_not_again(serve: Serve) -> None:
    server = serve(lambda request: counted(request.prompt, limit=float("inf")))
    grader = server.grader()
    for expected in (7, 6, 6):  # Three conversations with two questions.
        server.requests.clear()
        assert grader.grade([SHORT, LONG, LONGER], QUESTIONS).count(Outcome.ANSWERED) == 6
        assert len(server.asked) == expected


@pytest.mark.parametrize(
    "longer",
    [
        pytest.param(error(400, "maximum context length is 512 tokens"), id="it refuses a longer prompt"),
        pytest.param(error(500, "CUDA error"), id="it cannot answer a longer prompt"),
        pytest.param(good_answer(""), id="it does not count the tokens"),
        pytest.param(Reply(200, {**good_answer("").body, "usage": {"prompt_tokens": 3}}), id="it counts new tokens"),
    ],
)
def test_without_a_proof_no_answer_is_dropped(serve: Serve, longer: Reply) -> None:
    def rule(request: Request) -> Reply:
        return longer if request.prompt.startswith("word word") else counted(request.prompt, limit=float("inf"))

    assert outcomes(serve(rule), SHORT, LONGER) == [Outcome.ANSWERED, Outcome.ANSWERED]


def test_texts_with_few_tokens_are_not_taken_for_cut_ones(serve: Serve) -> None:
    # Blanks are few tokens: the longer prompt has no more tokens than the shorter one.
    def rule(request: Request) -> Reply:
        good = good_answer(request.prompt)
        return Reply(200, {**good.body, "usage": {"prompt_tokens": 200 + len(request.prompt.split())}})

    blanks = conversation("a" + " " * 5000 + "b")
    assert outcomes(serve(rule), blanks, conversation("word " * 300)) == [Outcome.ANSWERED, Outcome.ANSWERED]
