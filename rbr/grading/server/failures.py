"""Says what kind of failure a server's reply is: each server and proxy says the same thing in its own words."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from time import time
from typing import Any

_SHOWN = 300  # characters of a server's words
_READ = 4_000  # characters of a server's words that are searched


class FailureKind(StrEnum):
    """What kind of failure a reply is.

    Attributes:
        FILTERED: A content filter rejected the conversation.
        TOO_LONG: The prompt exceeds the model's context, or the request is too large.
        REJECTED: The server does not accept the request, the key, the model's name or the bill.
        BAD_ADDRESS: The address cannot be right: the host is unknown, or TLS does not work.
        BUSY: A rate limit.
        AWAY: Nobody answers at the address, or the server is still loading.
        PASSING: An error that may pass: 5xx, a lost connection, a body that is no answer.
        TIMEOUT: No answer within `timeout_s`.

    Example:
        >>> FailureKind.BUSY.value
        'busy'
    """

    FILTERED = "filtered"
    TOO_LONG = "too long"
    REJECTED = "rejected"
    BAD_ADDRESS = "bad address"
    BUSY = "busy"
    AWAY = "away"
    PASSING = "passing"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Failure:
    """A reply that is no answer, or the reason why there is no reply.

    Attributes:
        kind: What kind of failure it is.
        words: The server's own words, or ours if there was no reply.
        status: HTTP status; None if there was no reply.
        retry_after: Seconds that the server asks to wait; None if it does not say.
        others_answered: Whether the server answered other requests between most tries of this one.

    Example:
        >>> str(Failure(FailureKind.BUSY, "slow down", status=429))
        'the server answered 429: slow down'
    """

    kind: FailureKind
    words: str
    status: int | None = None
    retry_after: float | None = None
    others_answered: bool = False

    def __str__(self) -> str:
        return self.words if self.status is None else f"the server answered {self.status}: {self.words}"


# Codes are machine-readable, so a code is believed with any status.
_FILTER_CODE = re.compile(
    r"content_?-?(filter|policy|moderation)|responsible_?ai|data_inspection_failed|moderation|guardrail"
    r"|prohibited_?content|blocked_?(content|prompt|by)|safety_(violation|block|filter)|sensitive|\bsafety\b"
    r"|flagged|policy_violation|high_risk",
    re.IGNORECASE,
)
# Words are believed only with a status that a filter uses.
_FILTER_WORDS = re.compile(
    r"content[ _-]?(filter|policy|management|moderation|safety)|responsible ai|moderation|moderated|guardrails?\b"
    r"|\bflagged\b|usage polic|safety (system|filter|polic|setting|reason|check|guideline|guard)"
    r"|(blocked|rejected|filtered|refused)[^.]{0,60}\b(safety|harm|unsafe|sensitive|inappropriate|high risk)"
    r"|(unsafe|harmful|inappropriate|sensitive|disallowed|prohibited) (content|prompt|input|text|material|request|word)"
    r"|content exists risk|violat\w* [^.]{0,60}polic|considered high risk|prompt (was )?(blocked|filtered)"
    r"|contains? (sensitive|inappropriate|harmful|unsafe)|prompt blocked",
    re.IGNORECASE,
)
# A vendor that locks an account uses the same words.
_ABOUT_THE_ACCOUNT = re.compile(
    r"\b(account|organi[sz]ation|workspace|subscription|ip address|api key)\b[^.\n]{0,60}"
    r"\b(flagged|suspended|blocked|banned|disabled|deactivated|terminated|restricted)",
    re.IGNORECASE,
)
_FILTER_STATUS = {400, 403, 422, 451}
_TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window|limit)|exceed_context|maximum context|context of the model|max_model_len"
    r"|max_seq_len|(prompt|input|request|message|sequence|text|body|payload|entity|content)s?\b[^.\n]{0,60}"
    r"too (long|large)|too (long|large)[^.\n]{0,40}\b(prompt|input|request|context|sequence)|string_above_max_length"
    r"|(input|prompt|sequence|total|token)s? (length|tokens|count)?[^.\n]{0,60}(exceed|(longer|greater|more) than)"
    r"|too many (input )?tokens"
    r"|exceeds? [^.\n]{0,40}\b(context|token limit|input limit|maximum (input|prompt|sequence) length)"
    r"|longer than the (maximum|model)|reduce the length|must have less than \d+ tokens",
    re.IGNORECASE,
)
_TOO_LONG_STATUS = {400, 413, 422}
_ABOUT_A_SETTING = re.compile(r"max_(completion_)?tokens|(top_?|sample |number of )logprobs", re.IGNORECASE)
# Proxies answer 400 or 500 to a wrong key or name. "No connected db." is LiteLLM's word for a key it does not know.
KEY_WORDS = re.compile(
    r"no connected db|authentication|unauthori[sz]ed|(invalid|incorrect|wrong|missing|no|expired|unknown|malformed)"
    r" (proxy )?(api|access|virtual)?[ _-]?(key|token)\b(?! (prob|limit|count|id))|api[ _-]?key|permission denied",
    re.IGNORECASE,
)
MODEL_WORDS = re.compile(
    r"invalid model|model_not_found|model not found|unknown model|no such model|not a valid model|unsupported model"
    r"|model[^.\n]{0,120}(does ?n[o']t exist|not exist|not found|not available|not supported|no longer|not loaded)"
    r"|no (healthy )?deployments? (available|found)|valid aliases|there are no healthy deployments",
    re.IGNORECASE,
)
_LOGIN_WORDS_OF_5XX = re.compile(
    r"no connected db|authentication error|(invalid|incorrect|no) (api|virtual)[ _-]?key"
    r"|invalid model name|model_not_found",
    re.IGNORECASE,
)
_LOADING = re.compile(
    r"load(ing)? (the )?model|model (is )?(still )?(being )?load|starting|warming|initiali[sz]ing", re.IGNORECASE
)
_UNPAID = re.compile(r"insufficient[_ ](quota|balance|credit|fund)|billing_hard_limit|out of credits", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_FINISHED_BY_FILTER = {
    "content_filter", "content_filtered", "content-filter", "guardrail_intervened", "safety", "prohibited_content",
    "blocklist", "spii", "refusal", "moderation", "sensitive", "recitation",
}  # fmt: skip


def failure_of(status: int, body: bytes, headers: Mapping[str, str], model_name: str) -> Failure:
    """Says what kind of failure a reply is whose status is not 200, or whose body is an error.

    Args:
        status: HTTP status.
        body: Body of the reply, of any type.
        headers: Headers of the reply.
        model_name: The model's name, which a message may repeat: a name such as ``safety-judge`` is no filter's word.

    Example:
        >>> failure_of(400, b'{"error": {"code": "content_filter", "message": "Filtered."}}', {}, "judge").kind
        <FailureKind.FILTERED: 'filtered'>
        >>> failure_of(503, b'{"error": {"message": "Loading model"}}', {}, "judge").kind
        <FailureKind.AWAY: 'away'>
    """
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    codes, words = _codes(content), _words(content, text)
    own_status = status
    if status == 200:
        # A proxy hides the status of the server behind it in the body.
        status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), 500)
    kind = _kind(status, codes, words.replace(model_name, "*"), hidden=own_status == 200)
    shown = words if len(words) <= _SHOWN else words[:_SHOWN] + "..."
    return Failure(kind, shown or "(empty)", own_status, retry_after(headers) if kind in _CAN_WAIT else None)


def is_finished_by_filter(choice: Mapping[str, Any]) -> bool:
    """Returns whether a content filter ended this choice of an answer with status 200.

    Example:
        >>> is_finished_by_filter({"finish_reason": "content_filter"}), is_finished_by_filter({"finish_reason": "stop"})
        (True, False)
    """
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason.lower() in _FINISHED_BY_FILTER:
        return True
    message = choice.get("message")
    return isinstance(message, Mapping) and bool(message.get("refusal"))


def is_error(content: Any) -> bool:
    """Returns whether the JSON body of a reply with status 200 is an error.

    Example:
        >>> is_error({"error": {"code": 429}}), is_error({"choices": [{}], "error": None})
        (True, False)
    """
    return not isinstance(content, Mapping) or bool(content.get("error")) or not content.get("choices")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns how many seconds a server asks to wait, from ``Retry-After`` as seconds or as an HTTP date.

    Example:
        >>> retry_after({"Retry-After": "1.5"}), retry_after({"retry-after-ms": "20"}), retry_after({})
        (1.5, 0.02, None)
    """
    named = {name.lower(): value for name, value in headers.items()}
    for name, seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (value := named.get(name)) is None:
            continue
        try:
            wait = float(value) * seconds
        except ValueError:
            try:
                wait = parsedate_to_datetime(value).timestamp() - time()
            except ValueError:
                continue
        if isfinite(wait):
            return max(0.0, wait)
    return None


_CAN_WAIT = {FailureKind.BUSY, FailureKind.AWAY, FailureKind.PASSING}


def _kind(status: int, codes: list[str], words: str, hidden: bool) -> FailureKind:
    named = " ".join(codes)
    words = words[:_READ]
    if status != 429 and status != 401 and _FILTER_CODE.search(named):
        return FailureKind.FILTERED
    about_setting = _ABOUT_A_SETTING.search(words) and not re.search(r"context", words, re.IGNORECASE)
    if status in _TOO_LONG_STATUS and not about_setting and _TOO_LONG.search(f"{named} {words}"):
        return FailureKind.TOO_LONG
    if status == 413:
        return FailureKind.TOO_LONG
    if status in _FILTER_STATUS and _ABOUT_THE_ACCOUNT.search(words):
        return FailureKind.REJECTED
    is_login = KEY_WORDS.search(words) or MODEL_WORDS.search(f"{named} {words}")
    if status == 451 or ((status in _FILTER_STATUS or hidden) and not is_login and _FILTER_WORDS.search(words)):
        return FailureKind.FILTERED
    if status == 429:
        return FailureKind.REJECTED if _UNPAID.search(f"{named} {words}") else FailureKind.BUSY
    if status == 503 and _LOADING.search(words):
        return FailureKind.AWAY
    if status in (502, 503, 504, 529):
        return FailureKind.BUSY if status == 529 else FailureKind.AWAY
    if status >= 500 and _LOGIN_WORDS_OF_5XX.search(f"{named} {words}"):
        return FailureKind.REJECTED
    if status in (408, 409, 425) or (status >= 500 and status != 501):
        return FailureKind.PASSING
    # A body that hides 400 or 422 may come from any server behind the proxy, so it can pass.
    return FailureKind.PASSING if hidden and status in (400, 422) else FailureKind.REJECTED


def _codes(content: Any) -> list[str]:
    """Returns the machine-readable codes of an error body, from the outside to the inside."""
    found: list[str] = []
    for part in _error_parts(content):
        for key in ("code", "type", "reason", "status", "block_reason", "blockReason", "finish_reason"):
            value = part.get(key)
            if isinstance(value, str | int) and not isinstance(value, bool):
                found.append(str(value))
    return found


def _error_parts(content: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yields the objects that describe the error; never the fields that repeat the request."""
    if isinstance(content, list):
        for entry in content[:3]:
            yield from _error_parts(entry, depth)
    elif isinstance(content, Mapping) and depth < 4:
        yield content
        inner = ("error", "innererror", "inner_error", "detail", "details", "metadata", "errors", "promptFeedback")
        for key in inner:
            yield from _error_parts(content.get(key), depth + 1)


def _words(content: Any, text: str) -> str:
    """Returns the message of an error body, or the visible text of a body that is not JSON."""
    messages: list[str] = []
    for part in _error_parts(content):
        for key in ("message", "error", "detail", "msg", "title", "raw", "error_description"):
            value = part.get(key)
            if isinstance(value, str) and value.strip() and value not in messages:
                messages.append(value.strip())
        if isinstance(reasons := part.get("reasons"), list):
            messages.append(", ".join(map(str, reasons)))
    if not messages:
        messages = [_TAGS.sub(" ", text)]
    codes = [code for code in _codes(content) if not code.isdecimal() and not any(code in text for text in messages)]
    named = f" ({', '.join(dict.fromkeys(codes))})" if codes and content is not None else ""
    return re.sub(r"\s+", " ", " ".join(messages)).strip() + named
