"""Turns a failure into an error for people: the server's own words, and the setting to change.

A hint about the address, the key or the name is given only if the words are generic or speak of them: otherwise the
words say more than a guess.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from rbr.errors import InputError, ServerAway, spelling_hint
from rbr.grading.server.address import API_KEY_VARIABLE, Address
from rbr.grading.server.failures import KEY_WORDS, MAY_PASS, MODEL_WORDS, Failure, FailureKind

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

OTHER_MODEL = "answered by another model"
"""First words of the failure of an answer that names another model than the probe's answer."""

_HINTS = {
    FailureKind.TIMEOUT: "Raise grader.timeout_s, or lower grader.max_concurrency so that the server has less to do.",
    FailureKind.AWAY: "Start the server, or correct grader.base_url. Raise grader.wait_s if the server needs longer.",
    FailureKind.BUSY: "Lower grader.max_concurrency, raise grader.wait_s, or raise the limit of your account.",
    FailureKind.BAD_ADDRESS: "Correct grader.base_url.",
    FailureKind.PASSING: "Look into the log of the server.",
    FailureKind.FILTERED: "A content filter rejects a harmless question. Switch the filter off, or use another server.",
    FailureKind.TOO_LONG: (
        "Start the server with a longer context (vLLM: --max-model-len; llama.cpp: --ctx-size, which is divided by "
        "--parallel), or lower grader.few_shot."
    ),
}
_ABOUT_LIMIT = re.compile(r"max_(completion_|output_)?tokens")
_ABOUT_LOGPROBS = re.compile(r"log[ _]?prob|top_n_tokens", re.IGNORECASE)
_MAXIMUM = re.compile(
    r"(?:<=?|less than or equal to|at most|max(?:imum)?(?: allowed)?(?: is)?:?)\s*(\d+)", re.IGNORECASE
)
_TAKES_NO_TOKEN_IDS = re.compile(
    r"unmarshal array|did not match any variant|chat model|chat/completions|prompt[^.]{0,40}(be|type) (a )?string",
    re.IGNORECASE,
)
_FIREWALL = re.compile(
    r"cloudflare|you have been blocked|application-gateway|\bfirewall|\bwaf\b|incapsula|akamai", re.IGNORECASE
)
_STREAM = re.compile(r"instead of an answer: (event|data): ?|stream\W{0,3}(=|:|must be|to)? ?true|only[^.]{0,20}stream")
_NO_CREDIT = "The account has no credit. Nothing more is asked until the server accepts requests again."
# The advice by the words of a rejection; the first row that fits.
_BY_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\bbudget", re.IGNORECASE),
        "Raise the budget of the key or of the account. Nothing more is asked until the server accepts requests again.",
    ),
    (re.compile(r"insufficient[_ ](quota|balance|fund)|billing|\bcredits?\b", re.IGNORECASE), _NO_CREDIT),
    (
        re.compile(r"DeploymentNotFound|API deployment", re.IGNORECASE),
        "Set grader.base_url to the address of a deployment that exists. At Azure it is "
        "https://RESOURCE.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=VERSION.",
    ),
    (
        re.compile(r"\bno models? (is |are )?(currently )?loaded", re.IGNORECASE),
        "Load the model in the server first (LM Studio: `lms load`).",
    ),
)
# Words that say no more than the status does.
_STATUS_WORDS = {word for status in HTTPStatus for word in re.findall("[a-z]+", status.phrase.lower())}
_GENERIC_WORDS = _STATUS_WORDS | {
    "empty", "nginx", "openresty", "apache", "caddy", "envoy", "page", "file", "resource", "the", "url", "was", "on",
    "this", "server", "requested", "http", "status", "code", "detail", "title", "access", "denied",
}  # fmt: skip
_LONGEST_GENERIC = 200  # characters
_ABOUT_THE_PATH = re.compile(r"\b(url|path|route|cannot (post|get))\b", re.IGNORECASE)
_LOGIN_PAGE = re.compile(r"log-?in|sign-?in|\bsso\b|oauth|/auth\b", re.IGNORECASE)


def problem_of(
    failure: Failure, settings: "GraderSettings", address: Address, served: Sequence[str] = ()
) -> InputError:
    """Returns the error that a failure stands for: a `ServerAway` if it may pass.

    Args:
        failure: What the server answered.
        settings: Section `grader` of a profile.
        address: Address of the server.
        served: Names of the models that the server lists.

    Example:
        >>> from rbr.profile import load_profile
        >>> settings = load_profile("profiles/gpu.yaml").grader
        >>> failure = Failure(FailureKind.REJECTED, "Invalid model name passed in model=grader", status=400)
        >>> print(problem_of(failure, settings, Address("http://127.0.0.1:8000/v1"), served=["grader-7b"]))
        http://127.0.0.1:8000/v1: the server answered 400: Invalid model name passed in model=grader
          The server does not know grader.model_name 'grader'. Did you mean `grader-7b`?
    """
    if (hint := _hint_of_words(failure, settings, address, served)) is not None:
        return address.problem(str(failure), hint)
    hint = _HINTS.get(failure.kind, "")
    if failure.kind is FailureKind.PASSING and _is_generic(failure):
        hint = "Look into the log of the server, and check that grader.base_url is its address."
    kind = ServerAway if failure.kind in MAY_PASS else InputError
    return address.problem(str(failure), hint, kind)


def is_about_limit(failure: Failure) -> bool:
    """Returns whether the server rejects the field with the largest number of tokens.

    Example:
        >>> is_about_limit(Failure(FailureKind.REJECTED, "'max_tokens' is not supported with this model", status=400))
        True
    """
    return bool(_ABOUT_LIMIT.search(failure.words)) and failure.status in (400, 422)


def is_about_alternatives(failure: Failure) -> bool:
    """Returns whether the server allows fewer alternatives than the request asks for.

    Example:
        >>> words = "Requested sample logprobs of 21, which is greater than max allowed: 20"
        >>> is_about_alternatives(Failure(FailureKind.REJECTED, words, status=400))
        True
    """
    is_about_logprobs = failure.status in (400, 422) and _ABOUT_LOGPROBS.search(failure.words)
    return bool(is_about_logprobs and re.search(r"\d", failure.words))


def largest_number(failure: Failure) -> int | None:
    """Returns the maximum that the server's words name; None if they name none, or 0.

    Example:
        >>> largest_number(Failure(FailureKind.REJECTED, "`top_n_tokens` must be >= 0 and <= 5. Given: 20", status=422))
        5
    """
    found = _MAXIMUM.search(failure.words)
    return int(found[1]) or None if found else None


def _hint_of_words(failure: Failure, settings: "GraderSettings", address: Address, served: Sequence[str]) -> str | None:
    """Returns what the words and the status ask for; empty if the words say it; None if only the kind matters."""
    words, status = failure.words, failure.status
    if words.startswith(OTHER_MODEL):
        return (
            "A proxy answers with another model if the judge fails. Switch that off (LiteLLM: `fallbacks`; OpenRouter: "
            "grader.extra_body: {provider: {allow_fallbacks: false}}), or serve the judge alone."
        )
    if status is not None and 300 <= status < 400:
        return _redirect_hint(words, address)
    if _STREAM.search(words):
        return "The server streams its answers. Switch streaming off at the server or the proxy, or use another server."
    if status == 501 or (status == 200 and failure.kind is FailureKind.PASSING):
        return _path_hint(address, settings)
    if status == 413 and not re.search("context|token", words):
        return (
            "A proxy limits the size of a request. Raise its limit (nginx: client_max_body_size), or use a shorter "
            "prompt template or fewer examples (grader.few_shot)."
        )
    if failure.kind is not FailureKind.REJECTED:
        return None
    if settings.endpoint == "completions" and _TAKES_NO_TOKEN_IDS.search(words):
        return "The server takes no token ids. Set grader.endpoint to chat."
    if status in (400, 422):
        for key in sorted(settings.extra_body):
            if re.search(rf"\b{re.escape(key)}\b", words):
                return f"Change or remove `{key}` in grader.extra_body."
        if is_about_limit(failure):
            return "Set a number of tokens that the server accepts, such as grader.extra_body: {max_tokens: 16}."
        if "temperature" in words:
            return "Set the value that the server accepts, such as grader.extra_body: {temperature: 1}."
        if "chat_template_kwargs" in words:
            return "The server takes no arguments of the chat template. Remove grader.chat_template_kwargs."
    if _ABOUT_LOGPROBS.search(words):
        return "A grade needs log probabilities of the likeliest tokens. Use a server and a model that return them."
    for pattern, hint in _BY_WORDS:
        if pattern.search(words):
            return hint
    if status == 402:
        return _NO_CREDIT
    if status == 403 and _FIREWALL.search(words):
        return "A firewall in front of the server blocks the request. Let its operator allow this machine."
    if MODEL_WORDS.search(words):
        listed = [name for name in served if name != settings.model_name]
        known = f" {spelling_hint(settings.model_name or '', listed)}" if listed else ""
        return f"The server does not know grader.model_name {settings.model_name!r}.{known}"
    is_generic = _is_generic(failure)
    if status == 401 or KEY_WORDS.search(words) or (status == 403 and (is_generic or re.search("permi|author", words))):
        state = "It is set, but the server does not accept it." if address.key else "It is not set."
        return f"The server wants a key: set the environment variable {API_KEY_VARIABLE}. {state}"
    if status in (404, 405) and (is_generic or _ABOUT_THE_PATH.search(words)):
        return _path_hint(address, settings)
    if is_generic:
        return f"Check grader.model_name {settings.model_name!r}, grader.base_url and the variable {API_KEY_VARIABLE}."
    return ""


def _is_generic(failure: Failure) -> bool:
    words = failure.words.lower()
    return len(words) <= _LONGEST_GENERIC and set(re.findall(r"[^\W\d]+", words)) <= _GENERIC_WORDS


def _redirect_hint(words: str, address: Address) -> str:
    place = urljoin(address.url("/chat/completions"), words.removeprefix("a redirect to ").strip())
    if _LOGIN_PAGE.search(place):
        return "The address wants a login in a browser. Set grader.base_url to an address that programs can use."
    base = re.sub(r"((/chat)?/completions|/models)/?(?=\?|$)", "", place)
    if base == address.base_url:
        return "The server redirects to another spelling of the same path. Let the server or the proxy answer directly."
    return f"The server redirects: set grader.base_url to {base}."


def _path_hint(address: Address, settings: "GraderSettings") -> str:
    path = urlsplit(address.base_url).path.rstrip("/")
    if path.endswith("/completions"):
        return "grader.base_url ends before /chat/completions; it usually ends in /v1."
    if not re.search(r"/v\d", path):
        return "Does grader.base_url lack /v1 at its end?"
    if settings.endpoint == "completions":
        return "The server may have no /completions. Set grader.endpoint to chat."
    return "Check grader.base_url: the server has no /chat/completions below it."
