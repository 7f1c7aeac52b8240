"""A grader behind an OpenAI-compatible server, such as ``vllm serve``."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import nan
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import grade_of
from rbr.grading.prompt import Question, render_prompt

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

API_KEY = "RBR_GRADER_API_KEY"
"""Environment variable with the server's key, if it wants one."""

_TOP = 20  # The most that the protocol allows, so that rare spellings are still seen.
_REFUSED_KEY_OR_NAME = {401, 403, 404}

_log = logging.getLogger(__name__)


class OpenAIGrader:
    """Asks ``/chat/completions`` for one token with its likeliest alternatives.

    The server's chat template renders the prompt. Questions about one reply are sent one after another, so
    that a server with a prefix cache reads the reply once.

    Args:
        settings: `base_url` (ends in ``/v1`` as a rule), `model_name`, `yes`, `no`, `min_mass`, `few_shot`,
            `max_concurrency` requests in flight, `timeout_s` each, and `retries` after a lost connection, a
            status 429 or 5xx, with growing random pauses.

    Raises:
        InputError: The settings name no server.
    """

    def __init__(self, settings: "GraderSettings") -> None:
        if not settings.base_url or not settings.model_name:
            raise InputError(
                "the openai backend has no server",
                where="profile grader",
                hint="Set base_url and model_name.",
            )
        self._settings = settings
        self._url = settings.base_url.rstrip("/") + "/chat/completions"

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """See `rbr.grading.Grader.grade`.

        NaN where the server refused a request as malformed (a reply beyond its context), gave no usable
        log probabilities, or did not answer after all retries.

        Raises:
            InputError: The server refuses the key or the model's name, or answered not one request.
        """
        # A caller may be inside an event loop, where a second one cannot be started.
        with ThreadPoolExecutor(1) as own_thread:
            return own_thread.submit(asyncio.run, self._grade(conversations, questions, on_progress)).result()

    async def _grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None,
    ) -> NDArray[np.float64]:
        grades = np.full((len(conversations), len(questions)), np.nan)
        cells = iter([(row, column) for row in range(len(conversations)) for column in range(len(questions))])
        tally = _Tally(grades.size)

        async def work(client: httpx.AsyncClient, cells: Iterator[tuple[int, int]]) -> None:
            for row, column in cells:
                prompt = render_prompt(conversations[row], questions[column], self._settings.few_shot)
                grades[row, column] = await self._ask(client, prompt, tally)
                tally.done += 1
                if on_progress and tally.done % len(questions) == 0:
                    on_progress(tally.done // len(questions))

        async with self._client() as client:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(self._settings.max_concurrency, grades.size)):
                        workers.create_task(work(client, cells))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if tally.unanswered and tally.unanswered == tally.asked:
            raise InputError(f"no answer: {tally.reason}", where=self._url, hint="Check that the server runs.")
        return grades

    def _client(self) -> httpx.AsyncClient:
        key = os.environ.get(API_KEY)
        return httpx.AsyncClient(
            timeout=self._settings.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=self._settings.max_concurrency),
        )

    async def _ask(self, client: httpx.AsyncClient, prompt: str, tally: "_Tally") -> float:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_may_pass),
                stop=stop_after_attempt(self._settings.retries + 1),
                wait=wait_random_exponential(multiplier=0.25, max=20),
                reraise=True,
            ):
                with attempt:
                    response = await client.post(self._url, json=self._request(prompt))
                    response.raise_for_status()
        except httpx.HTTPStatusError as error:
            return self._without_answer(error, tally)
        except httpx.HTTPError as error:
            tally.unanswered += 1
            tally.reason = f"{type(error).__name__} {error}".strip()
            return nan
        return self._read(response)

    def _request(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self._settings.model_name,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": _TOP,
        }

    def _without_answer(self, error: httpx.HTTPStatusError, tally: "_Tally") -> float:
        status, text = error.response.status_code, error.response.text[:300]
        if status in _REFUSED_KEY_OR_NAME:
            raise InputError(
                f"the server answered {status}: {text}",
                where=self._url,
                hint=f"Check base_url, model_name and the key in {API_KEY}.",
            ) from error
        if status == 429 or status >= 500:
            tally.unanswered += 1
            tally.reason = f"status {status}: {text}"
        else:
            _log.warning("A grade is missing, the server refused its request with %s: %s", status, text)
        return nan

    def _read(self, response: httpx.Response) -> float:
        try:
            top = response.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            logprobs = {entry["token"]: float(entry["logprob"]) for entry in top}
        except (ValueError, LookupError, TypeError) as error:
            _log.warning("A grade is missing, the answer has no log probabilities: %r", error)
            return nan
        return grade_of(logprobs, set(self._settings.yes), set(self._settings.no), self._settings.min_mass)


class _Tally:
    """What became of the requests of one call."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self.done = 0
        self.unanswered = 0
        self.reason = ""


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
