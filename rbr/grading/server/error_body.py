"""Finds the codes, the words and the verdict of a filter in the body of a reply, in the formats of the servers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_NO_BLOCK_REASON = re.compile(r"|.*(other|unspecified|unknown|none)", re.IGNORECASE)
_INNER = (
    "error", "innererror", "inner_error", "detail", "details", "metadata", "errors", "promptFeedback",
    "prompt_feedback", "prompt_filter_results", "base_resp",
)  # fmt: skip
MINIMAX_FIELDS = ("input_sensitive", "output_sensitive", "base_resp")
"""Fields by which MiniMax says, in a reply with status 200, that its filter rejected the prompt or the answer."""

_MINIMAX_VERDICTS = (1026, 1027)  # the prompt, the answer
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def has_verdict(content: Any) -> bool:
    """Returns whether the fields of a reply say that a filter blocked the prompt or the answer.

    Args:
        content: The body of a reply, or a choice of its answer.

    Example:
        >>> has_verdict({"promptFeedback": {"blockReason": "BLOCKLIST"}})
        True
    """
    for part in _error_parts(content):
        for name in ("blockReason", "block_reason"):
            reason = part.get(name)
            if isinstance(reason, str) and not _NO_BLOCK_REASON.fullmatch(reason):
                return True
        if part.get("input_sensitive") is True or part.get("output_sensitive") is True:
            return True
        if isinstance(part.get("base_resp"), Mapping) and part["base_resp"].get("status_code") in _MINIMAX_VERDICTS:
            return True
        for name in ("content_filter_results", "content_filter_result"):
            results = part.get(name)
            found = results.values() if isinstance(results, Mapping) else ()
            if any(isinstance(result, Mapping) and result.get("filtered") is True for result in found):
                return True
    return False


def codes_of(content: Any) -> list[str]:
    """Returns the machine-readable codes of an error body, from the outside to the inside.

    Example:
        >>> codes_of({"error": {"code": 429, "type": "tokens"}})
        ['429', 'tokens']
    """
    found: list[str] = []
    for part in _error_parts(content):
        for key in ("code", "type", "reason", "status", "finish_reason"):
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
        for key in _INNER:
            yield from _error_parts(content.get(key), depth + 1)


def message_of(content: Any, text: str) -> str:
    """Returns the message of an error body, or the visible text of a body that is not JSON; empty if there is none.

    Args:
        content: The body as JSON; None if it is not JSON.
        text: The body as text.

    Example:
        >>> message_of({"error": {"message": "Slow down"}}, ""), message_of(None, "<h1>Bad  Gateway</h1>")
        ('Slow down', 'Bad Gateway')
    """
    messages: list[str] = []
    for part in _error_parts(content):
        for key in ("message", "error", "detail", "msg", "title", "raw", "error_description", "status_msg"):
            value = part.get(key)
            if isinstance(value, str) and value.strip() and value not in messages:
                messages.append(value.strip())
        if isinstance(reasons := part.get("reasons"), list):
            messages.append(", ".join(map(str, reasons)))
    if not messages and content is None:
        messages = [_TAGS.sub(" ", text)]
    return re.sub(r"\s+", " ", " ".join(messages)).strip()
