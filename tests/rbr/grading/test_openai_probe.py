"""Before the first question of a run, the grader tries the settings, and says what to change."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from rbr.errors import InputError
from rbr.grading import Outcome
from rbr.grading.openai import OpenAIGrader
from rbr.grading.server.address import Address
from rbr.profile import ModelRef
from tests.rbr.grading.judge_server import (
    FILLERS,
    QUESTIONS,
    JudgeServer,
    Reply,
    Request,
    answer,
    answer_of_entries,
    conversation,
    error,
    good_answer,
    probabilities,
)

Serve = Callable[..., JudgeServer]
KEY = "RBR_GRADER_API_KEY"


def reply_without_logprobs() -> Reply:
    said = {"role": "assistant", "content": "yes, it is"}
    return Reply(200, {"choices": [{"index": 0, "message": said, "finish_reason": "length", "logprobs": None}]})


def first(token: str) -> Reply:
    return answer({token: 0.9, **dict.fromkeys(FILLERS, 0.001), "no": 0.001})


def at_most(allowed: int, words: str) -> Callable[[Request], Reply]:
    def rule(request: Request) -> Reply:
        asked = request.body["top_logprobs"]
        return error(400, words.format(asked=asked, allowed=allowed)) if asked > allowed else first("yes")

    return rule


TGI_LOGPROBS = "Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: 20"
NAN = answer_of_entries([{"token": token, "logprob": float("nan")} for token in ("yes", "no", *FILLERS)])
NAN_ANSWER = answer_of_entries(
    [{"token": token, "logprob": float("nan")} for token in ("yes", "no")]
    + [{"token": token, "logprob": -14.0} for token in FILLERS]
)
POSITIVE = answer_of_entries([{"token": token, "logprob": 0.3} for token in ("yes", "no", *FILLERS)])
ONE_HOT = answer({"yes": 1.0, **dict.fromkeys(("no", *FILLERS), 0.0)})
ONE_HOT_INF = answer_of_entries([{"token": "yes", "logprob": 0.0}, {"token": "no", "logprob": float("-inf")}])
DEEPSEEK = answer({"yes": 1.0}, message={"content": "", "reasoning_content": "Okay"}, logprobs={"content": []})
SCOPES = "You have insufficient permissions for this operation. Missing scopes: model.request."
TOKEN_IDS = first("token_id:284")
LOGIN = Reply(302, "", {"Location": "https://sso.example/login?next=%2Fv1"})
MOVED = Reply(307, "", {"Location": "https://judge.example/v1/chat/completions"})
MOVED_BESIDE = Reply(308, "", {"Location": "/api/v1/chat/completions"})
STREAM = Reply(200, 'data: {"choices": [{"index": 0, "delta": {"content": "yes"}}]}\n\ndata: [DONE]\n\n')
CLOUDFLARE = Reply(403, "<html><title>Attention Required! | Cloudflare</title>Sorry, you have been blocked</html>")
OPENROUTER_LOGPROBS = "No endpoints found that support the requested parameters: logprobs, top_logprobs"
AZURE_DEPLOYMENT = error(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")
LM_STUDIO = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
TOO_FEW_TOKENS = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead."
LISTS_FIVE = answer({"yes": 0.5, "no": 0.3, "t0": 0.01, "t1": 0.01, "t2": 0.01})
LITELLM_NAME = (
    "/chat/completions: Invalid model name passed in model=grader. Call `/v1/models` to view available models"
)
OTHER_SPELLING = answer({"Oui": 0.01, "YES": 0.6, " NO": 0.3, **dict.fromkeys(FILLERS[:17], 0.001)})
VLLM_NAME = "The model `grader` does not exist. Valid aliases: judge"

# What the server answers to every request, the words that the error repeats, and the advice.
SETTINGS_THAT_CANNOT_WORK = [
    ("wrong name, vLLM", error(404, VLLM_NAME), "404: The model `.*Valid aliases: judge", "grader.model_name 'grader'"),
    ("wrong name, LiteLLM", error(400, LITELLM_NAME), "400: .*Invalid model name", "grader.model_name 'grader'"),
    ("wrong key", error(401, "Incorrect API key provided"), "401: Incorrect", f"{KEY}. It is not set"),
    ("wrong key, LiteLLM", error(400, "No connected db."), "400: No connected db", KEY),
    ("no key, LiteLLM", error(500, "Authentication Error, No api key passed in."), "500: Authentication", KEY),
    ("key without permission", error(403, "Permission denied"), "403: Permission", KEY),
    ("no credit", error(402, "Payment required"), "402: Payment", "no credit"),
    ("no quota", error(429, "You exceeded your quota", code="insufficient_quota"), "429: You exceeded", "no credit"),
    ("wrong path", Reply(404, {"detail": "Not Found"}), "404: Not Found", "no /chat/completions below it"),
    ("a web page", Reply(200, "<html><title>Welcome</title></html>"), "Welcome", "grader.base_url"),
    ("no method", Reply(501, "Unsupported method"), "501: Unsupported", "grader.base_url"),
    ("no logprobs", reply_without_logprobs(), "no log probabilities; it says 'yes, it is'", "proxy may drop them"),
    ("empty alternatives", answer_of_entries([]), "top_logprobs. is empty", "proxy may drop them"),
    ("logprobs are refused", error(400, "logprobs is not supported"), "400: logprobs is not", "log probabilities"),
    ("fewer alternatives, silently", LISTS_FIVE, "lists 5 of the 20", "Set grader.top_logprobs to 5"),
    ("thinks first", first("<think>"), "'<think>' 0.900", "enable_thinking: false"),
    ("a chat model", first("The"), "'The' 0.900", "asks for one word"),
    ("another spelling", OTHER_SPELLING, "'YES' 0.600", "Add 'YES' to grader.yes and ' NO' to grader.no"),
    ("a space before", first("Ġyes"), "' yes' 0.900", "Add ' yes' to grader.yes"),
    ("a content filter", error(400, "Filtered.", code="content_filter"), "400: Filtered", "Switch the filter off"),
    ("filters in a 200", answer({"yes": 1.0}, finish_reason="content_filter"), "content filter refuses", "filter"),
    ("a small context", error(400, "maximum context length is 16 tokens"), "400: maximum context", "--max-model-len"),
    ("a minimum of tokens", error(400, "max_tokens must be at least 16"), "400: max_tokens must", "max_tokens: 16"),
    ("only one temperature", error(400, "temperature must be 1"), "400: temperature", "temperature: 1"),
    ("TGI's name of alternatives", error(422, TGI_LOGPROBS), "422: .*top_n_tokens", "Set grader.top_logprobs to 5"),
    ("no logprobs, 403", error(403, "You are not allowed to request logprobs"), "403: You", "log probabilities"),
    ("no logprobs, 404", error(404, OPENROUTER_LOGPROBS), "404: No endpoints", "log probabilities"),
    ("a budget", error(400, "Budget has been exceeded! Max budget: 10.0"), "400: Budget", "Raise the budget"),
    ("no deployment", AZURE_DEPLOYMENT, "404: The API deployment", "address of a deployment that exists"),
    ("no model is loaded", error(404, LM_STUDIO), "404: No models loaded", "Load the model"),
    ("a firewall", CLOUDFLARE, "403: Attention Required", "A firewall in front of the server"),
    ("a limit of the proxy", Reply(413, "<html>413 Request Entity Too Large</html>"), "413: 413", "A proxy limits"),
    ("a minimum of output tokens", error(400, TOO_FEW_TOKENS), "400: Invalid 'max_output", "max_tokens: 16"),
    ("a stream", STREAM, "instead of an answer: data:", "Switch streaming off"),
    ("only streams", error(400, "This endpoint requires stream=true"), "400: This endpoint", "Switch streaming off"),
    ("a redirect", MOVED, "redirect to https", "set grader.base_url to https://judge.example/v1."),
    ("a redirect beside", MOVED_BESIDE, "redirect to /api", "/api/v1."),
    ("a redirect to a login", LOGIN, "redirect to https", "wants a login in a browser"),
    ("an empty token first", first(""), "'' 0.900", "an empty token, which stands for a control token"),
    ("a line break first", first("\n"), "0.900", "begins with a blank or a line break"),
    ("a thought without a mark", first("Okay"), "'Okay' 0.900", "enable_thinking: false"),
    ("tokens by their ids", TOKEN_IDS, "284 0.900", "return_tokens_as_token_ids: false"),
    ("numbers that are none", NAN, "are not numbers", "--dtype float32"),
    ("no numbers for yes and no", NAN_ANSWER, "are not numbers", "--dtype float32"),
    ("positive numbers", POSITIVE, "no log probabilities: 'yes' 0.3", "Use another server or version"),
    ("one token only", ONE_HOT, "probabilities after temperature", "grader.extra_body to {temperature: 1}"),
    ("one token only, -inf", ONE_HOT_INF, "probabilities after temperature", "or choose another server"),
    ("the chosen token only", answer({"yes": 1.0}), "probabilities after temperature", "{temperature: 1}"),
    ("a thought apart, DeepSeek", DEEPSEEK, "no log probabilities", "enable_thinking: false"),
    ("a key without a right", error(403, SCOPES), "403: You have insufficient", KEY),
    ("a generic error", error(400, "Bad request"), "400: Bad request", "Check grader.model_name"),
]


@pytest.mark.parametrize(
    ("reply", "words", "advice"),
    [pytest.param(*row, id=name) for name, *row in SETTINGS_THAT_CANNOT_WORK],
)
def test_settings_that_cannot_work_stop_the_run_with_the_servers_words_and_advice(
    serve: Serve, reply: Reply, words: str, advice: str
) -> None:
    server = serve(lambda request: reply)
    with pytest.raises(InputError, match=words) as caught:
        server.grader(wait_s=0.5, max_bound=1.0).grade([conversation("Hello")] * 3, QUESTIONS)
    assert advice in caught.value.hint
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("Requested sample logprobs of {asked}, which is greater than max allowed: {allowed}", 5),
        ("top_logprobs must be less than or equal to {allowed}", 5),
        ("the number of logprobs is over the limit of this model, error 1234", 10),
    ],
)
def test_a_server_that_allows_fewer_alternatives_says_how_many(serve: Serve, words: str, allowed: int) -> None:
    server = serve(at_most(allowed, words))
    with pytest.raises(InputError, match="logprobs") as caught:
        server.grader().grade([conversation("Hello")], QUESTIONS)
    assert caught.value.hint == f"Set grader.top_logprobs to {allowed}."


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("max_tokens", "Unknown field: max_tokens"),
    ],
)
def test_a_server_that_knows_only_max_completion_tokens_is_asked_with_it(serve: Serve, field: str, words: str) -> None:
    server = serve(lambda request: error(400, words) if field in request.body else good_answer(request.prompt))
    grader = server.grader()
    assert grader.grade([conversation("Hello")], QUESTIONS).count(Outcome.ANSWERED) == 2
    assert grader.grade([conversation("Bye")], QUESTIONS).count(Outcome.ANSWERED) == 2
    assert all(request.body["max_completion_tokens"] == 1 for request in server.asked)
    assert sum(request.is_probe for request in server.requests) == 2  # One probe for both calls.


def test_the_probe_passes_if_one_simple_question_has_a_readable_answer(serve: Serve) -> None:
    server = serve(lambda request: first("The") if "morning" in request.prompt else good_answer(request.prompt))
    assert server.grader(max_bound=1.0).grade([conversation("Hello")], QUESTIONS).count(Outcome.ANSWERED) == 2


def test_a_judge_that_is_sure_of_one_simple_question_passes(serve: Serve) -> None:
    server = serve(lambda request: ONE_HOT if "greeting" in request.prompt else good_answer(request.prompt))
    assert server.grader(max_bound=1.0).grade([conversation("Hello")], QUESTIONS).count(Outcome.ANSWERED) == 2


def test_a_broken_http_message_is_cut(serve: Serve) -> None:
    server = serve(lambda request: Reply(200, "", {"bad header": "x" * 4000}))
    with pytest.raises(InputError, match="the connection was lost") as caught:
        server.grader(wait_s=0.2).grade([conversation("Hello")], QUESTIONS)
    assert len(str(caught.value)) < 500


def test_a_name_that_the_server_does_not_list_is_a_warning(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(lambda request: good_answer(request.prompt), Reply(200, {"data": [{"id": "smol"}]}))
    grader = server.grader()
    for _ in range(2):
        (warning,) = grader.grade([conversation("Hello")], QUESTIONS).warnings
        assert "'grader', but lists smol. It may ignore the name" in warning
    assert caplog.text.count("lists smol. It may ignore the name") == 1


def test_a_name_that_the_server_lists_is_no_warning(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    assert server.grader().grade([conversation("Hello")], QUESTIONS).warnings == ()


def test_the_nearest_name_that_the_server_lists_is_suggested(serve: Serve) -> None:
    server = serve(lambda request: error(404, "no such model"), Reply(200, {"data": [{"id": "grader-7b"}]}))
    with pytest.raises(InputError, match="Did you mean `grader-7b`"):
        server.grader().grade([conversation("Hello")], QUESTIONS)


def test_a_base_url_without_v1_is_named(serve: Serve) -> None:
    server = serve(lambda request: Reply(404, {"detail": "Not Found"}))
    settings = {"base_url": f"http://127.0.0.1:{server.port}"}
    with pytest.raises(InputError, match="lack /v1"):
        server.grader(**settings).grade([conversation("Hello")], QUESTIONS)


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("localhost:8000/v1", "is not an address"),
        ("http://user:secret-9@localhost/v1", "contains a user name or a password"),
        ("http://localhost:port/v1", "is not an address"),
    ],
)
def test_an_address_that_cannot_work_is_found_before_any_request(serve: Serve, base_url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        serve(lambda request: good_answer(request.prompt)).grader(base_url=base_url)
    assert "secret-9" not in str(caught.value)


def test_a_host_that_does_not_exist_stops_at_once(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    with pytest.raises(InputError, match=r"judge\.invalid") as caught:
        server.grader(base_url="http://judge.invalid/v1", wait_s=600).grade([conversation("Hello")], QUESTIONS)
    assert caught.value.hint == "Correct grader.base_url."


def test_the_key_is_in_no_error_and_no_log(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, "very-secret-key-1")
    server = serve(lambda request: error(401, f"Wrong key: {request.headers['Authorization']}; sk-1234567890"))
    with caplog.at_level("DEBUG"), pytest.raises(InputError, match="Wrong key") as caught:
        server.grader().grade([conversation("Hello")], QUESTIONS)
    text = str(caught.value) + caplog.text + repr(server.grader().__dict__)
    assert "very-secret" not in text and "1234567890" not in text
    assert "It is set, but the server does not accept it." in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines", "k\u00e9y"])
def test_a_key_that_no_header_can_carry_is_found_and_not_shown(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY, key)
    with pytest.raises(InputError, match="line breaks or characters outside ASCII") as caught:
        serve(lambda request: good_answer(request.prompt)).grader()
    assert key not in str(caught.value)


def test_a_mass_of_yes_and_no_below_the_bar_is_told_with_both_numbers(serve: Serve) -> None:
    server = serve(lambda request: answer(probabilities(0.5, mass=0.2)))
    with pytest.raises(InputError, match=r"P\(yes\) \+ P\(no\) is 0\.200, below min_mass"):
        server.grader(max_bound=1.0).grade([conversation("Hello")], QUESTIONS)
    answers = server.grader(min_mass=0.1, max_bound=1.0).grade([conversation("Hello")], QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, 0.5)


def test_a_bound_above_its_bar_is_told_with_the_settings_that_lower_it(serve: Serve) -> None:
    top = [{"token": "yes", "logprob": math.log(0.5)}] + [{"token": t, "logprob": math.log(0.02)} for t in FILLERS]
    top.append({"token": "t99", "logprob": math.log(0.02)})
    with pytest.raises(InputError, match=r"above max_bound.*") as caught:
        serve(lambda request: answer_of_entries(top)).grader().grade([conversation("Hello")], QUESTIONS)
    assert "Raise grader.top_logprobs" in caught.value.hint


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(error(400, "Something else"), id="400"),
        pytest.param(error(403, "This country is not supported"), id="403"),
        pytest.param(error(404, "No endpoints found matching your data policy"), id="404"),
    ],
)
def test_words_that_say_what_is_wrong_get_no_guess_about_the_address_the_key_or_the_name(
    serve: Serve, reply: Reply
) -> None:
    with pytest.raises(InputError) as caught:
        serve(lambda request: reply).grader(wait_s=0.5).grade([conversation("Hello")], QUESTIONS)
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(error(400, "cannot unmarshal array into Go struct field .prompt of type string"), id="Ollama"),
        pytest.param(Reply(422, "prompt: data did not match any variant of untagged enum Prompt"), id="TGI"),
        pytest.param(error(404, "This is a chat model and not supported in the v1/completions endpoint."), id="OpenAI"),
    ],
)
def test_a_server_that_takes_no_token_ids_is_told_to_be_asked_in_chats(serve: Serve, reply: Reply) -> None:
    settings = serve(lambda request: reply).settings(endpoint="completions", wait_s=0.5)
    with pytest.raises(InputError) as caught:
        OpenAIGrader(settings, ModelRef(path="rbr_sandbox/models/grader", revision=None)).grade(
            [conversation("Hello")], QUESTIONS
        )
    assert caught.value.hint == "The server takes no token ids. Set grader.endpoint to chat."


@pytest.mark.parametrize(
    ("base_url", "header"),
    [
        pytest.param("https://judge.openai.azure.com/openai/v1", {"api-key": "key-1"}, id="Azure's host"),
        pytest.param(
            "https://gateway.example/openai/deployments/judge?api-version=2024-10-21",
            {"api-key": "key-1"},
            id="Azure's version",
        ),
        pytest.param("http://127.0.0.1:8000/v1", {"Authorization": "Bearer key-1"}, id="others"),
    ],
)
def test_the_key_is_in_the_header_that_the_server_reads(base_url: str, header: dict[str, str]) -> None:
    assert Address(base_url, "key-1").key_header == header
