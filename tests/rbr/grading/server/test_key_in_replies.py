"""A server repeats the key in any field of a reply. No error, no reason, no note and no log contains it."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from rbr.errors import InputError
from rbr.grading.server.address import API_KEY_VARIABLE, Address
from rbr.grading.server.served_models import require_served_model
from tests.rbr.grading.judge_server import (
    FILLERS,
    QUESTIONS,
    JudgeServer,
    Reply,
    Request,
    answer,
    conversation,
    error,
    good_answer,
    p_yes_of,
    probabilities,
)

Serve = Callable[..., JudgeServer]
KEY = "tok-9f8e7d6c5b4a"
CUT = f"{'x' * 30}{KEY}"  # A text of an answer is cut after 40 characters, in the middle of the key.
LONG = f"{'word ' * 58}{KEY}"  # The words of a server are cut after 300 characters.


def choice(**changes: Any) -> Reply:
    return answer({"yes": 0.9, "no": 0.09, **dict.fromkeys(FILLERS, 1e-4)}, **changes)


def named(model: str) -> Reply:
    good = answer(probabilities(0.5))
    return dataclasses.replace(good, body={**good.body, "model": model})


HOSTILE = [
    ("an error", error(400, f"bad key {KEY}")),
    ("an error of a filter", error(400, f"filtered for {KEY}", code="content_filter")),
    ("a code", error(400, "no", code=KEY)),
    ("a long error", error(500, LONG)),
    ("an error in a 200", Reply(200, {"error": {"code": 400, "message": KEY}})),
    ("a web page", Reply(200, f"<html>{KEY}</html>")),
    ("a redirect", Reply(307, "", {"Location": f"/login?key={KEY}"})),
    ("a long redirect", Reply(307, "", {"Location": f"/{'a' * 275}{KEY}"})),
    ("a header that is broken", Reply(200, "", {f"bad header {KEY}": "x" * 300})),
    ("a choice's error", choice(error={"code": 502, "message": f"rejected Bearer {KEY}"})),
    ("a choice's error as text", choice(error=KEY)),
    ("a refusal", choice(message={"refusal": f"{KEY} refused"})),
    ("a finish reason", choice(finish_reason=f"content_filter: {KEY}")),
    ("a vendor's finish reason", choice(finish_reason="stop", native_finish_reason=f"content_filter {KEY}")),
    ("words without log probabilities", choice(message={"content": KEY}, logprobs=None)),
    ("cut words without log probabilities", choice(message={"content": CUT}, logprobs=None)),
    ("a token", answer({KEY: 0.9, **dict.fromkeys(FILLERS, 1e-4)})),
    ("a token that spells yes", answer({"YES": 0.9, f"{KEY} yes": 0.05, **dict.fromkeys(FILLERS, 1e-4)})),
    ("a name of a field", Reply(200, {KEY: 1})),
]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)


def said_by(serve: Serve, rule: Callable[[Request], Reply], models: Reply | None = None) -> str:
    """Returns everything that a call says: the error, the reasons, the warnings and the notes."""
    server = serve(rule, models)
    said: list[str] = []
    try:
        grader = server.grader(wait_s=0.5, max_bound=1.0)
        answers = grader.grade([conversation("special")], QUESTIONS, lambda _, note: said.append(note))
        said += [*answers.reasons.values(), *answers.warnings, grader.answered_by]
    except InputError as problem:
        said.append(str(problem))
    return "\n".join(said)


@pytest.mark.parametrize("is_probe", [True, False], ids=["before the first question", "in the middle"])
@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in HOSTILE])
def test_no_field_of_a_reply_gives_the_key_away(
    serve: Serve, caplog: pytest.LogCaptureFixture, reply: Reply, is_probe: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    said = said_by(serve, lambda request: reply if is_probe or not request.is_probe else good_answer(request.prompt))
    assert "***" in said
    assert KEY[:8] not in said and KEY[:8] not in caplog.text


@pytest.mark.parametrize(
    "models",
    [
        pytest.param(Reply(200, {"data": [{"id": KEY}, {"id": "other"}]}), id="a name"),
        pytest.param(error(500, f"no {KEY}"), id="an error"),
        pytest.param(Reply(301, "", {"Location": f"/models/?key={KEY}"}), id="a redirect"),
    ],
)
def test_no_list_of_models_gives_the_key_away(serve: Serve, caplog: pytest.LogCaptureFixture, models: Reply) -> None:
    caplog.set_level(logging.DEBUG)
    said = said_by(serve, lambda request: error(404, "no such model"), models)
    server = serve(lambda request: error(401, "no"), models)
    try:
        require_served_model(server.settings(), 0.1)
    except InputError as problem:
        said += str(problem)
    assert KEY[:8] not in said + caplog.text


def test_what_a_server_says_of_its_model_is_kept_without_the_key(serve: Serve) -> None:
    entry = {"id": "grader", "root": f"/models/{KEY}", "meta": {"paths": [KEY], "size": 7}}
    server = serve(lambda request: good_answer(request.prompt), Reply(200, {"data": [entry]}))
    expected = {"id": "grader", "root": "/models/***", "meta": {"paths": ["***"], "size": 7}}
    assert require_served_model(server.settings()) == expected


def test_a_model_that_changes_its_name_to_the_key_is_told_without_it(serve: Serve) -> None:
    assert said_by(serve, lambda request: named(KEY)).strip() == "***"
    said = said_by(serve, lambda request: named("judge" if request.is_probe else KEY))
    assert "answered by another model: '***', not 'judge'" in said


@pytest.mark.parametrize("key", ["1", "yes", "logprob", "choices"])
def test_a_key_that_is_a_word_changes_no_grade(serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    server = serve(lambda request: good_answer(request.prompt))
    answers = server.grader().grade([conversation("Hi")], QUESTIONS)
    asked = [request.prompt for request in server.asked]
    assert sorted(answers.p_yes[0]) == pytest.approx(sorted(map(p_yes_of, asked)))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"key {KEY}, again {KEY}.", "key ***, again ***."),
        ("cut at tok-9f8e7d6", "cut at ***"),
        ("in an URL: a%2Fb%2Bc%3Dd-1234", "in an URL: a%2Fb%2Bc%3Dd-1234"),
        ("another key: sk-1234567890", "another key: ***"),
        ("tok-9 is no part of it", "tok-9 is no part of it"),
    ],
)
def test_the_key_and_its_beginning_are_replaced(text: str, redacted: str) -> None:
    assert Address("http://127.0.0.1/v1", KEY).redact(text) == redacted


def test_a_key_with_special_characters_is_found_in_a_url_and_in_json() -> None:
    address = Address("http://127.0.0.1/v1", 'a/b+c=d"1234')
    assert address.redact('a%2Fb%2Bc%3Dd%221234 a/b+c=d\\"1234') == "*** ***"
