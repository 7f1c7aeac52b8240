"""What kind of failure a reply is. What is stored must be sure, so what may pass is never a refusal or too long."""

import pytest

from rbr.grading.server.failures import failure_of, failure_of_choice, is_error
from tests.rbr.grading.judge_server import Reply, error

TGI = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens"
CLOUDFLARE = {"success": False, "error": [{"code": 2017, "message": "Response blocked due to security configurations"}]}
FIREWALL = "<html>This request violates our security policy. IP blocked</html>"
TERMINATED = "Your access was terminated due to violation of our policies, please check your email"
XAI = "Content violates usage guidelines. Team: x, API key ID: y, Model: grok-4, Failed check: SAFETY_CHECK_TYPE_BIO"
XAI_CODE = "The caller does not have permission to execute the specified operation"
AZURE_PROMPT = {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": True}}}


def inner(status: int, message: str, **fields: object) -> Reply:
    return Reply(200, {"error": {"code": status, "message": message, **fields}})


def minimax(status: int, message: str, **fields: object) -> Reply:
    return Reply(200, {"choices": None, "base_resp": {"status_code": status, "status_msg": message}, **fields})


# A filter service that is down, or another service that uses a filter's words.
NOT_FILTERED = [
    ("503, a type", error(503, "timed out", type="moderation_error"), "away"),
    ("503, unavailable", error(503, "", code="guardrail_unavailable"), "away"),
    ("503, a timeout", error(503, "", code="content_filter_timeout"), "away"),
    ("500, unavailable", error(500, "temporarily unavailable", code="content_filter_error"), "passing"),
    ("500, a code and a fault", error(500, "The content filter failed", code="content_filter"), "passing"),
    ("504", error(504, "", code="moderation_timeout"), "away"),
    ("408", error(408, "", code="moderation_timeout"), "passing"),
    ("500, a type", error(500, "", type="guardrail_error"), "passing"),
    ("400, unavailable", error(400, "The content filter is temporarily unavailable"), "passing"),
    ("400, a verdict's code, unavailable", error(400, "The service timed out", code="content_filter"), "passing"),
    ("503 in a 200", inner(503, "The moderation service is unavailable"), "away"),
    ("502 in a 200", inner(502, "guardrail timed out"), "away"),
    ("429 in a 200", inner(429, "usage policy allows 5 requests"), "busy"),
    ("a firewall", Reply(403, FIREWALL), "rejected"),
    ("the account", error(403, TERMINATED), "rejected"),
    ("a code with a word in it", error(404, "The name is case sensitive", code="case_sensitive"), "rejected"),
    ("no reason", Reply(200, {"choices": [], "promptFeedback": {"blockReason": "OTHER"}}), "passing"),
    ("no status", Reply(424, "<html>Failed Dependency</html>"), "passing"),
    ("closed", Reply(499, ""), "passing"),
]
FILTERED = [
    ("500, a verdict's code", error(500, "Something went wrong", code="content_policy_violation")),
    ("Azure, an inner code with 500", error(500, "", innererror={"code": "ResponsibleAIPolicyViolation"})),
    ("Portkey", error(446, "The guardrail checks defined in the config failed.", type="hooks_failed")),
    ("Cloudflare, 424", Reply(424, CLOUDFLARE)),
    ("Cloudflare, 400", Reply(400, CLOUDFLARE)),
    ("Zhipu", error(400, "\u7cfb\u7edf\u68c0\u6d4b", code="1301")),
    ("Gemini, a prompt", Reply(200, {"choices": [], "promptFeedback": {"blockReason": "BLOCKLIST"}})),
    ("Gemini, outside", Reply(200, {"blockReason": "PROHIBITED_CONTENT"})),
    ("Azure, a prompt", Reply(200, {"choices": [], "prompt_filter_results": [AZURE_PROMPT]})),
    ("OpenRouter, a vendor's words", inner(403, "Provider returned error", metadata={"raw": "flagged by moderation"})),
    ("xAI, beside the id of a key", Reply(403, {"code": XAI_CODE, "error": XAI})),
    ("Kong", error(400, "bad request: prompt pattern is blocked")),
    ("MiniMax, the prompt", minimax(1026, "input new_sensitive", input_sensitive=True)),
    ("MiniMax, the answer", minimax(1027, "output new_sensitive")),
    ("a failed check", Reply(422, {"detail": "Input failed the safety check"})),
]
# Rate limits and quotas speak of tokens too.
RATES = [
    ("Groq", error(413, "Request too large: limit 6000 on tokens per minute", code="rate_limit_exceeded"), "busy"),
    ("a code", error(400, "Too many tokens in flight", code="rate_limit"), "busy"),
    ("minutes", error(400, "too many input tokens per minute"), "busy"),
    ("a queue", error(400, "Maximum number of queued requests exceeded: total 128 exceeds 100"), "busy"),
    ("MiniMax", minimax(1002, "rate limit"), "busy"),
    ("a day", error(400, "Daily token limit exceeded for your plan"), "rejected"),
    ("a quota", error(400, "Token quota exceeded for this key"), "rejected"),
    ("a budget", error(400, "Budget has been exceeded! Current cost: 10.2", type="budget_exceeded"), "rejected"),
]
TOO_LONG = [
    ("TGI", Reply(422, {"error": TGI, "error_type": "validation"})),
    ("xAI", error(400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens.")),
    ("DashScope", error(400, "Range of input length should be [1, 30720]", code="invalid_parameter_error")),
    ("a setting and the context", error(400, "'max_tokens' is too large: 1. The maximum context length is 512 tokens")),
    ("413, tokens", error(413, "The prompt is too large: 9000 tokens")),
]
CHOICES = [
    ("content_filter: PROHIBITED_CONTENT", {"finish_reason": "content_filter: PROHIBITED_CONTENT"}, "filtered"),
    ("a vendor's reason", {"finish_reason": "stop", "native_finish_reason": "SAFETY"}, "filtered"),
    ("flagged", {"error": {"code": 403, "message": "The answer was flagged"}}, "filtered"),
    ("Azure", {"content_filter_results": {"violence": {"filtered": True}}}, "filtered"),
    ("Azure, not filtered", {"content_filter_results": {"violence": {"filtered": False}}}, None),
    ("an error", {"finish_reason": "error", "error": {"code": 502, "message": "Upstream"}}, "passing"),
    ("a filter that is down", {"error": {"code": 503, "message": "moderation unavailable"}}, "passing"),
    ("abort", {"finish_reason": "abort"}, "passing"),
    ("an answer", {"finish_reason": "length"}, None),
]


def kind_of(reply: Reply) -> str:
    return failure_of(reply.status, reply.payload(), {}, "grader").kind


@pytest.mark.parametrize(("reply", "kind"), [pytest.param(*row, id=name) for name, *row in NOT_FILTERED])
def test_a_filter_that_fails_or_a_word_of_it_is_no_refusal(reply: Reply, kind: str) -> None:
    assert kind_of(reply) == kind


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in FILTERED])
def test_a_verdict_of_a_filter_is_found_in_every_form(reply: Reply) -> None:
    assert kind_of(reply) == "filtered"


@pytest.mark.parametrize(("reply", "kind"), [pytest.param(*row, id=name) for name, *row in RATES])
def test_a_rate_limit_that_speaks_of_tokens_is_not_too_long(reply: Reply, kind: str) -> None:
    assert kind_of(reply) == kind


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in TOO_LONG])
def test_a_prompt_that_is_too_long_is_found_in_the_words_of_each_server(reply: Reply) -> None:
    assert kind_of(reply) == "too long"


@pytest.mark.parametrize("field", ["input_sensitive", "output_sensitive"])
def test_an_answer_that_minimax_marks_as_sensitive_is_an_error(field: str) -> None:
    answered = {"choices": [{}], "base_resp": {"status_code": 0, "status_msg": ""}}
    assert is_error({**answered, field: True}) and not is_error({**answered, field: False})


@pytest.mark.parametrize(("choice", "kind"), [pytest.param(*row, id=name) for name, *row in CHOICES])
def test_a_choice_says_whether_a_filter_or_a_fault_ended_it(choice: dict[str, object], kind: str | None) -> None:
    failure = failure_of_choice(choice)
    assert (failure and failure.kind) == kind


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(403, "Your account was flagged for unusual activity"), "rejected"),
        (error(403, "Your organization has been suspended for policy reasons"), "rejected"),
        (error(400, "Unknown field: safety_identifier"), "rejected"),
        (error(404, "The model `moderation-judge` does not exist"), "rejected"),
        (error(400, "max_tokens is too large"), "rejected"),
        (error(400, "top_logprobs must be at most 5, more than the limit"), "rejected"),
        (error(401, "flagged"), "rejected"),
        (error(403, "The API key was blocked for violating our policies"), "rejected"),
        (error(403, "Your API key has no right to use this model"), "rejected"),
        (minimax(1004, "authorized error: invalid api key"), "rejected"),
        (minimax(1008, "insufficient balance"), "rejected"),
        (Reply(307, "", {"Location": "/v2"}), "rejected"),
        (error(429, "Too many tokens per minute", type="tokens"), "busy"),
        (error(529, "Overloaded", type="overloaded_error"), "busy"),
        (error(500, "model loading failed"), "passing"),
        (error(413, "Request too large for the model: tokens per minute", code="rate_limit_exceeded"), "busy"),
        (error(400, "'max_tokens' is too large: 1. This model's maximum context length is 512 tokens"), "too long"),
        (error(503, "Loading model", type="unavailable_error"), "away"),
        (Reply(504, "<html>Gateway Timeout</html>"), "away"),
    ],
)
def test_a_reply_is_the_kind_of_failure_that_its_words_mean(reply: Reply, kind: str) -> None:
    assert failure_of(reply.status, reply.payload(), {}, "grader").kind == kind
