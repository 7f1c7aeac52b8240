"""Turns a failure into an error for people: the server's own words, and the setting to change."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rbr.errors import InputError, spelling_hint
from rbr.grading.server.address import API_KEY_VARIABLE, Address
from rbr.grading.server.failures import KEY_WORDS, MODEL_WORDS, Failure, FailureKind

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

_HINTS = {
    FailureKind.TIMEOUT: "Raise grader.timeout_s, or lower grader.max_concurrency so that the server has less to do.",
    FailureKind.AWAY: "Start the server, or correct grader.base_url. Raise grader.wait_s if the server needs longer.",
    FailureKind.BUSY: "Lower grader.max_concurrency, raise grader.wait_s, or raise the limit of your account.",
    FailureKind.BAD_ADDRESS: "Correct grader.base_url.",
    FailureKind.PASSING: "Look into the log of the server, and check that grader.base_url is its address.",
    FailureKind.FILTERED: "A content filter rejects a harmless question. Switch the filter off, or use another server.",
    FailureKind.TOO_LONG: (
        "Start the server with a longer context (vLLM: --max-model-len; llama.cpp: --ctx-size, which is divided by "
        "--parallel), or lower grader.few_shot."
    ),
}


def problem_of(
    failure: Failure, settings: "GraderSettings", address: Address, served: Sequence[str] = ()
) -> InputError:
    """Returns the error that a failure stands for.

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
    hint = _hint_of_rejection(failure, settings, address, served)
    return InputError(str(failure), where=address.base_url, hint=hint or _HINTS.get(failure.kind, ""))


def is_about_limit(failure: Failure) -> bool:
    """Returns whether the server rejects the field with the largest number of tokens.

    Example:
        >>> is_about_limit(Failure(FailureKind.REJECTED, "'max_tokens' is not supported with this model", status=400))
        True
    """
    return bool(re.search(r"max_(completion_)?tokens", failure.words)) and failure.status in (400, 422)


def is_about_alternatives(failure: Failure) -> bool:
    """Returns whether the server allows fewer alternatives than the request asks for.

    Example:
        >>> words = "Requested sample logprobs of 21, which is greater than max allowed: 20"
        >>> is_about_alternatives(Failure(FailureKind.REJECTED, words, status=400))
        True
    """
    return failure.status in (400, 422) and bool(
        re.search(r"log_?prob", failure.words, re.IGNORECASE) and re.search(r"\d", failure.words)
    )


def _hint_of_rejection(
    failure: Failure, settings: "GraderSettings", address: Address, served: Sequence[str]
) -> str | None:
    words, status = failure.words, failure.status
    if status == 501 or (status == 200 and failure.kind is FailureKind.PASSING):
        return _path_hint(address, settings)
    if failure.kind is not FailureKind.REJECTED:
        return None
    if status == 402 or re.search(r"insufficient|billing|credit", words, re.IGNORECASE):
        return "The account has no credit. Nothing more is asked until the server accepts requests again."
    if status is not None and 300 <= status < 400:
        return "Set grader.base_url to the address that the server redirects to."
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
        if re.search(r"log_?prob", words, re.IGNORECASE):
            return "A grade needs log probabilities of the likeliest tokens. Use a server and a model that return them."
    if MODEL_WORDS.search(words):
        listed = [name for name in served if name != settings.model_name]
        known = f" {spelling_hint(settings.model_name or '', listed)}" if listed else ""
        return f"The server does not know grader.model_name {settings.model_name!r}.{known}"
    if status in (401, 403) or KEY_WORDS.search(words):
        state = "It is set, but the server does not accept it." if address.key else "It is not set."
        return f"The server wants a key: set the environment variable {API_KEY_VARIABLE}. {state}"
    if status in (404, 405):
        return _path_hint(address, settings)
    return f"Check grader.model_name {settings.model_name!r}, grader.base_url and the variable {API_KEY_VARIABLE}."


def _path_hint(address: Address, settings: "GraderSettings") -> str:
    path = urlsplit(address.base_url).path.rstrip("/")
    if path.endswith("/completions"):
        return "grader.base_url ends before /chat/completions; it usually ends in /v1."
    if not re.search(r"/v\d", path):
        return "Does grader.base_url lack /v1 at its end?"
    if settings.endpoint == "completions":
        return "The server may have no /completions. Set grader.endpoint to chat."
    return "Check grader.base_url: the server has no /chat/completions below it."
