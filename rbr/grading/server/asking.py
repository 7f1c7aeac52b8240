"""Sends a request until it is answered, or until it is clear that it will not be."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from rbr.grading.answers import Answer
from rbr.grading.server.connection import Connection
from rbr.grading.server.failures import MAY_PASS, Failure, FailureKind, failure_of, is_error
from rbr.grading.server.patience import FAILURES_BEFORE_POLLING, Patience

Result = TypeVar("Result")

MAX_TRIES = 12
"""How often a request is sent that fails with an error. If a third of all requests fail at random, one of half a
million fails so often. Rate limits and refused connections do not count: they say nothing about this request."""

MAX_TIMEOUTS = 2
"""How often a request is sent that times out, if no other request is answered meanwhile. A slow server must not do the
same work again and again."""


class Asker:
    """Sends the requests of one call of `grade`.

    Args:
        connection: Connections to the server.
        patience: Decides when a request may start.
        model_name: The model's name, which the server's messages may repeat.
        timeout_s: Timeout of a request, in seconds.
        on_back: Called with the first answer after nobody answered: it may be another server. The argument says whether
            the server was away, and did not only lose a request. Returns False if nobody answers again: the answer was
            older.
        may_load: Whether nobody knows yet that the model is loaded. A server can load the model for minutes on its
            first request, so a timeout is then a wait for the server.

    Attributes:
        lists_models: Whether ``GET /models`` says if the server is up. A gateway may pass on questions only.

    Example:
        >>> async def first_choice(asker, body):
        ...     reply = await asker.ask("/chat/completions", body)
        ...     return reply if isinstance(reply, Failure) else reply["choices"][0]
    """

    def __init__(
        self,
        connection: Connection,
        patience: Patience,
        model_name: str,
        timeout_s: float,
        on_back: Callable[[bool], Awaitable[bool]] | None = None,
        may_load: bool = False,
    ) -> None:
        self.connection = connection
        self.patience = patience
        self._model_name = model_name
        self._timeout_s = timeout_s
        self.lists_models = True
        self._on_back = on_back
        self._may_load = may_load
        self._n_absences = 0  # Number of times that nobody answered.
        self._n_checked = 0  # So many of them were before the last check who answers.
        self._was_away = False
        self._check = asyncio.Lock()

    @property
    def may_be_another(self) -> bool:
        """Whether nobody has answered, and it was not checked since who answers."""
        return self._n_checked < self._n_absences

    async def ask(
        self, path: str, body: bytes, is_stopped: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Any] | Failure:
        """Sends a request, and sends it again while the failure may pass.

        Args:
            path: Path of the endpoint, such as ``/chat/completions``.
            body: The request, as JSON.
            is_stopped: Whether the call has ended, so that nothing may be sent any more.

        Returns:
            The JSON of the answer, or the last failure.
        """
        return await self.ask_and_read(path, body, lambda content: content, is_stopped)

    async def ask_and_read(
        self,
        path: str,
        body: bytes,
        read: Callable[[Mapping[str, Any]], Result | Failure],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Result | Failure:
        """Sends a request, and sends it again while the failure may pass, or the answer cannot be read.

        Args:
            path: Path of the endpoint, such as ``/chat/completions``.
            body: The request, as JSON.
            read: Reads the JSON of an answer. An exception counts as a failure that may pass.
            is_stopped: Whether the call has ended, so that nothing may be sent any more.

        Returns:
            What `read` returns, or the last failure.
        """
        tries = timeouts = tries_while_others_work = 0
        n_answered = self.patience.n_answered
        failure: Failure | None = None
        while True:
            await self.patience.enter()
            try:
                if is_stopped() or (self.patience.is_over and failure is not None):
                    return failure or Failure(FailureKind.PASSING, "not asked")
                if self.patience.is_over:
                    return Failure(FailureKind.AWAY, "not asked, because the server stayed away")
                sent_at = time.monotonic()
                content = await self.send(path, body)
                answer = content if isinstance(content, Failure) else self._redacted(_read_safely(read, content))
                if self.may_be_another and not isinstance(answer, Failure):
                    await self._check_restart()
                    if is_stopped():
                        return Failure(FailureKind.PASSING, "not asked")
                if not isinstance(answer, Failure) or answer.kind not in MAY_PASS:
                    self._may_load = False
                    self.patience.answered()
                    return answer
                failure = answer
                self.patience.failed(sent_at)
                if content is failure and failure.status in _NOBODY:
                    self._n_absences += 1
                    is_refused = failure.kind is FailureKind.AWAY and failure.status is None
                    self._was_away |= is_refused or self.patience.failures_in_a_row >= FAILURES_BEFORE_POLLING
                if failure.kind in (FailureKind.BUSY, FailureKind.AWAY, FailureKind.TIMEOUT):
                    self.patience.slow_down(sent_at)
            finally:
                self.patience.leave()
            others_work = self.patience.n_answered > n_answered
            n_answered = self.patience.n_answered
            timed_out = failure.kind is FailureKind.TIMEOUT and not self._may_load
            timeouts = 0 if others_work else timeouts + timed_out
            if failure.status not in (None, 429) or failure.kind is FailureKind.PASSING or timed_out:
                tries += 1
                tries_while_others_work += others_work
            if self.patience.is_over or timeouts >= MAX_TIMEOUTS:
                return failure
            if tries >= MAX_TRIES:
                return replace(failure, others_answered=2 * tries_while_others_work > tries)
            await self._wait(failure, max(tries, 1))

    async def send(self, path: str, body: bytes) -> Mapping[str, Any] | Failure:
        """Sends a request once, and returns the JSON of the answer or the failure."""
        reply = await self.connection.post(path, body)
        if isinstance(reply, Failure):
            return reply
        try:
            if reply.status == 200 and not is_error(content := reply.json()):
                return content
            failure = failure_of(reply.status, reply.body, reply.headers, self._model_name)
        except Exception as error:  # noqa: BLE001  # One reply must not take the answers of the others with it.
            words = f"the reply cannot be read: {type(error).__name__}"
            return Failure(FailureKind.PASSING, words, reply.status)
        words = f"an error instead of an answer: {failure.words}" if reply.status == 200 else failure.words
        return self._redacted(replace(failure, words=words))

    async def is_up(self) -> bool:
        """Asks ``/models`` whether somebody answers at the address."""
        reply = await self.connection.get("/models", timeout_s=min(self._timeout_s, 10.0))
        if isinstance(reply, Failure):
            is_up = reply.kind is FailureKind.TIMEOUT and not self.lists_models
        else:
            is_up = reply.status not in _NOBODY or not self.lists_models
        if not is_up:
            self.patience.failed()
        return is_up

    async def _check_restart(self) -> None:
        """Asks who answers after nobody did, before the first answer is taken: only then the server is ready."""
        async with self._check:
            n_absences, was_away = self._n_absences, self._was_away
            if not self.may_be_another:
                return
            self._was_away = False
            if self._on_back is None or await self._on_back(was_away):
                self._n_checked = n_absences
            else:
                self._was_away |= was_away

    def _redacted(self, found: Any) -> Any:
        """Returns a failure, or the answers to some questions, without the key: a server can repeat it in any field."""
        redact = self.connection.address.redact
        if isinstance(found, list):
            return [self._redacted(answer) for answer in found]
        if isinstance(found, Failure):
            return replace(found, words=redact(found.words))
        if isinstance(found, Answer) and found.reason:
            return replace(found, reason=redact(found.reason))
        return found

    async def _wait(self, failure: Failure, tries: int) -> None:
        """Waits before a request is sent again: alone, or together with all others."""
        patience, name = self.patience, self.connection.address.base_url
        refused = failure.kind is FailureKind.AWAY and (failure.status is None or "load" in failure.words.lower())
        if failure.retry_after is not None and patience.can_wait(failure.retry_after):
            why = f"the server at {name} asks to wait"
            patience.pause(max(failure.retry_after, patience.first_pause), why)
        elif refused or (failure.kind is FailureKind.AWAY and patience.failures_in_a_row >= FAILURES_BEFORE_POLLING):
            await patience.wait_for_server(self.is_up, name)
        elif failure.kind is FailureKind.BUSY and patience.failures_in_a_row >= FAILURES_BEFORE_POLLING:
            patience.pause(patience.common_backoff(), f"the server at {name} is busy")
        else:
            patience.tell_if_long(f"the server at {name} does not answer ({failure})")
            await asyncio.sleep(patience.backoff(tries))


def _read_safely(read: Callable[[Mapping[str, Any]], Result | Failure], content: Mapping[str, Any]) -> Result | Failure:
    try:
        return read(content)
    except Exception as error:  # noqa: BLE001  # One reply must not take the answers of the others with it.
        return Failure(FailureKind.PASSING, f"the answer cannot be read: {type(error).__name__}: {error}"[:_SHOWN])


_SHOWN = 200  # characters of an exception
_NOBODY = (None, 502, 503, 504)  # No reply, or the reply of a proxy without a server behind it.
