"""Which model a server has: only a list of models says it, and a server that has none says nothing."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rbr.errors import InputError, ServerAway
from rbr.grading import Outcome
from rbr.grading.identity import grader_identity
from rbr.grading.openai import OpenAIGrader
from rbr.grading.server.served_models import changes, require_served_model
from tests.rbr.grading.judge_server import (
    QUESTIONS,
    SERVED,
    JudgeServer,
    Reply,
    Request,
    conversation,
    error,
    good_answer,
)

Serve = Callable[..., JudgeServer]
IDENTITY = {"id": "grader", "root": "/models/judge", "max_model_len": 512}
SIZES = {"n_vocab": 49152, "n_params": 134515008, "size": 96576768}
LLAMACPP = {"id": "grader", "owned_by": "llamacpp", "meta": SIZES}
LOADING = error(503, "Loading model", type="unavailable_error", code=503)
MOVED = Reply(301, "", {"Location": "/v2/models"})
SLASH = Reply(301, "", {"Location": "/v1/models/"})
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
CUT = Reply(200, '{"data": [{"id": "gra')
CONVERSATIONS = [conversation(f"reply {n}") for n in range(20)]


def well(request: Request) -> Reply:
    return good_answer(request.prompt)


def listing(*entries: dict[str, Any]) -> Reply:
    return Reply(200, {"object": "list", "data": list(entries)})


def llamacpp(props: Reply, entry: dict[str, Any] = LLAMACPP) -> Callable[[str], Reply]:
    return lambda path: {"/v1/models": listing(entry), "/props": props}[path]


@pytest.mark.parametrize(
    ("models", "served"),
    [
        pytest.param(Reply(200, SERVED), IDENTITY, id="vLLM"),
        pytest.param(listing({"id": "smol", "created": 9, "dtype": "f"}), {"id": "smol", "dtype": "f"}, id="one model"),
        pytest.param(Reply(200, [{"id": "grader"}, {"id": "b"}]), {"id": "grader"}, id="Together: a bare list"),
        pytest.param(listing({"id": "a"}, {"id": "grader:latest"}), {"id": "grader:latest"}, id="Ollama: latest"),
        pytest.param(listing({"id": "a"}, {"id": "b"}), {}, id="the name is not listed"),
        pytest.param(listing(), {}, id="an empty list"),
        *(pytest.param(Reply(status, "no"), {}, id=f"no list: {status}") for status in (404, 405, 501)),
        pytest.param(
            llamacpp(Reply(200, {"model_path": "/m/a.gguf"})), {**LLAMACPP, "model_path": "/m/a.gguf"}, id="llama.cpp"
        ),
        pytest.param(llamacpp(Reply(404, "no")), LLAMACPP, id="llama.cpp behind a proxy without /props"),
    ],
)
def test_the_served_model_is_what_the_server_says_of_it(serve: Serve, models: Any, served: object) -> None:
    assert require_served_model(serve(well, models).settings()) == served


@pytest.mark.parametrize(
    ("models", "kind", "words", "hint"),
    [
        pytest.param(error(500, "boom"), ServerAway, "GET /models: the server answered 500: boom", "log", id="500"),
        pytest.param(error(502, "no"), ServerAway, "GET /models: the server answered 502", "wait_s", id="502"),
        pytest.param(LOADING, ServerAway, "GET /models: the server answered 503: Loading", "wait_s", id="503"),
        pytest.param(error(429, "slow"), ServerAway, "GET /models: the server answered 429: slow", "", id="429"),
        pytest.param(error(408, "late"), ServerAway, "GET /models: the server answered 408: late", "", id="408"),
        pytest.param(Reply(520, "<html>"), ServerAway, "GET /models: the server answered 520", "", id="520"),
        pytest.param(Reply(200, SERVED, lost=True), ServerAway, "GET /models: the connection was lost", "", id="lost"),
        pytest.param(Reply(200, SERVED, delay_s=0.4), ServerAway, "models: no answer within 0.2 s", "", id="timeout"),
        pytest.param(error(401, "bad key"), InputError, "GET /models: .* 401: bad key", "RBR_GRADER_API_KEY", id="401"),
        pytest.param(error(403, "Forbidden"), InputError, "GET /models: .* 403", "RBR_GRADER_API_KEY", id="403"),
        pytest.param(MOVED, InputError, "GET /models: .* 301: a redirect to /v2/models", "/v2.", id="a redirect"),
        pytest.param(SLASH, InputError, "GET /models: .* a redirect to /v1/models/", "directly", id="a slash"),
        pytest.param(CUT, InputError, "GET /models: .* no list of models", "grader.base_url", id="a cut body"),
        pytest.param(Reply(200, "<html>Hi"), InputError, "GET /models: .* Hi", "grader.base_url", id="a web page"),
    ],
)
def test_a_reply_that_is_no_list_is_an_error_and_never_a_server_that_says_nothing(
    serve: Serve, models: Reply, kind: type[InputError], words: str, hint: str
) -> None:
    settings = serve(lambda request: error(401, "no"), models).settings(timeout_s=0.2)
    with pytest.raises(InputError, match=words) as caught:
        require_served_model(settings, wait_s=0.1)
    assert type(caught.value) is kind
    assert hint in caught.value.hint


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize(
    "models",
    [
        pytest.param(error(400, "Unsupported path"), id="400"),
        pytest.param(error(401, "no right to list models"), id="401"),
        pytest.param(error(403, "insufficient permissions. Missing scopes: api.model.read"), id="403"),
        pytest.param(Reply(405, ""), id="405"),
        pytest.param(MOVED, id="a redirect"),
        pytest.param(Reply(200, "<html>Welcome"), id="a web page"),
        pytest.param(Reply(200, {"models": [{"name": "grader"}]}), id="another format"),
    ],
)
def test_a_server_that_keeps_its_list_to_itself_but_answers_questions_has_no_list(
    serve: Serve, models: Reply, endpoint: str
) -> None:
    def rule(request: Request) -> Reply:
        if "max_tokens" in request.body:
            return error(400, "use max_completion_tokens")
        return well(request) if request.path == PATHS[endpoint] else error(404, "no such path")

    server = serve(rule, models)
    started_at = time.monotonic()
    assert require_served_model(server.settings(endpoint=endpoint), wait_s=600) == {}
    assert time.monotonic() - started_at < 60
    assert len(server.requests) <= 2


def test_a_page_is_believed_after_a_few_tries(serve: Serve) -> None:
    tries: list[str] = []

    def models(path: str) -> Reply:
        tries.append(path)
        return Reply(200, "<html>Open WebUI")

    with pytest.raises(InputError, match="Open WebUI") as caught:
        require_served_model(serve(lambda request: Reply(405, ""), models).settings(), wait_s=600)
    assert len(tries) == 5 and "GET /models has to answer with a list" in caught.value.hint


def test_a_list_that_never_comes_is_waited_for_as_long_as_the_settings_say(serve: Serve) -> None:
    notes: list[str] = []
    server = serve(well, Reply(200, SERVED, delay_s=3.0))
    with pytest.raises(ServerAway, match="no answer within 1 s"):
        require_served_model(server.settings(timeout_s=60), 1.0, notes.append)
    assert notes == []
    with pytest.raises(ServerAway, match=r"no answer within 0\.3 s"):
        require_served_model(server.settings(timeout_s=0.3), 1.0, notes.append)
    assert "waiting since 0 s of 1 s (GET /models: no answer within 0.3 s)" in notes[0]


def test_a_slow_list_is_read_if_the_timeout_allows_it(serve: Serve) -> None:
    server = serve(well, Reply(200, SERVED, delay_s=1.5))
    assert require_served_model(server.settings(timeout_s=60), wait_s=60) == IDENTITY


def test_a_third_of_the_listings_failing_at_random_changes_no_identity(serve: Serve) -> None:
    draws = random.Random(7)
    lock = threading.Lock()
    faults = [error(500, "boom"), error(429, "slow"), error(401, "who?"), error(403, "no"), Reply(520, "<html>"), CUT]
    good = llamacpp(Reply(200, {"model_path": "/m/a.gguf"}))

    def models(path: str) -> Reply:
        with lock:
            return draws.choice(faults) if draws.random() < 1 / 3 else good(path)

    server = serve(well, models)
    identities = [require_served_model(server.settings(), wait_s=20) for _ in range(5)]
    assert identities == [{**LLAMACPP, "model_path": "/m/a.gguf"}] * 5
    for _ in range(5):
        answers = OpenAIGrader(server.settings(), None, identities[0]).grade(CONVERSATIONS, QUESTIONS)
        assert (answers.outcomes == Outcome.ANSWERED).all()


@pytest.mark.parametrize(
    "loading",
    [
        pytest.param(LOADING, id="503"),
        pytest.param(listing({**LLAMACPP, "meta": None}), id="an empty description"),
    ],
)
def test_a_model_that_is_loading_is_waited_for_and_the_progress_line_says_so(serve: Serve, loading: Reply) -> None:
    ready_at = time.monotonic() + 0.5
    good = llamacpp(Reply(200, {"model_path": "/m/a.gguf"}))
    server = serve(well, lambda path: good(path) if time.monotonic() > ready_at else loading)
    notes: list[str] = []
    served = require_served_model(server.settings(), 20, notes.append)
    assert served == {**LLAMACPP, "model_path": "/m/a.gguf"}
    assert "does not say which model it has, waiting since 0 s of 20 s (GET /models: " in notes[0]


@pytest.mark.parametrize(
    ("served", "is_named"),
    [
        pytest.param({"id": "judge", "root": "/models/a", "owned_by": "vllm"}, True, id="vLLM: root is a path"),
        pytest.param({"id": "judge", "root": "judge", "max_model_len": 4096}, False, id="SGLang: root is the name"),
        pytest.param({"id": "judge", "owned_by": "llamacpp", "meta": SIZES}, False, id="llama.cpp: sizes only"),
        pytest.param({"id": "judge", "meta": SIZES, "model_path": "/m/a.gguf"}, True, id="llama.cpp: the file"),
        pytest.param({"id": "judge", "digest": "sha256:1"}, True, id="a digest"),
        pytest.param({"id": "judge", "digest": ""}, False, id="an empty digest"),
        pytest.param({"id": "judge", "canonical_slug": "org/judge-2026"}, True, id="OpenRouter"),
        pytest.param({"id": "judge", "context_length": 8192}, False, id="a length"),
        pytest.param({"id": "judge"}, False, id="a name"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_two_addresses_are_one_judge_only_if_the_server_names_the_weights(
    serve: Serve, served: dict[str, Any], is_named: bool
) -> None:
    first, second = (serve(well).settings() for _ in range(2))
    assert (grader_identity(first, served=served) == grader_identity(second, served=served)) is is_named


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        pytest.param(IDENTITY, [], id="equal"),
        pytest.param({"id": "grader"}, [], id="fewer fields"),
        pytest.param({**IDENTITY, "meta": None, "dtype": "f"}, [], id="more fields"),
        pytest.param({}, [], id="nothing"),
        pytest.param({"root": "/models/b"}, ["root '/models/judge' -> '/models/b'"], id="another value"),
    ],
)
def test_only_a_field_that_both_have_with_another_value_is_a_change(now: dict[str, Any], changed: list[str]) -> None:
    assert changes(IDENTITY, now) == changed


def test_a_listing_with_fewer_fields_than_the_records_is_no_other_model(serve: Serve) -> None:
    server = serve(well, listing({"id": "grader"}))
    answers = OpenAIGrader(server.settings(), None, IDENTITY).grade(CONVERSATIONS, QUESTIONS)
    assert (answers.outcomes == Outcome.ANSWERED).all()


def test_a_model_that_is_swapped_between_two_calls_ends_the_second(serve: Serve) -> None:
    server = serve(well)
    grader = server.grader()
    grader.grade(CONVERSATIONS[:2], QUESTIONS)
    server.models = listing({**SERVED["data"][0], "root": "/models/other"})
    with pytest.raises(InputError, match=r"has another model.*: root '/models/judge' -> '/models/other'"):
        grader.grade(CONVERSATIONS[2:4], QUESTIONS)
    assert len(server.asked) == 2 * len(QUESTIONS)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_model_that_is_swapped_behind_a_proxy_ends_the_call(serve: Serve, status: int) -> None:
    server = serve(well)

    def rule(request: Request) -> Reply:
        if len(server.asked) in (11, 12):
            server.models = listing({**SERVED["data"][0], "root": "/models/other"})
            return error(status, "Bad gateway")
        return well(request)

    server.rule = rule
    answers = server.grader(wait_s=20).grade(CONVERSATIONS, QUESTIONS)
    assert 0 < answers.count(Outcome.ANSWERED) < answers.p_yes.size
    assert "came back with another model: root '/models/judge' -> '/models/other'" in answers.reasons[19, 1]


@pytest.mark.parametrize(
    "models",
    [
        pytest.param(error(502, "Bad gateway"), id="502"),
        pytest.param(error(401, "who?"), id="401"),
        pytest.param(Reply(200, SERVED, delay_s=3.0), id="no answer in time"),
    ],
)
def test_a_server_that_answers_questions_but_lists_no_models_is_not_away(serve: Serve, models: Reply) -> None:
    def rule(request: Request) -> Reply:
        is_lost = request.attempt == 1 and "reply 7" in request.prompt
        return Reply(200, {}, lost=True) if is_lost else well(request)

    server = serve(rule, models)
    answers = OpenAIGrader(server.settings(wait_s=5, timeout_s=1.0), None, IDENTITY).grade(CONVERSATIONS, QUESTIONS)
    assert (answers.outcomes == Outcome.ANSWERED).all()


def answer_by(model: str) -> Callable[[Request], Reply]:
    return lambda request: Reply(200, {**well(request).body, "model": model})


def test_an_answer_by_another_model_is_not_answered(serve: Serve) -> None:
    def rule(request: Request) -> Reply:
        by = "fallback-mini" if "reply 7" in request.prompt else "judge"
        return answer_by(by)(request)

    answers = serve(rule).grader().grade(CONVERSATIONS, QUESTIONS)
    lost = answers.outcomes == Outcome.NOT_ANSWERED
    assert np.flatnonzero(lost.all(axis=1)).tolist() == np.flatnonzero(lost.any(axis=1)).tolist() == [7]
    assert answers.reasons[7, 0] == "answered by another model: 'fallback-mini', not 'judge'"


def test_a_model_that_answers_once_by_another_is_asked_again(serve: Serve) -> None:
    def rule(request: Request) -> Reply:
        return answer_by("judge" if request.is_probe or request.attempt > 1 else "fallback-mini")(request)

    assert (serve(rule).grader().grade(CONVERSATIONS, QUESTIONS).outcomes == Outcome.ANSWERED).all()


@pytest.mark.parametrize("n_conversations", [1, 20])
def test_if_another_model_answers_everything_the_call_stops(serve: Serve, n_conversations: int) -> None:
    server = serve(answer_by("judge"))
    grader = server.grader()
    grader.grade([conversation("Hello")], QUESTIONS)
    server.rule = answer_by("fallback-mini")
    with pytest.raises(InputError, match="by another model: 'fallback-mini', not 'judge'") as caught:
        grader.grade(CONVERSATIONS[:n_conversations], QUESTIONS)
    assert not isinstance(caught.value, ServerAway)
    assert "fallbacks" in caught.value.hint
