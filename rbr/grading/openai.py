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
from rbr.grading.answers import p_yes_from_logprobs
from rbr.grading.prompt import Question, render_prompt

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

API_KEY_VARIABLE = "RBR_GRADER_API_KEY"
"""Environment variable with the API key of the server, if the server needs one."""

_TOP_LOGPROBS = 20  # The largest number that the API allows, so that rare spellings are included.
_WRONG_KEY_OR_MODEL_NAME = {401, 403, 404}

_log = logging.getLogger(__name__)


class OpenAIGrader:
    """A grader that asks ``/chat/completions`` for one token and the most probable tokens' log probabilities.

    The server's chat template renders the prompt. The grader starts all requests about a reply before those about the
    next reply, so that a server with a prefix cache can reuse its work on the reply.

    Args:
        settings: Section `grader` of a profile. `base_url` usually ends in ``/v1``. At most `max_concurrency` requests
            run at the same time. A request is sent again up to `retries` times, with growing random pauses, if the
            connection is lost, a timeout expires or the status is 429 or 5xx.

    Raises:
        InputError: `base_url` or `model_name` is missing.

    Example:
        >>> from rbr.profile import load_profile
        >>> grader = OpenAIGrader(load_profile("profiles/gpu.yaml").grader)
        >>> grader.grade(conversations, questions)  # doctest: +SKIP
    """

    def __init__(self, settings: "GraderSettings") -> None:
        if not settings.base_url or not settings.model_name:
            raise InputError(
                "the openai backend needs base_url and model_name",
                where="grader",
                hint="Set grader.base_url and grader.model_name in the profile.",
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

        A grade is NaN if P(yes) + P(no) is below `min_mass`, or if the server rejected the request (for example, if the
        reply exceeds the context), returned no usable log probabilities, or did not answer after all retries.

        Raises:
            InputError: The server rejected the API key, the address or the model's name, or no request succeeded.
        """
        # The caller may run inside an event loop, and a thread cannot run two event loops.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, self._grade(conversations, questions, on_progress)).result()

    async def _grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None,
    ) -> NDArray[np.float64]:
        grades = np.full((len(conversations), len(questions)), np.nan)
        # All workers share one iterator, so the requests start in the order of conversations, then questions.
        cells = iter([(row, column) for row in range(len(conversations)) for column in range(len(questions))])
        counts = _RequestCounts(sent=grades.size)

        async def work(client: httpx.AsyncClient, cells: Iterator[tuple[int, int]]) -> None:
            for row, column in cells:
                prompt = render_prompt(conversations[row], questions[column], self._settings.few_shot)
                grades[row, column] = await self._ask(client, prompt, counts)
                counts.done += 1
                if on_progress and counts.done % len(questions) == 0:
                    on_progress(counts.done // len(questions))

        async with self._client() as client:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(self._settings.max_concurrency, grades.size)):
                        workers.create_task(work(client, cells))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if counts.unanswered and counts.unanswered == counts.sent:
            raise InputError(
                f"no request succeeded: {counts.last_failure}",
                where=self._url,
                hint="Check that the server runs and that grader.base_url is its address.",
            )
        return grades

    def _client(self) -> httpx.AsyncClient:
        key = os.environ.get(API_KEY_VARIABLE)
        return httpx.AsyncClient(
            timeout=self._settings.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=self._settings.max_concurrency),
        )

    async def _ask(self, client: httpx.AsyncClient, prompt: str, counts: "_RequestCounts") -> float:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_transient),
                stop=stop_after_attempt(self._settings.retries + 1),
                wait=wait_random_exponential(multiplier=0.25, max=20),
                reraise=True,
            ):
                with attempt:
                    response = await client.post(self._url, json=self._request(prompt))
                    response.raise_for_status()
        except httpx.HTTPStatusError as error:
            return self._grade_of_failed_request(error, counts)
        except httpx.HTTPError as error:
            counts.unanswered += 1
            counts.last_failure = f"{type(error).__name__} {error}".strip()
            return nan
        return self._read(response)

    def _request(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self._settings.model_name,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": _TOP_LOGPROBS,
        }

    def _grade_of_failed_request(self, error: httpx.HTTPStatusError, counts: "_RequestCounts") -> float:
        status, text = error.response.status_code, error.response.text[:300]
        if status in _WRONG_KEY_OR_MODEL_NAME:
            raise InputError(
                f"the server answered {status}: {text}",
                where=self._url,
                hint=f"Check grader.base_url, grader.model_name and the environment variable {API_KEY_VARIABLE}.",
            ) from error
        if status == 429 or status >= 500:
            counts.unanswered += 1
            counts.last_failure = f"status {status}: {text}"
        else:
            _log.warning("A grade is missing: the server rejected the request with status %s: %s", status, text)
        return nan

    def _read(self, response: httpx.Response) -> float:
        try:
            top = response.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            logprobs = {entry["token"]: float(entry["logprob"]) for entry in top}
        except (ValueError, LookupError, TypeError) as error:
            _log.warning("A grade is missing: the answer has no log probabilities: %r", error)
            return nan
        # Not sets: their order, and so the rounding of the sums, would differ between processes.
        yes, no = (dict.fromkeys(spellings) for spellings in (self._settings.yes, self._settings.no))
        return p_yes_from_logprobs(logprobs, yes, no, self._settings.min_mass)


class _RequestCounts:
    """Request counts of one call of `grade`.

    Attributes:
        sent: Number of requests that the call needs.
        done: Number of finished requests, with or without an answer.
        unanswered: Number of requests that failed after all retries.
        last_failure: Why the last unanswered request failed.
    """

    def __init__(self, sent: int) -> None:
        self.sent = sent
        self.done = 0
        self.unanswered = 0
        self.last_failure = ""


def _is_transient(error: BaseException) -> bool:
    """Returns whether the request may succeed if it is sent again."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
