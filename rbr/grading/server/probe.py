"""Tries the settings with harmless questions, before the first question of a run is asked."""

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import Answer, Outcome
from rbr.grading.prompt import JudgePrompt, Question
from rbr.grading.server.address import Address
from rbr.grading.server.advice import is_about_alternatives, is_about_limit, problem_of
from rbr.grading.server.asking import Asker
from rbr.grading.server.failures import Failure, FailureKind
from rbr.grading.server.requests import LIMIT_FIELDS, Dialect, Requests
from rbr.grading.server.responses import AnswerReader, Choice, read_choices
from rbr.grading.server.served_models import identity_of, model_entries

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
_YES_OR_NO = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)

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
        identity: What the server says of its model; empty before `run`.
        warnings: What is unusual about a server that answers.

    Example:
        >>> async def open_requests(probe: Probe, asker: Asker):
        ...     requests = await probe.run(asker)
        ...     return requests.dialect, probe.identity
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
        self.identity: dict[str, Any] = {}
        self.warnings: tuple[str, ...] = ()

    async def run(self, asker: Asker) -> Requests:
        """Asks the questions until one answer is readable, and returns the requests that the server understands.

        Raises:
            InputError: The server is away, rejects the requests, or does not answer with yes or no. The error contains
                the server's own words, and the setting to change.
        """
        requests, first = await self._first_choices(asker)
        choices = await self._choices_until_readable(asker, requests, first)
        listing = await asker.connection.get("/models")
        if not isinstance(listing, Failure):
            self.identity = identity_of(listing, self._settings.model_name or "")
            self._check_name([entry["id"] for entry in model_entries(listing)])
        self._check(choices)
        return requests

    async def still_works(self, asker: Asker, requests: Requests) -> Failure | None:
        """Asks one question again, and returns the failure if the server does not answer it any more.

        If the patience is over, the question is sent only once.
        """
        body = self._body(requests, 0, _QUESTIONS[:1])
        is_over = asker.patience.is_over
        reply = await (asker.send(requests.path, body) if is_over else asker.ask(requests.path, body))
        if isinstance(reply, Failure):
            return reply
        asker.patience.answered()
        return None

    async def _first_choices(self, asker: Asker) -> tuple[Requests, list[Choice]]:
        """Tries one request after another until the server understands one."""
        dialect, tried = Dialect(), set[Dialect]()
        while True:
            requests = self._make_requests(self._settings, dialect)
            questions = _QUESTIONS[: requests.prompts_per_request]
            reply = await asker.ask(requests.path, self._body(requests, 0, questions))
            tried.add(dialect)
            choices = reply if isinstance(reply, Failure) else read_choices(reply, len(questions))
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
                if any(self._is_readable(choice) for choice in choices):
                    return choices
                if number == start == 0:
                    continue
                questions = _QUESTIONS[start : start + step]
                reply = await asker.ask(requests.path, self._body(requests, number, questions))
                more = reply if isinstance(reply, Failure) else read_choices(reply, len(questions))
                if not isinstance(more, Failure):
                    choices += more
        return choices

    def _body(self, requests: Requests, number: int, questions: tuple[Question, ...]) -> bytes:
        start = requests.start(self._prompt.conversation(_CONVERSATIONS[number]))
        return requests.body(start, [self._prompt.question(question, 0) for question in questions])

    def _is_readable(self, choice: Choice) -> bool:
        answer = self._reader.answer(choice)
        return isinstance(answer, Answer) and answer.outcome is Outcome.ANSWERED

    def _check_name(self, served: list[str]) -> None:
        name = self._settings.model_name
        if served and name not in served:
            listed = ", ".join(served[:5])
            what = f"The server at {self._address.base_url} answers to grader.model_name {name!r}, but lists {listed}."
            self.warnings = (f"{what} It may ignore the name.",)
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
        if readable:
            return
        answers = [self._reader.answer(choice) for choice in choices]
        if filtered := [choice for choice in choices if choice.filter_words]:
            raise problem_of(
                Failure(FailureKind.FILTERED, f"a content filter refuses the probe: {filtered[0].filter_words}"),
                self._settings,
                self._address,
            )
        if problems := [answer for answer in answers if isinstance(answer, Failure)]:
            raise self._error(
                problems[0].words,
                "A grade needs them. Use a server that returns them: vLLM and llama.cpp do, and a proxy may drop them.",
            )
        reasons = [answer.reason for answer in answers if isinstance(answer, Answer)]
        what = f"no answer to a simple question is readable: {reasons[0]}"
        raise self._error(what, self._reading_hint(choices, reasons))

    def _reading_hint(self, choices: list[Choice], reasons: list[str]) -> str:
        if any(choice.thinks for choice in choices):
            return (
                "The judge thinks before it answers. Set grader.chat_template_kwargs to {enable_thinking: false}, or "
                "to what switches thinking off for this model."
            )
        known = {spelling for group in (self._reader.yes, self._reader.no) for spelling in group}
        seen = dict.fromkeys(token for choice in choices for token in choice.listed if isinstance(token, str))
        spelled = [token for token in seen if token not in known and _YES_OR_NO.fullmatch(token)]
        if spelled:
            by_answer = {
                answer: [repr(token) for token in spelled if answer in token.lower()] for answer in ("yes", "no")
            }
            added = [f"{', '.join(tokens)} to grader.{answer}" for answer, tokens in by_answer.items() if tokens]
            return f"The judge spells its answers otherwise. Add {' and '.join(added)}."
        if all("max_bound" in reason for reason in reasons):
            return "Raise grader.top_logprobs if the server allows it, list fewer spellings, or raise grader.max_bound."
        return (
            "Use a prompt template that asks for one word, such as profiles/judge_prompt.jinja, or another judge. "
            "Lower grader.min_mass only if you have compared the judge with gold labels."
        )

    async def _problem(self, asker: Asker, failure: Failure, dialect: Dialect) -> InputError:
        """Returns the error for a request that no dialect could save."""
        if is_about_alternatives(failure) and (allowed := await self._allowed_alternatives(asker, failure, dialect)):
            return InputError(str(failure), where=self._address.base_url, hint=f"Set grader.top_logprobs to {allowed}.")
        listing = await asker.connection.get("/models")
        served = [] if isinstance(listing, Failure) else [entry["id"] for entry in model_entries(listing)]
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
        return InputError(what, where=self._address.base_url, hint=hint)


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
