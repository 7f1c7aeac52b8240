"""Says what kind of failure a server's reply is: each server and proxy says the same thing in its own words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from time import time
from typing import Any

from rbr.grading.server import failure_words as known
from rbr.grading.server.error_body import MINIMAX_FIELDS, codes_of, has_verdict, message_of

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
        PASSING: An error that may pass: 5xx, a lost connection, a body that is not an answer.
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


MAY_PASS = {FailureKind.BUSY, FailureKind.AWAY, FailureKind.PASSING, FailureKind.TIMEOUT}
"""Kinds of failures that can end while the client waits."""


@dataclass(frozen=True)
class Failure:
    """A reply that is not an answer, or the reason why there is no reply.

    Attributes:
        kind: What kind of failure it is.
        words: The server's own words, or ours if there was no reply.
        status: HTTP status; None if there was no reply.
        retry_after: Seconds that the server asks to wait; None if it does not say.
        others_answered: Whether the server answered other requests between most tries of this one.
        is_unexplained: Whether the API forbids the request and does not say why: a filter may have rejected it.

    Example:
        >>> str(Failure(FailureKind.BUSY, "slow down", status=429))
        'the server answered 429: slow down'
    """

    kind: FailureKind
    words: str
    status: int | None = None
    retry_after: float | None = None
    others_answered: bool = False
    is_unexplained: bool = False

    def __str__(self) -> str:
        return self.words if self.status is None else f"the server answered {self.status}: {self.words}"


# Proxies answer 400 or 500 to a wrong key or name. "No connected db." is LiteLLM's word for a key it does not know.
KEY_WORDS = re.compile(
    r"no connected db|authentication|unauthori[sz]ed|(invalid|incorrect|wrong|missing|no|expired|unknown|malformed)"
    r" (proxy )?(api|access|virtual)?[ _-]?(key|token)\b(?! (prob|limit|count|id))|api[ _-]?key\b(?! id\b)"
    r"|permission denied",
    re.IGNORECASE,
)
MODEL_WORDS = re.compile(
    r"invalid model|model_not_found|model not found|unknown model|no such model|not a valid model|unsupported model"
    r"|model[^.\n]{0,120}(does ?n[o']t exist|not exist|not found|not available|not supported|no longer|not loaded)"
    r"|no (healthy )?deployments? (available|found)|valid aliases|there are no healthy deployments",
    re.IGNORECASE,
)


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
    if 300 <= status < 400:
        return Failure(FailureKind.REJECTED, f"a redirect to {headers.get('Location', 'nowhere')}"[:_SHOWN], status)
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    kind, words = _kind_and_words(status, content, text, model_name)
    shown = words if len(words) <= _SHOWN else words[:_SHOWN] + "..."
    is_forbidden = status == 403 and kind is FailureKind.REJECTED and content is not None
    return Failure(
        kind,
        shown or "(empty)",
        status,
        retry_after(headers) if kind in _CAN_WAIT else None,
        is_unexplained=is_forbidden and not _explains_forbidden(words),
    )


def failure_of_choice(choice: Mapping[str, Any]) -> Failure | None:
    """Returns the failure that a choice of an answer with status 200 reports; None if it reports none.

    The failure is `FailureKind.FILTERED` if a content filter ended the answer, and else `FailureKind.PASSING`.

    Example:
        >>> failure_of_choice({"finish_reason": "content_filter"}).kind
        <FailureKind.FILTERED: 'filtered'>
        >>> failure_of_choice({"finish_reason": "stop"}) is None
        True
    """
    message = choice.get("message")
    if isinstance(message, Mapping) and message.get("refusal"):
        return Failure(FailureKind.FILTERED, str(message["refusal"])[:_SHOWN])
    for name in ("finish_reason", "native_finish_reason"):
        reason = choice.get(name)
        if isinstance(reason, str) and known.FINISHED_BY_FILTER.match(reason.strip()):
            return Failure(FailureKind.FILTERED, f"{name} {reason}")
    if has_verdict(choice):
        return Failure(FailureKind.FILTERED, "the content filter's results of the answer say filtered")
    if error := choice.get("error"):
        kind, words = _kind_and_words(200, {"error": error}, str(error), "")
        kind = kind if kind is FailureKind.FILTERED else FailureKind.PASSING
        return Failure(kind, f"an error instead of an answer: {words[:_SHOWN]}")
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason.lower() in known.FINISHED_BY_FAULT:
        return Failure(FailureKind.PASSING, f"the server broke the answer off: finish_reason {reason}")
    return None


def is_error(content: Any) -> bool:
    """Returns whether the JSON body of a reply with status 200 is an error.

    Example:
        >>> is_error({"error": {"code": 429}}), is_error({"choices": [{}], "error": None})
        (True, False)
    """
    if not isinstance(content, Mapping) or content.get("error") or not content.get("choices"):
        return True
    return has_verdict({name: content.get(name) for name in MINIMAX_FIELDS})


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


def _kind_and_words(status: int, content: Any, text: str, model_name: str) -> tuple[FailureKind, str]:
    codes, message = codes_of(content), message_of(content, text)
    is_hidden = status == 200
    if is_hidden:
        # A proxy hides the status of the server behind it in the body.
        status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), 0)
    message = message[:_READ]
    said = message.replace(model_name, "*") if model_name else message
    kind = FailureKind.FILTERED if has_verdict(content) else _kind(status, codes, said, is_hidden, content is None)
    if not message:
        return kind, text[:_READ].strip()
    named = [code for code in codes if not code.isdecimal() and code not in message]
    return kind, message + (f" ({', '.join(dict.fromkeys(named))})" if named and content is not None else "")


def _kind(status: int, codes: list[str], message: str, is_hidden: bool, is_page: bool) -> FailureKind:
    """Returns the kind of a failure.

    Args:
        status: HTTP status, or the one in the body of a reply with status 200; 0 if that body names none.
        codes: Machine-readable codes.
        message: The server's words.
        is_hidden: Whether the status is in the body of a reply with status 200.
        is_page: Whether the body is not JSON, such as the page of a proxy or a firewall.
    """
    words = f"{message} ({' '.join(codes)})"
    is_passing = status in known.PASSING_STATUS or status >= 500
    # What is stored must be sure. First comes what rules out that the reply is about this conversation.
    is_unpaid = known.UNPAID.search(words)
    if status != 429 and not is_passing and (is_unpaid or known.RATE.search(words)):
        return FailureKind.REJECTED if is_unpaid or known.LASTING_RATE.search(words) else FailureKind.BUSY
    if status != 401 and not known.ABOUT_THE_ACCOUNT.search(message) and _is_verdict(status, codes, message, is_page):
        return FailureKind.FILTERED
    about_setting = known.ABOUT_A_SETTING.search(words) and not re.search(r"context", words, re.IGNORECASE)
    is_about_length = status != 413 or known.ABOUT_LENGTH.search(words)
    if status in known.TOO_LONG_STATUS and is_about_length and not about_setting and known.TOO_LONG.search(words):
        return FailureKind.TOO_LONG
    if status == 429:
        return FailureKind.REJECTED if is_unpaid else FailureKind.BUSY
    if status == 503 and known.LOADING.search(message):
        return FailureKind.AWAY
    if status in (502, 503, 504, 529):
        return FailureKind.BUSY if status == 529 else FailureKind.AWAY
    if (status >= 500 or is_hidden) and known.LOGIN_WORDS_OF_5XX.search(words):
        return FailureKind.REJECTED
    # A body that hides no status, 400 or 422 may come from any server behind the proxy, so it can pass.
    if (is_passing and status not in (404, 501)) or (is_hidden and status in (0, 400, 422)):
        return FailureKind.PASSING
    is_login = KEY_WORDS.search(words) or MODEL_WORDS.search(words)
    may_pass = (
        (known.MAY_PASS.search(words) or known.PROVIDER_FAILED.search(words))
        and not is_login
        and status not in (401, 402)
    )
    return FailureKind.PASSING if may_pass else FailureKind.REJECTED


def _explains_forbidden(words: str) -> bool:
    is_about_sender = known.ABOUT_THE_ACCOUNT.search(words) or known.ABOUT_THE_RIGHTS.search(words)
    return bool(is_about_sender or KEY_WORDS.search(words) or MODEL_WORDS.search(words))


def _is_verdict(status: int, codes: list[str], message: str, is_page: bool) -> bool:
    """Returns whether a content filter has judged the conversation, and not failed itself."""
    is_named = known.VERDICT_WORDS.search(message) or any(
        re.sub(r"[\W_]", "", code.lower()) in known.VERDICT_CODES for code in codes
    )
    if known.MAY_PASS.search(message):
        return False
    if status in known.PASSING_STATUS or status >= 500:
        return bool(is_named) and not known.FAULT.search(message)
    if is_named or status in known.VERDICT_STATUS:
        return True
    sure_codes = [
        code for code in codes if not (known.FAULT.search(code) or known.MAY_PASS.search(code)) or "inspection" in code
    ]
    if any(known.FILTER_CODES.search(code) for code in sure_codes):
        return True
    # A page is a firewall's: it speaks of a policy, but not of the conversation.
    is_login = KEY_WORDS.search(message) or MODEL_WORDS.search(f"{' '.join(codes)} {message}")
    is_sure = not is_page and not is_login and (status in known.FILTER_STATUS or status == 0)
    return is_sure and bool(known.FILTER_WORDS.search(message))
