"""What becomes of a question whose answer is not a grade: unreadable, refused or not answered."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rbr.errors import InputError
from rbr.grading import Outcome, Question
from rbr.grading.server.asking import MAX_TRIES
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
)

Serve = Callable[..., JudgeServer]
REPLIES = ["Hello", "special", "Bye"]

AZURE = {
    "error": {
        "message": "The response was filtered due to the prompt triggering our content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
OPENROUTER = {
    "error": {
        "code": 403,
        "message": 'Your chosen model requires moderation and your input was flagged for "violence".',
        "metadata": {"reasons": ["violence"], "flagged_input": "..."},
    }
}
OPENAI = {"error": {"message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy."}}
LITELLM = {"error": {"message": "litellm.ContentPolicyViolationError: rejected", "type": None, "code": "400"}}
DASHSCOPE = {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}
GEMINI = [{"error": {"code": 400, "message": "Prompt was blocked due to safety", "status": "INVALID_ARGUMENT"}}]
CHAT_FILTERED = {"index": 0, "message": {"content": None}, "finish_reason": "content_filter"}


def filtered(**choice: Any) -> Reply:
    return Reply(200, {"choices": [{"index": 0, "message": {"content": ""}, "logprobs": None, **choice}]})


NO_WORDS = {"index": 0, "message": {"content": ""}, "finish_reason": "stop", "logprobs": None}

REFUSED = [
    ("Azure", Reply(400, AZURE)),
    ("OpenRouter", Reply(403, OPENROUTER)),
    ("OpenAI", Reply(400, OPENAI)),
    ("LiteLLM", Reply(400, LITELLM)),
    ("DashScope", Reply(400, DASHSCOPE)),
    ("DeepSeek", error(400, "Content Exists Risk", type="invalid_request_error")),
    ("Gemini", Reply(400, GEMINI)),
    ("a moderation proxy", error(403, "flagged by moderation")),
    ("a guardrail", error(422, "Guardrail intervened: the input was blocked")),
    ("a legal reason", Reply(451, "")),
    ("a code with another status", error(500, "Something went wrong", code="content_policy_violation")),
    ("an error in a 200", Reply(200, {"error": {"code": "content_filter", "message": "Filtered."}})),
    ("words in a 200", Reply(200, {"error": {"code": 403, "message": "The input was flagged by our safety system."}})),
    ("a finish reason", Reply(200, {"choices": [CHAT_FILTERED]})),
    ("a finish reason beside an answer", answer({"yes": 0.9, "no": 0.1}, finish_reason="content_filter")),
    ("Gemini, a finish reason", filtered(finish_reason="content_filter: PROHIBITED_CONTENT")),
    ("OpenRouter, the vendor's finish reason", filtered(finish_reason="stop", native_finish_reason="SAFETY")),
    ("OpenRouter, an error in the answer", filtered(error={"code": 403, "message": "Response flagged for violence"})),
    ("Azure, results of the filter", filtered(content_filter_results={"hate": {"filtered": True, "severity": "high"}})),
    ("a refusal", answer({"yes": 1.0}, message={"content": None, "refusal": "I can't help with that."})),
]
UNREADABLE = [
    ("another word", answer({"maybe": 0.9, "yes": 0.05, **dict.fromkeys(FILLERS, 0.0001)}), "'maybe' 0.900, 'yes'"),
    (
        "the end token at once",
        answer({"<end>": 0.99, "yes": 0.001}, message={"content": ""}, finish_reason="stop"),
        "<end>",
    ),
    ("probabilities", answer_of_entries([{"token": "yes", "logprob": 0.9}, {"token": "no", "logprob": 0.1}]), "no log"),
    ("zeros", answer_of_entries([{"token": t, "logprob": 0} for t in ("yes", "no", *FILLERS)]), "no log probabilities"),
    ("vLLM, context", error(400, "This model's maximum context length is 512 tokens. However, ..."), "maximum context"),
    ("llama.cpp, context", error(400, "request (3075 tokens) exceeds the available context size"), "context size"),
    ("a code", error(400, "Bad request", code="context_length_exceeded"), "context_length_exceeded"),
    ("Anthropic, context", error(400, "prompt is too long: 300000 tokens > 200000 maximum"), "prompt is too long"),
    ("TGI, context", Reply(422, {"error": "Input validation error: `inputs` must have less than 1024 tokens"}), "1024"),
    ("a large body of tokens", error(413, "Prompt is too large: 9000 tokens"), "9000 tokens"),
]
NOT_ANSWERED = [
    ("server error", error(500, "CUDA error"), "500: CUDA error"),
    ("a filter that is down", error(503, "timed out", type="moderation_error"), "503: timed out"),
    ("a proxy's body limit", Reply(413, "<html><title>413 Request Entity Too Large</title></html>"), "Too Large"),
    ("an error in the answer", filtered(finish_reason="error", error={"code": 502, "message": "Upstream"}), "Upstream"),
    ("an answer that was broken off", filtered(finish_reason="abort"), "broke the answer off: finish_reason abort"),
    ("a failed dependency", error(424, "Failed Dependency"), "424: Failed Dependency"),
    ("a firewall's page", Reply(403, "<html>Sorry, you have been blocked</html>"), "403: Sorry"),
    ("alternatives of another type", answer_of_entries(5), "top_logprobs) is empty"),
    ("no choice in the choices", Reply(200, {"choices": [None]}), "not in the format of the API"),
    ("deeply nested JSON", Reply(200, "[" * 100_000), "an error instead of an answer"),
    ("request timeout", error(408, "slow"), "408: slow"),
    ("conflict", error(409, "conflict"), "409: conflict"),
    ("too early", error(425, "early"), "425: early"),
    ("rate limit in a 200", Reply(200, {"error": {"code": 429, "message": "Rate limit"}}), "Rate limit"),
    ("error text in a 200", Reply(200, {"error": "upstream failed"}), "upstream failed"),
    ("bad request in a 200", Reply(200, {"error": {"code": 400, "message": "Provider returned error"}}), "Provider"),
    ("HTML in a 200", Reply(200, "<html><body>Be back soon</body></html>"), "Be back soon"),
    ("HTML 500", Reply(500, "<html><head><style>p{}</style></head><body>Oops</body></html>"), "500: Oops"),
    ("truncated JSON", Reply(200, '{"choices": [{"index": 0, "logpr'), "an error instead of an answer"),
    ("a lost connection", Reply(200, {"choices": []}, lost=True), "the connection was lost"),
    ("no choices", Reply(200, {"choices": []}), "an error instead of an answer"),
    ("no logprobs", answer({"yes": 1.0}, logprobs=None), "no log probabilities; it says 'yes'"),
    ("timeout", Reply(200, {}, delay_s=0.5), "no answer within 0.15 s; raise grader.timeout_s"),
    ("forbidden for lack of a right", error(403, "You have no access to this model"), "403: You have no access"),
    ("an unknown rejection of one reply", error(400, "Cannot do this"), "400: Cannot do this"),
    ("not found for one reply", error(404, "Nothing here"), "404: Nothing here"),
]


def only_special(reply: Reply) -> Callable[[Request], Reply]:
    """The judge answers everything but questions about one reply."""
    return lambda request: reply if "special" in request.prompt else good_answer(request.prompt)


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in REFUSED])
def test_a_content_filter_refuses_one_reply_and_the_others_have_their_grades(serve: Serve, reply: Reply) -> None:
    server = serve(only_special(reply))
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.outcomes.tolist() == [[Outcome.ANSWERED] * 2, [Outcome.REFUSED] * 2, [Outcome.ANSWERED] * 2]
    assert np.isnan(answers.p_yes[1]).all() and not np.isnan(answers.p_yes[[0, 2]]).any()
    assert answers.reasons[1, 0]
    assert len(server.asked) == 6  # A refusal is not asked again.


@pytest.mark.parametrize(("reply", "words"), [pytest.param(*row, id=name) for name, *row in UNREADABLE])
def test_an_unreadable_answer_keeps_its_words_and_is_not_asked_again(serve: Serve, reply: Reply, words: str) -> None:
    server = serve(only_special(reply))
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.outcomes.tolist() == [[Outcome.ANSWERED] * 2, [Outcome.UNREADABLE] * 2, [Outcome.ANSWERED] * 2]
    assert words in answers.reasons[1, 0]
    assert len(server.asked) == 6


@pytest.mark.parametrize(("reply", "words"), [pytest.param(*row, id=name) for name, *row in NOT_ANSWERED])
def test_a_reply_without_an_answer_is_not_answered_and_the_others_have_their_grades(
    serve: Serve, reply: Reply, words: str
) -> None:
    server = serve(only_special(reply))
    grader = server.grader(wait_s=1.0, timeout_s=0.15 if words.startswith("no answer") else 2.0)
    answers = grader.grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.outcomes.tolist() == [
        [Outcome.ANSWERED] * 2,
        [Outcome.NOT_ANSWERED] * 2,
        [Outcome.ANSWERED] * 2,
    ]
    assert words in answers.reasons[1, 0]
    server.rule = lambda request: good_answer(request.prompt)  # The next run asks again.
    assert grader.grade([conversation("special")], QUESTIONS).count(Outcome.ANSWERED) == 2


def test_a_request_that_times_out_alone_is_sent_six_times_at_most(serve: Serve) -> None:
    server = serve(only_special(Reply(200, {}, delay_s=0.4)))
    server.grader(timeout_s=0.15).grade([conversation("special")], QUESTIONS[:1])
    assert sum("special" in request.prompt for request in server.asked) == 6


def test_a_word_of_a_filter_in_the_models_name_is_no_refusal(serve: Serve) -> None:
    name = "content-filter-judge"
    server = serve(lambda request: error(400, f"Invalid model name passed in model={name}"))
    with pytest.raises(InputError, match=r"does not know grader\.model_name 'content-filter-judge'"):
        server.grader(model_name=name).grade([conversation("Hello")], QUESTIONS)


def test_a_validation_error_that_repeats_the_reply_is_no_refusal(serve: Serve) -> None:
    body = {"detail": [{"msg": "Field required", "input": {"content": "flagged by moderation, content_filter"}}]}
    server = serve(only_special(Reply(422, body)))
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.count(Outcome.REFUSED) == 0
    assert answers.count(Outcome.NOT_ANSWERED) == 2


def test_a_filter_that_refuses_everything_from_some_moment_on_ends_the_call(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    blocked = error(403, "flagged by moderation")
    server.rule = lambda request: good_answer(request.prompt) if len(server.asked) <= 20 else blocked
    answers = server.grader().grade([conversation(f"reply {n}") for n in range(100)], QUESTIONS)
    assert answers.count(Outcome.REFUSED) == 0
    assert answers.count(Outcome.ANSWERED) <= 20
    assert "not believed" in " ".join(answers.reasons.values())


def test_a_filter_that_refuses_the_last_replies_and_the_probe_is_not_believed(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    blocked = error(403, "flagged by moderation")
    server.rule = lambda request: good_answer(request.prompt) if len(server.asked) <= 18 else blocked
    answers = server.grader().grade([conversation(f"reply {n}") for n in range(10)], QUESTIONS)
    assert [answers.count(outcome) for outcome in (Outcome.ANSWERED, Outcome.REFUSED)] == [18, 0]


def test_a_filter_that_refuses_every_reply_but_answers_the_probe_is_believed(serve: Serve) -> None:
    blocked = error(403, "flagged by moderation")
    server = serve(lambda request: good_answer(request.prompt) if request.is_probe else blocked)
    answers = server.grader().grade([conversation(f"reply {n}") for n in range(30)], QUESTIONS)
    assert answers.count(Outcome.REFUSED) == 60


def test_a_context_that_is_too_small_for_everything_from_some_moment_on_is_not_believed(serve: Serve) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    too_long = error(400, "This model's maximum context length is 16 tokens.")
    server.rule = lambda request: good_answer(request.prompt) if len(server.asked) <= 20 else too_long
    answers = server.grader().grade([conversation(f"reply {n}") for n in range(100)], QUESTIONS)
    assert answers.count(Outcome.UNREADABLE) == 0
    assert "maximum context length is 16" in answers.reasons[99, 1]


def test_a_reply_that_the_server_forbids_at_every_try_is_refused(serve: Serve) -> None:
    server = serve(only_special(error(403, "Forbidden")))
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.outcomes.tolist() == [[Outcome.ANSWERED] * 2, [Outcome.REFUSED] * 2, [Outcome.ANSWERED] * 2]
    assert sum("special" in request.prompt for request in server.asked) == MAX_TRIES + 2


def test_an_answer_without_a_word_is_believed_after_three_tries(serve: Serve) -> None:
    empty = Reply(200, {"choices": [NO_WORDS]})
    server = serve(only_special(empty))
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], QUESTIONS)
    assert answers.outcomes.tolist() == [[Outcome.ANSWERED] * 2, [Outcome.UNREADABLE] * 2, [Outcome.ANSWERED] * 2]
    assert sum("special" in request.prompt for request in server.asked) == 2 * 3
    server.rule = lambda request: empty if request.attempt == 1 else good_answer(request.prompt)
    assert server.grader(wait_s=1.0).grade([conversation("new")], QUESTIONS).count(Outcome.ANSWERED) == 2


def test_there_is_one_log_line_for_each_reply_and_one_count(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(only_special(error(400, "context length is 16")))
    questions = [Question(f"q{n}", f"Is it number {n}?") for n in range(9)]
    with caplog.at_level(logging.WARNING):
        server.grader().grade([conversation(text) for text in REPLIES], questions)
    assert [record.getMessage() for record in caplog.records] == [
        "Conversation 2 of the call: 9 unreadable of 9 questions: the server answered 400: context length is 16",
        "Of 27 questions, 9 unreadable.",
    ]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(error(401, "Key revoked"), "401: Key revoked", id="the key"),
        pytest.param(error(402, "No credit left"), "402: No credit left", id="the bill"),
        pytest.param(error(403, "Forbidden"), "403: Forbidden", id="the permission"),
        pytest.param(error(404, "The model `grader` does not exist"), "404: The model", id="the model"),
        pytest.param(error(422, "Unprocessable"), "422: Unprocessable", id="the request"),
        pytest.param(error(400, "No connected db."), "400: No connected db", id="a proxy's key"),
        pytest.param(error(429, "No quota", code="insufficient_quota"), "429: No quota", id="the quota"),
    ],
)
def test_a_rejection_of_everything_in_the_middle_ends_the_call_and_keeps_what_was_answered(
    serve: Serve, reply: Reply, words: str
) -> None:
    server = serve(lambda request: good_answer(request.prompt))
    server.rule = lambda request: good_answer(request.prompt) if len(server.asked) <= 20 else reply
    grader = server.grader()
    conversations = [conversation(f"reply {n}") for n in range(500)]
    answers = grader.grade(conversations, QUESTIONS)
    assert 15 <= answers.count(Outcome.ANSWERED) <= 20
    assert answers.count(Outcome.NOT_ANSWERED) == 1000 - answers.count(Outcome.ANSWERED)
    assert words in answers.reasons[499, 1] and answers.reasons[499, 1].startswith("not asked")
    assert len(server.requests) < 60
    with pytest.raises(InputError, match=words):  # The next call says what is wrong.
        grader.grade(conversations, QUESTIONS)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(error(500, "CUDA out of memory"), "500: CUDA out of memory", id="server error"),
        pytest.param(answer({"yes": 1.0}, logprobs=None), "no log probabilities", id="no logprobs"),
        pytest.param(Reply(200, {"error": "backend died"}), "backend died", id="error in a 200"),
        pytest.param(Reply(200, {}, delay_s=0.3), "raise grader.timeout_s|no answer within 0.1 s", id="timeout"),
    ],
)
def test_if_all_real_questions_fail_for_one_reason_the_call_stops_early(serve: Serve, reply: Reply, words: str) -> None:
    server = serve(lambda request: good_answer(request.prompt) if request.is_probe else reply)
    grader = server.grader(wait_s=0.6, timeout_s=0.1 if reply.delay_s else 2.0)
    with pytest.raises(InputError, match=words):
        grader.grade([conversation(f"reply {n}") for n in range(1000)], QUESTIONS)
    assert len(server.asked) < 400


def test_one_reply_that_the_server_cannot_answer_does_not_end_a_call_of_its_own(serve: Serve) -> None:
    server = serve(only_special(error(500, "CUDA error")))
    answers = server.grader(wait_s=0.5).grade([conversation("special")], QUESTIONS)
    assert answers.count(Outcome.NOT_ANSWERED) == 2
    assert "CUDA error" in answers.reasons[0, 0]


def test_one_reply_with_many_questions_that_the_server_cannot_answer_takes_no_other_reply_with_it(serve: Serve) -> None:
    server = serve(only_special(error(500, "CUDA error")))
    questions = [Question(f"q{n}", f"Is it number {n}?") for n in range(30)]
    answers = server.grader(wait_s=1.0).grade([conversation(text) for text in REPLIES], questions)
    assert [(row == Outcome.ANSWERED).all() for row in answers.outcomes] == [True, False, True]
    assert (answers.outcomes[1] == Outcome.NOT_ANSWERED).all()
    assert "other questions about this conversation got no answer" in answers.reasons[1, 29]
    assert sum("special" in request.prompt for request in server.asked) < 10 * 24
