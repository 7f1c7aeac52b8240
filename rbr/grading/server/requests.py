"""Writes the requests for one token and the probabilities of the likeliest tokens.

The endpoint ``chat`` takes messages, one prompt a request. The text that all questions about a reply share is written
as JSON once. The endpoint ``completions`` takes token ids, and all questions about a reply are one request.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from rbr.errors import InputError
from rbr.grading.server.token_prompts import PromptEncoder

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

PROMPTS_PER_REQUEST = 32
"""Largest number of prompts in a request to ``/completions``."""

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
"""Names of the field with the largest number of tokens of an answer, the usual one first."""

_OWN_FIELDS = {"model", "messages", "prompt", "logprobs", "top_logprobs", "stream", "n", "echo", "best_of"}


@dataclass(frozen=True)
class Dialect:
    """What differs between servers; the probe finds it out.

    Attributes:
        limit_field: Name of the field with the largest number of tokens, one of `LIMIT_FIELDS`.
        as_token_ids: Whether ``/completions`` is asked to name tokens by their ids.
        prompts_per_request: Largest number of prompts in a request to ``/completions``.

    Example:
        >>> Dialect().limit_field
        'max_tokens'
    """

    limit_field: str = LIMIT_FIELDS[0]
    as_token_ids: bool = True
    prompts_per_request: int = PROMPTS_PER_REQUEST


class Requests(Protocol):
    """Writes the requests of an endpoint.

    Attributes:
        path: Path of the endpoint.
        dialect: What differs between servers.

    Example:
        >>> def requests_about(requests: Requests, conversation: str, questions: list[str]) -> list[bytes]:
        ...     start = requests.start(conversation)
        ...     return [requests.body(start, [question]) for question in questions]
    """

    path: str
    dialect: Dialect

    @property
    def prompts_per_request(self) -> int:
        """Largest number of prompts in one request."""
        ...

    def start(self, conversation: str) -> Any:
        """Does once what all requests about a conversation share; `body` takes the result.

        Args:
            conversation: The first part of the prompt, as the prompt template renders it.
        """
        ...

    def body(self, start: Any, questions: Sequence[str]) -> bytes:
        """Writes the request for some questions about a conversation, as JSON.

        Args:
            start: The result of `start`.
            questions: The second part of each prompt; at most `prompts_per_request`.
        """
        ...


class ChatRequests:
    """Requests to ``/chat/completions``: messages, which the server's chat template renders.

    Args:
        settings: Section `grader` of a profile.
        dialect: What differs between servers.

    Raises:
        InputError: `extra_body` sets a field that the grader sets itself.

    Example:
        >>> from rbr.profile import load_profile
        >>> requests = ChatRequests(load_profile("profiles/gpu.yaml").grader)
        >>> body = json.loads(requests.body(requests.start("Hi. "), ["Is it a greeting?"]))
        >>> body["messages"], body["max_tokens"]
        ([{'role': 'user', 'content': 'Hi. Is it a greeting?'}], 1)
    """

    path = "/chat/completions"
    prompts_per_request = 1

    def __init__(self, settings: "GraderSettings", dialect: Dialect = Dialect()) -> None:
        self.dialect = dialect
        fields: dict[str, Any] = {"logprobs": True, "top_logprobs": settings.top_logprobs}
        if settings.chat_template_kwargs:
            fields["chat_template_kwargs"] = settings.chat_template_kwargs
        fields = _with_extra_fields(fields, settings, dialect)
        self._head = b'{"model":' + _json(settings.model_name) + b',"messages":[{"role":"user","content":"'
        self._tail = b'"}],' + _json(fields)[1:]

    def start(self, conversation: str) -> bytes:
        """Returns the beginning of the JSON, up to the question."""
        return self._head + _json(conversation)[1:-1]

    def body(self, start: bytes, questions: Sequence[str]) -> bytes:
        """Writes the request for one question."""
        (question,) = questions
        return start + _json_text(question) + self._tail


class CompletionsRequests:
    """Requests to ``/completions``: lists of token ids, which no server encodes in its own way.

    Args:
        settings: Section `grader` of a profile.
        encoder: Encodes the prompts.
        dialect: What differs between servers.

    Raises:
        InputError: `extra_body` sets a field that the grader sets itself.

    Example:
        >>> def first_request(settings, encoder):
        ...     requests = CompletionsRequests(settings, encoder)
        ...     return requests.body(requests.start("Hi. "), ["Is it a greeting?", "Is it an insult?"])
    """

    path = "/completions"

    def __init__(
        self,
        settings: "GraderSettings",
        encoder: PromptEncoder,
        dialect: Dialect = Dialect(),
    ) -> None:
        self.dialect = dialect
        self._encoder = encoder
        fields: dict[str, Any] = {"logprobs": settings.top_logprobs}
        if dialect.as_token_ids:
            fields["return_tokens_as_token_ids"] = True
        fields = _with_extra_fields(fields, settings, dialect)
        self._head = b'{"model":' + _json(settings.model_name) + b',"prompt":'
        self._tail = b"," + _json(fields)[1:]

    @property
    def prompts_per_request(self) -> int:
        """Largest number of prompts in one request."""
        return self.dialect.prompts_per_request

    def start(self, conversation: str) -> str:
        """Returns the text itself: a tokenizer can join the texts at the seam, so each prompt is encoded whole."""
        return conversation

    def body(self, start: str, questions: Sequence[str]) -> bytes:
        """Writes one request for all these questions."""
        ids = self._encoder.encode([start + question for question in questions])
        return self._head + _json(ids) + self._tail


def _with_extra_fields(fields: dict[str, Any], settings: "GraderSettings", dialect: Dialect) -> dict[str, Any]:
    extra = settings.extra_body
    if own := sorted(_OWN_FIELDS & extra.keys()):
        raise InputError(
            f"extra_body sets `{own[0]}`, which the grader sets itself",
            where="grader.extra_body",
            hint="Remove the field. top_logprobs, model_name and the prompt template are settings of their own.",
        )
    if not any(name in extra for name in LIMIT_FIELDS):
        fields[dialect.limit_field] = 1
    return {**fields, "temperature": 0, **extra}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@lru_cache(maxsize=1024)
def _json_text(text: str) -> bytes:
    return _json(text)[1:-1]
