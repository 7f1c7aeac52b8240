"""A server that is slow, busy, away or flaky costs waiting, and no answers."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import numpy as np
import pytest

from rbr.errors import InputError
from rbr.grading import Outcome
from rbr.grading.prompt import compile_prompt
from rbr.grading.server.asking import MAX_TIMEOUTS
from rbr.grading.server.patience import Patience
from rbr.hashing import content_hash
from tests.rbr.grading.grader_settings import SANDBOX_PROMPT
from tests.rbr.grading.judge_server import (
    QUESTIONS,
    SERVED,
    JudgeServer,
    Reply,
    Request,
    conversation,
    error,
    good_answer,
    p_yes_of,
)

Serve = Callable[..., JudgeServer]
PROMPT = compile_prompt(SANDBOX_PROMPT)
CONVERSATIONS = [conversation(f"reply {n}") for n in range(60)]
EXPECTED = np.array([[p_yes_of(PROMPT.render(messages, q, 0)) for q in QUESTIONS] for messages in CONVERSATIONS])

CHOICE = {"index": 0, "message": {"content": ""}, "logprobs": None}
REJECTIONS = [
    pytest.param(Reply(200, {"choices": [{**CHOICE, "finish_reason": "length"}]}), id="no logprobs"),
    pytest.param(
        Reply(200, {"choices": [{**CHOICE, "error": {"code": 502}, "finish_reason": "error"}]}), id="a choice"
    ),
    pytest.param(Reply(200, {"choices": [None]}), id="no choice"),
    pytest.param(error(400, "Provider returned error"), id="400"),
    pytest.param(Reply(403, "<html>Forbidden</html>"), id="403 HTML"),
    pytest.param(error(403, "Forbidden"), id="403"),
    pytest.param(Reply(404, "404 page not found"), id="404"),
    pytest.param(error(424, "Failed Dependency"), id="424"),
    pytest.param(error(499, "client closed"), id="499"),
    pytest.param(Reply(200, {}, delay_s=0.3), id="timeout"),
]
FAULTS = [
    error(500, "Internal error"),
    error(503, "Overloaded"),
    error(429, "Slow down"),
    error(429, "Slow down", {"Retry-After": "0.02"}),
    error(425, "Too early"),
    Reply(502, "<html><title>502 Bad Gateway</title></html>"),
    Reply(200, {"error": {"code": 529, "message": "Overloaded"}}),
    Reply(200, "<html>Please wait</html>"),
    Reply(200, '{"choices": [{'),
    Reply(200, {"choices": []}, lost=True),
]


def test_a_third_of_the_requests_failing_at_random_ends_in_a_complete_and_correct_table(serve: Serve) -> None:
    def rule(request: Request) -> Reply:
        draw = random.Random(content_hash([request.prompt, request.attempt]))
        return draw.choice(FAULTS) if draw.random() < 1 / 3 else good_answer(request.prompt)

    server = serve(rule)
    answers = server.grader(max_concurrency=8).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED)
    assert answers.reasons == {}
    assert len(server.asked) > 1.3 * EXPECTED.size


@pytest.mark.parametrize("fault", REJECTIONS)
def test_a_third_of_the_requests_failing_in_a_way_that_looks_lasting_ends_in_a_complete_table(
    serve: Serve, fault: Reply
) -> None:
    def rule(request: Request) -> Reply:
        draw = random.Random(content_hash([request.prompt, request.attempt]))
        return fault if draw.random() < 1 / 3 and not request.is_probe else good_answer(request.prompt)

    n = 20 if fault.delay_s else 60
    grader = serve(rule).grader(max_concurrency=8, timeout_s=0.15 if fault.delay_s else 2.0)
    answers = grader.grade(CONVERSATIONS[:n], QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED[:n])


def test_a_server_that_is_killed_and_started_again_in_the_middle_costs_waiting_only(serve: Serve) -> None:
    server = serve(lambda request: Reply(200, good_answer(request.prompt).body, delay_s=0.005))
    notes: list[str] = []

    def kill_and_start_again() -> None:
        while len(server.asked) < 30:
            time.sleep(0.002)
        server.kill()
        time.sleep(0.5)
        server.start_again()

    life = threading.Thread(target=kill_and_start_again)
    life.start()
    answers = server.grader(wait_s=20).grade(CONVERSATIONS, QUESTIONS, lambda done, note: notes.append(note))
    life.join()
    np.testing.assert_allclose(answers.p_yes, EXPECTED)
    assert any(f"the server at http://127.0.0.1:{server.port}/v1 has not answered for" in note for note in notes)
    assert notes[-1] == ""  # The note is gone once the server is back.
    # The work that was lost is sent again, and no more: nobody asks a dead address again and again.
    assert len(server.asked) < EXPECTED.size + 3 * 4


def test_if_a_killed_server_stays_away_what_was_answered_is_returned(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))

    def kill() -> None:
        while len(server.asked) < 30:
            time.sleep(0.002)
        server.kill()

    life = threading.Thread(target=kill)
    life.start()
    grader = server.grader(wait_s=0.5)
    answers = grader.grade(CONVERSATIONS, QUESTIONS)
    life.join()
    n_answered = answers.count(Outcome.ANSWERED)
    assert 20 <= n_answered < EXPECTED.size
    is_answered = answers.outcomes == Outcome.ANSWERED
    np.testing.assert_allclose(answers.p_yes[is_answered], EXPECTED[is_answered])
    assert answers.count(Outcome.NOT_ANSWERED) == EXPECTED.size - n_answered
    assert "no answer for 0.5 s (grader.wait_s): no connection" in answers.reasons[59, 1]
    # The patience is over: the next call tries once. A server that is back is asked again.
    with pytest.raises(InputError, match="no connection"):
        grader.grade(CONVERSATIONS, QUESTIONS)
    server.start_again()
    np.testing.assert_allclose(grader.grade(CONVERSATIONS, QUESTIONS).p_yes, EXPECTED)


def test_a_server_that_comes_back_with_another_model_ends_the_call(serve: Serve) -> None:
    server = serve(lambda request: Reply(200, good_answer(request.prompt).body, delay_s=0.005))

    def replace() -> None:
        while len(server.asked) < 30:
            time.sleep(0.002)
        server.kill()
        entry = {**SERVED["data"][0], "root": "/models/other"}
        server.models = Reply(200, {"data": [entry]})
        server.start_again()

    life = threading.Thread(target=replace)
    life.start()
    answers = server.grader(wait_s=20).grade(CONVERSATIONS, QUESTIONS)
    life.join()
    assert 0 < answers.count(Outcome.ANSWERED) < EXPECTED.size
    assert "came back with another model: root '/models/judge' -> '/models/other'" in answers.reasons[59, 1]


@pytest.mark.parametrize("how", ["refuses connections", "answers 503 while it loads", "answers 502 through a proxy"])
def test_a_server_that_is_still_starting_is_waited_for(serve: Serve, how: str) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    settings = server.settings(wait_s=20)
    ready_at = time.monotonic() + 0.4
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    if how == "refuses connections":
        server.kill()
        threading.Timer(0.4, server.start_again).start()
    else:
        reply = Reply(503, loading) if "503" in how else Reply(502, "<html>Bad Gateway</html>")
        server.rule = lambda request: good_answer(request.prompt) if time.monotonic() > ready_at else reply
    answers = server.grader(**settings.model_dump(include={"wait_s"})).grade(CONVERSATIONS[:5], QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED[:5])
    assert len(server.requests) < 60


def test_a_server_that_loads_its_model_on_the_first_request_is_waited_for(serve: Serve) -> None:
    ready_at = time.monotonic() + 2.0

    def rule(request: Request) -> Reply:
        good = good_answer(request.prompt)
        return Reply(200, good.body, delay_s=max(0.0, ready_at - time.monotonic()))

    # More timeouts than a request of a server that has answered may have.
    answers = serve(rule).grader(wait_s=20, timeout_s=0.2).grade(CONVERSATIONS[:2], QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED[:2])


def test_a_server_that_never_loads_its_model_is_waited_for_as_long_as_wait_s_says(serve: Serve) -> None:
    server = serve(lambda request: Reply(200, {}, delay_s=0.4))
    with pytest.raises(InputError, match=r"no answer within 0\.1 s") as caught:
        server.grader(wait_s=1.5, timeout_s=0.1).grade(CONVERSATIONS[:2], QUESTIONS)
    assert "grader.timeout_s" in caught.value.hint
    assert len(server.requests) > MAX_TIMEOUTS


@pytest.mark.parametrize("status", [500, 502, 429])
def test_a_server_that_fails_for_a_while_in_the_middle_costs_waiting_only(serve: Serve, status: int) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    end = [float("inf")]

    def rule(request: Request) -> Reply:
        if len(server.asked) == 30 and end[0] == float("inf"):
            end[0] = time.monotonic() + 1.5
        return error(status, "Wait") if time.monotonic() < end[0] < float("inf") else good_answer(request.prompt)

    server.rule = rule
    reported: list[int] = []
    answers = server.grader(wait_s=4).grade(CONVERSATIONS, QUESTIONS, lambda done, note: reported.append(done))
    np.testing.assert_allclose(answers.p_yes, EXPECTED)
    assert reported[-1] == len(CONVERSATIONS)
    assert sorted({request.prompt for request in server.asked}) == sorted(
        PROMPT.render(messages, question, 0) for messages in CONVERSATIONS for question in QUESTIONS
    )


def test_a_server_that_never_starts_is_an_error_that_says_where_and_what_to_do(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    server.kill()
    notes: list[str] = []
    with pytest.raises(InputError, match="no connection") as caught:
        server.grader(wait_s=0.3).grade(CONVERSATIONS, QUESTIONS, lambda done, note: notes.append(note))
    assert "grader.wait_s" in caught.value.hint and str(server.port) in str(caught.value)
    assert "has not answered for 0 s; waiting up to 0 s" in notes[0]


def test_without_patience_a_server_that_is_away_is_an_error_at_once(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    server.kill()
    with pytest.raises(InputError, match="no connection"):
        server.grader(wait_s=0).grade(CONVERSATIONS, QUESTIONS)


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_the_pause_that_a_server_asks_for_is_kept_by_all_workers(serve: Serve, form: str) -> None:
    lock, opened_at = threading.Lock(), [0.0]
    too_early: list[float] = []

    def rule(request: Request) -> Reply:
        with lock:
            now = time.time()
            if not request.is_probe and not opened_at[0]:
                opened_at[0] = now + (1.1 if form == "date" else 0.4)
            elif now < opened_at[0] - 0.2:
                too_early.append(opened_at[0] - now)
            if now >= opened_at[0] or request.is_probe:
                return good_answer(request.prompt)
        header = {
            "seconds": {"Retry-After": "0.4"},
            "milliseconds": {"retry-after-ms": "400"},
            "date": {"Retry-After": formatdate(opened_at[0] + 1, usegmt=True)},
        }[form]
        return error(429, "Rate limit reached", header)

    server = serve(rule)
    answers = server.grader(max_concurrency=8, wait_s=10).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED)
    # Only the requests that were on their way with the first one arrived before the pause was over.
    assert len(too_early) <= 8


def test_a_pause_that_is_longer_than_the_patience_ends_the_call(serve: Serve) -> None:
    server = serve(lambda request: error(429, "Daily limit", {"Retry-After": "86400"}))
    with pytest.raises(InputError, match="429: Daily limit"):
        server.grader(wait_s=5).grade(CONVERSATIONS, QUESTIONS)
    assert len(server.requests) == 1


def test_a_long_pause_for_one_request_among_good_answers_makes_nobody_wait(serve: Serve) -> None:
    def rule(request: Request) -> Reply:
        is_limited = len(server.asked) in (20, 60)
        return error(429, "Limit", {"Retry-After": "86400"}) if is_limited else good_answer(request.prompt)

    server = serve(lambda request: good_answer(request.prompt))
    server.rule = rule
    started_at = time.monotonic()
    np.testing.assert_allclose(server.grader(wait_s=60).grade(CONVERSATIONS, QUESTIONS).p_yes, EXPECTED)
    assert time.monotonic() - started_at < 20


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0.1"}])
def test_a_rate_limit_slows_all_workers_down_and_every_question_is_answered(
    serve: Serve, headers: dict[str, str]
) -> None:
    lock, stamps = threading.Lock(), list[float]()

    def rule(request: Request) -> Reply:
        with lock:
            now = time.monotonic()
            stamps[:] = [stamp for stamp in stamps if now - stamp < 0.1]
            if len(stamps) >= 10:
                return error(429, "Rate limit reached", headers)
            stamps.append(now)
        return good_answer(request.prompt)

    server = serve(rule)
    answers = server.grader(max_concurrency=16, wait_s=10).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, EXPECTED)


def test_a_server_that_is_only_slow_for_some_is_asked_with_fewer_requests_at_once() -> None:
    async def limits() -> list[int]:
        patience = Patience(wait_s=10, max_concurrency=16)
        seen = [patience.allowed]
        sent_at = time.monotonic()
        for _ in range(3):  # Three answers to requests that were on their way together.
            patience.failed()
            patience.slow_down(sent_at)
        seen.append(patience.allowed)
        for _ in range(200):
            patience.answered()
        return [*seen, patience.allowed]

    assert asyncio.run(limits()) == [16, 8, 16]


def test_requests_that_fail_together_are_one_failed_round() -> None:
    patience = Patience(wait_s=600, max_concurrency=64)
    sent_at = time.monotonic()
    for _ in range(64):
        patience.failed(sent_at)
        patience.slow_down(sent_at)
    assert patience.failures_in_a_row == 1
    assert patience.allowed == 32


def test_after_a_storm_the_concurrency_doubles_each_round_up_to_half_of_what_it_was() -> None:
    patience = Patience(wait_s=600, max_concurrency=64)
    for _ in range(6):
        patience.failed()
        patience.slow_down()
    seen = [patience.allowed]
    for _ in range(7):
        for _ in range(patience.allowed):
            patience.answered()
        seen.append(patience.allowed)
    assert seen == [1, 2, 4, 8, 16, 32, 32, 33]


def test_a_common_pause_is_at_most_a_third_of_the_trouble() -> None:
    patience = Patience(wait_s=600, max_concurrency=64)
    patience.failed()
    assert 0.25 <= patience.common_backoff() <= 0.5
    patience._trouble_since = time.monotonic() - 4
    assert 2 / 3 <= patience.common_backoff() <= 1.5


def test_a_pause_that_others_outlast_ends_and_a_short_one_is_kept() -> None:
    async def waited(seconds: float) -> float:
        patience = Patience(wait_s=40, max_concurrency=4)
        patience.pause(seconds, "the server asks to wait")
        started_at = time.monotonic()
        asyncio.get_running_loop().call_later(0.05, patience.answered)
        await patience.enter()
        return time.monotonic() - started_at

    assert asyncio.run(waited(30)) < 5
    assert asyncio.run(waited(0.5)) >= 0.45


def test_an_interrupt_while_the_grader_waits_ends_it(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    server.kill()

    def interrupt(done: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.grader(wait_s=600).grade(CONVERSATIONS, QUESTIONS, interrupt)


def test_an_error_of_the_caller_inside_an_event_loop_ends_the_waiting(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    server.kill()

    def give_up(done: int, note: str) -> None:
        raise RuntimeError(note)

    async def caller() -> None:
        server.grader(wait_s=600).grade(CONVERSATIONS, QUESTIONS, give_up)

    with pytest.raises(RuntimeError, match="has not answered"):
        asyncio.run(caller())


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {"Retry-After": "-5"}, {"Retry-After": "soon"}])
def test_a_server_that_asks_for_no_pause_is_not_asked_without_a_pause(serve: Serve, headers: dict[str, str]) -> None:
    server = serve(lambda request: error(429, "Slow down", headers))
    with pytest.raises(InputError, match="429: Slow down"):
        server.grader(wait_s=0.6, max_concurrency=4).grade(CONVERSATIONS, QUESTIONS)
    assert len(server.requests) < 600
