"""Tries the settings with harmless questions, before the first question of a run is asked."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import Answer, Outcome
from rbr.grading.prompt import JudgePrompt, Question
from rbr.grading.server.address import Address
from rbr.grading.server.advice import OTHER_MODEL, is_about_alternatives, is_about_limit, largest_number, problem_of
from rbr.grading.server.asking import Asker
from rbr.grading.server.failures import Failure, FailureKind
from rbr.grading.server.first_token import THINKING, hint_of_first_tokens
from rbr.grading.server.requests import LIMIT_FIELDS, Dialect, Requests
from rbr.grading.server.responses import AnswerReader, Choice, read_choices
from rbr.grading.server.served_models import Listing, is_name_of, read_listing

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

MakeRequests = Callable[["GraderSettings", Dialect], Requests]

_QUESTIONS = (
    Question("greeting", "Does the last reply contain a greeting?"),
    Question("apology", "Does the last reply contain an apology?"),
)
_REPLIES = (("Hello.", "Good morning."), ("What is two plus two?", "I'm sorry, but I don't know."))
_CONVERSATIONS: list[Conversation] = [
    [{"role": "user", "content": said}, {"role": "assistant", "content": reply}] for said, reply in _REPLIES
]
_FEWER = 2  # Servers that list tokens by their text merge a few of equal text.
_GUESSES = (20, 10, 5, 3, 1)  # numbers of alternatives that servers allow
_LISTING_TRIES = 5  # If a third of all requests fail at random, one of 240 listings is not read.
_NOT_A_NUMBER = re.compile(r'(?<!\\)": NaN\b')

_log = logging.getLogger(__name__)


class Probe:
    """Finds out how to ask a server, and stops if the settings cannot work.

    Args:
        settings: Section `grader` of a profile.
        prompt: The compiled prompt template.
        make_requests: Makes the requests of the endpoint, for settings and a dialect.
        reader: Reads the answers.
        address: Address of the server.

    Attributes:
        answered_by: Name of the model that answered, by its own words; empty if the server does not say it.
        warnings: What is unusual about a server that answers.

    Example:
        >>> async def open_requests(probe: Probe, asker: Asker):
        ...     requests = await probe.run(asker)
        ...     return requests.dialect, probe.answered_by
    """

    def __init__(
        self,
        settings: "GraderSettings",
        prompt: JudgePrompt,
        make_requests: MakeRequests,
        reader: AnswerReader,
        address: Address,
    ) -> None:
        self._settings = settings
        self._prompt = prompt
        self._make_requests = make_requests
        self._reader = reader
        self._address = address
        self.answered_by = ""
        self.warnings: tuple[str, ...] = ()
        self._has_nan = False
        self._keeps_its_list = False

    async def run(self, asker: Asker) -> Requests:
        """Asks the questions until one answer is enough, and returns the requests that the server understands.

        Raises:
            InputError: The server is away, rejects the requests, or does not answer with yes or no. The error contains
                the server's own words, and the setting to change.
        """
        self._has_nan = False
        requests, first = await self._first_choices(asker)
        choices = await self._choices_until_readable(asker, requests, first)
        self._check(choices)
        self.answered_by = first[0].model
        return requests

    async def listing(self, asker: Asker) -> Listing | Failure:
        """Reads which models the server lists. Call it after an answer, so that the server is ready.

        Returns:
            The list; a failure if it stays unreadable, or if nobody answers any more.
        """
        for number in range(1, 2 if self._keeps_its_list else _LISTING_TRIES + 1):
            listing = await read_listing(asker.connection, self._settings)
            if isinstance(listing, Listing):
                break
            if listing.kind is FailureKind.TIMEOUT or (listing.kind is FailureKind.AWAY and listing.status is None):
                break
            await asyncio.sleep(asker.patience.backoff(number))
        if isinstance(listing, Failure) and not is_nobody(listing) and not self._keeps_its_list:
            what = "The server at %s does not say which model it has, so nothing is compared (GET /models: %s)."
            _log.warning(what, self._address.base_url, self._address.redact(str(listing)))
        self._keeps_its_list = isinstance(listing, Failure) and listing.kind is FailureKind.REJECTED
        asker.lists_models = isinstance(listing, Listing) or is_nobody(listing)
        return listing

    async def still_works(self, asker: Asker, requests: Requests, check_model: bool = False) -> Failure | None:
        """Asks one question again, and returns the failure if the server does not answer it any more.

        If the patience is over, the question is sent only once.

        Args:
            asker: Sends the question.
            requests: Writes the question.
            check_model: Whether an answer by another model is a failure.
        """
        body = self._body(requests, 0, _QUESTIONS[:1])
        is_over = asker.patience.is_over
        reply = await (asker.send(requests.path, body) if is_over else asker.ask(requests.path, body))
        if isinstance(reply, Failure):
            return reply
        asker.patience.answered()
        model = reply.get("model")
        if check_model and self.answered_by and model and model != self.answered_by:
            return Failure(FailureKind.REJECTED, f"{OTHER_MODEL}: {model!r}, not {self.answered_by!r}")
        return None

    async def _first_choices(self, asker: Asker) -> tuple[Requests, list[Choice]]:
        """Tries one request after another until the server understands one."""
        dialect, tried = Dialect(), set[Dialect]()
        while True:
            requests = self._make_requests(self._settings, dialect)
            questions = _QUESTIONS[: requests.prompts_per_request]
            reply = await asker.ask(requests.path, self._body(requests, 0, questions))
            tried.add(dialect)
            choices = self._read(reply, len(questions))
            if not isinstance(choices, Failure):
                return requests, choices
            others = [other for other in _other_dialects(dialect, requests, choices) if other not in tried]
            if not others:
                raise await self._problem(asker, choices, dialect)
            dialect = others[0]

    async def _choices_until_readable(self, asker: Asker, requests: Requests, first: list[Choice]) -> list[Choice]:
        choices = list(first)
        for number in range(len(_CONVERSATIONS)):
            step = requests.prompts_per_request
            for start in range(0, len(_QUESTIONS), step):
                if any(self._is_readable(choice) and not choice.is_one_hot for choice in choices):
                    return choices
                if number == start == 0:
                    continue
                questions = _QUESTIONS[start : start + step]
                reply = await asker.ask(requests.path, self._body(requests, number, questions))
                more = self._read(reply, len(questions))
                if not isinstance(more, Failure):
                    choices += more
        return choices

    def _read(self, reply: Mapping[str, Any] | Failure, n_prompts: int) -> list[Choice] | Failure:
        if isinstance(reply, Failure):
            return reply
        self._has_nan = self._has_nan or bool(_NOT_A_NUMBER.search(json.dumps(reply)))
        return read_choices(reply, n_prompts)

    def _body(self, requests: Requests, number: int, questions: tuple[Question, ...]) -> bytes:
        start = requests.start(self._prompt.conversation(_CONVERSATIONS[number]))
        return requests.body(start, [self._prompt.question(question, 0) for question in questions])

    def _is_readable(self, choice: Choice) -> bool:
        answer = self._reader.answer(choice)
        return isinstance(answer, Answer) and answer.outcome is Outcome.ANSWERED

    def check_name(self, served: Sequence[str]) -> None:
        """Warns if the server answers to the model's name, but does not list it."""
        name = self._settings.model_name or ""
        if served and not any(is_name_of(listed, name) for listed in served):
            listed = ", ".join(served[:5])
            what = f"The server at {self._address.base_url} answers to grader.model_name {name!r}, but lists {listed}."
            self.warnings = (self._address.redact(f"{what} It may ignore the name."),)
            _log.warning("%s", self.warnings[0])

    def _check(self, choices: list[Choice]) -> None:
        """Checks what the judge answered."""
        readable = any(self._is_readable(choice) for choice in choices)
        asked, listed = self._settings.top_logprobs, max(choice.n_listed for choice in choices)
        complete = any(self._reader.is_complete(choice) for choice in choices)
        if 0 < listed < asked - _FEWER and not complete:
            raise self._error(
                f"the server lists {listed} of the {asked} likeliest tokens that were asked for",
                f"Set grader.top_logprobs to {listed}.",
            )
        if all(choice.is_one_hot for choice in choices):
            raise self._error(
                "one token has all the probability in every answer: the server lists probabilities after temperature",
                "Set grader.extra_body to {temperature: 1}, or choose another server.",
            )
        if readable:
            return
        answers = [self._reader.answer(choice) for choice in choices]
        if filtered := [choice for choice in choices if choice.filter_words]:
            raise problem_of(
                Failure(FailureKind.FILTERED, f"a content filter refuses the probe: {filtered[0].filter_words}"),
                self._settings,
                self._address,
            )
        problems = [answer for answer in answers if isinstance(answer, Failure)]
        if self._has_nan:
            raise self._error(
                "the log probabilities of the judge are not numbers (NaN)",
                "Start the server with another number format, such as --dtype bfloat16 or --dtype float32 in vLLM.",
            )
        if problems:
            needed = (
                "A grade needs them. Use a server that returns them: vLLM and llama.cpp do, and a proxy may drop them."
            )
            raise self._error(problems[0].words, THINKING if any(choice.thinks for choice in choices) else needed)
        reasons = [answer.reason for answer in answers if isinstance(answer, Answer)]
        what = f"no answer to a simple question is readable: {reasons[0]}"
        raise self._error(what, hint_of_first_tokens(choices, reasons, self._reader))

    async def _problem(self, asker: Asker, failure: Failure, dialect: Dialect) -> InputError:
        """Returns the error for a request that no dialect could save."""
        if is_about_alternatives(failure):
            allowed = await self._allowed_alternatives(asker, failure, dialect) or largest_number(failure)
            if allowed:
                return self._error(str(failure), f"Set grader.top_logprobs to {allowed}.")
        listing = await read_listing(asker.connection, self._settings)
        served = listing.names if isinstance(listing, Listing) else ()
        return problem_of(failure, self._settings, self._address, served)

    async def _allowed_alternatives(self, asker: Asker, failure: Failure, dialect: Dialect) -> int | None:
        """Returns the largest number of alternatives that the server accepts; None if it accepts none."""
        asked = self._settings.top_logprobs
        named = sorted({int(text) for text in re.findall(r"\d+", failure.words)}, reverse=True)
        for number in (*named, *_GUESSES):
            if not 0 < number < asked:
                continue
            settings = self._settings.model_copy(update={"top_logprobs": number})
            requests = self._make_requests(settings, dialect)
            reply = await asker.ask(requests.path, self._body(requests, 0, _QUESTIONS[:1]))
            if not isinstance(reply, Failure):
                return number
        return None

    def _error(self, what: str, hint: str) -> InputError:
        return self._address.problem(what, hint)


def is_nobody(failure: Failure) -> bool:
    """Returns whether nobody answered, not even with an error.

    Example:
        >>> is_nobody(Failure(FailureKind.AWAY, "no connection")), is_nobody(Failure(FailureKind.AWAY, "", status=503))
        (True, False)
    """
    return failure.status is None and failure.kind is not FailureKind.TIMEOUT


def _other_dialects(dialect: Dialect, requests: Requests, failure: Failure) -> list[Dialect]:
    """Returns what else to try after a rejection, the likeliest first."""
    may_be_a_field = failure.status in (None, 200, 400, 422, 500)
    if failure.kind not in (FailureKind.REJECTED, FailureKind.PASSING) or not may_be_a_field:
        return []
    others = []
    if is_about_limit(failure):
        other = LIMIT_FIELDS[1] if dialect.limit_field == LIMIT_FIELDS[0] else LIMIT_FIELDS[0]
        others.append(Dialect(other, dialect.as_token_ids, dialect.prompts_per_request))
    if requests.path == "/completions" and not is_about_alternatives(failure):
        if failure.status in (400, 422):
            others.append(Dialect(dialect.limit_field, False, dialect.prompts_per_request))
        others.append(Dialect(dialect.limit_field, dialect.as_token_ids, 1))
        others.append(Dialect(dialect.limit_field, False, 1))
    return others
