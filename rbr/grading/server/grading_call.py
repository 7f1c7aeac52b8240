"""One call of `grade`: which request is sent when, and what each cell of the answers becomes."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rbr.grading.answers import NOT_ASKED_ABOUT_THIS, Answer, Answers, Outcome
from rbr.grading.server.asking import MAX_TRIES, Asker
from rbr.grading.server.failures import Failure, FailureKind
from rbr.grading.server.prompt_cuts import Cell, PromptCuts, tokens_of
from rbr.grading.server.requests import Requests
from rbr.grading.server.responses import NO_WORDS, AnswerReader, OneAnswer, read_choices
from rbr.grading.server.verdicts import Verdicts

FAILURES_BEFORE_STOP = 8
"""Number of conversations without an answer, with no answer in between, after which a call stops."""

FAILURES_OF_A_CONVERSATION = 3
"""Number of questions about a conversation without an answer after which its other questions are not asked."""

_LONGEST_BACKOFF = 3  # tries
_TRIES_IF_FORBIDDEN = 2  # for the other questions about a conversation that is forbidden
_ROUNDS = {FailureKind.PASSING: 2, FailureKind.AWAY: 2, FailureKind.TIMEOUT: 3}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A request to send: some questions about one conversation.

    Attributes:
        row: The conversation.
        columns: The questions.
        is_first: Whether the other questions about the conversation wait for this request.
        rejected: How often the server has rejected it.
        forbidden: How often the server has forbidden it without saying why.
        rounds: How often `Asker` has tried it in vain.
    """

    row: int
    columns: tuple[int, ...]
    is_first: bool = False
    rejected: int = 0
    forbidden: int = 0
    rounds: int = 0


class GradingCall:
    """Asks C conversations and Q questions, each combination once.

    The first question about a conversation is sent before the others, so that the server has read the conversation
    when the others arrive. Questions about an earlier conversation go before those about a later one.

    Args:
        asker: Sends the requests.
        requests: Writes the requests.
        reader: Reads the answers.
        conversations: First part of each prompt, as the template renders it; each once.
        questions: Second part of each prompt; each once.
        still_works: Asks the probe's question, and returns the failure if it is not answered.
        on_conversation: Called with the row of each conversation once nothing more is asked about it.
        cuts: Knows which prompts the server reads whole; None if a cut is not looked for.

    Attributes:
        answers: What became of each question.
        stopped_by: Why nothing more is asked; None if everything was asked.

    Example:
        >>> async def answers_of(asker, requests, reader, conversations, questions, still_works):
        ...     call = GradingCall(asker, requests, reader, conversations, questions, still_works, lambda row: None)
        ...     await call.run(max_concurrency=16)
        ...     return call.answers
    """

    def __init__(
        self,
        asker: Asker,
        requests: Requests,
        reader: AnswerReader,
        conversations: Sequence[str],
        questions: Sequence[str],
        still_works: Callable[[], Awaitable[Failure | None]],
        on_conversation: Callable[[int], None],
        cuts: PromptCuts | None = None,
    ) -> None:
        self.answers = Answers.none(len(conversations), len(questions))
        self.stopped_by: Failure | None = None
        self._asker = asker
        self._requests = requests
        self._reader = reader
        self._conversations = conversations
        self._questions = questions
        self._still_works = still_works
        self._on_conversation = on_conversation
        self._starts = [None] * len(conversations)  # Results of `Requests.start`, while they are needed.
        self._open = [len(questions)] * len(conversations)  # Number of questions without a result.
        self._rows = iter(range(len(conversations)))
        self._ready: deque[_Job] = deque()
        self._n_running = 0
        self._changed = asyncio.Event()
        self._lost_in_a_row: Counter[int] = Counter()  # Number of lost questions by row, since the last answer.
        self._lost: Counter[int] = Counter()  # Number of lost questions by row.
        self._verdicts = Verdicts()
        self._n_read = 0  # Number of questions with an answer of the judge.
        self._forbidden_rows: set[int] = set()  # Conversations that the server forbids without saying why.
        self._check = asyncio.Lock()
        self._cuts = cuts
        self._n_tokens: dict[Cell, int] = {}  # Number of tokens of the prompts that were answered alone.

    async def run(self, max_concurrency: int) -> None:
        """Asks everything. Never raises for what the server does: see `stopped_by`."""
        n_workers = min(max_concurrency, self.answers.p_yes.size)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(n_workers):
                    workers.create_task(self._work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if self._verdicts.in_doubt and not self.stopped_by and (problem := await self._checked()):
            self.stop(problem)
        if self._cuts and not self.stopped_by and (longest := self._cuts.longest(self._n_tokens)):
            prompt = self._conversations[longest[0]], self._questions[longest[1]]
            await self._cuts.mark(self.answers, self._n_tokens, self._asker, self._requests, prompt)
        if self.stopped_by:
            for cell in self._verdicts.in_doubt:
                words = f"{self.answers.reasons[cell]} (not believed, because no later question was answered)"
                self.answers[cell] = Answer(Outcome.NOT_ANSWERED, reason=words)
            # What was not asked has no reason of its own.
            for row, column in zip(*(self.answers.outcomes == Outcome.NOT_ANSWERED).nonzero(), strict=True):
                self.answers.reasons.setdefault((int(row), int(column)), f"not asked, because {self.stopped_by}")

    def stop(self, failure: Failure) -> None:
        """Lets no more requests start; those on their way are still read."""
        self.stopped_by = self.stopped_by or failure
        self._changed.set()
        self._asker.patience.stop_waiting()

    async def _work(self) -> None:
        while (job := await self._take()) is not None:
            self._n_running += 1
            try:
                await self._do(job)
            finally:
                self._n_running -= 1
                if job.is_first:
                    self._ready.extend(self._jobs_after(job))
                self._changed.set()

    async def _take(self) -> _Job | None:
        """Returns the next request; None if there is none and no running request can make one."""
        while not self.stopped_by:
            if self._ready:
                return self._ready.popleft()
            if (row := next(self._rows, None)) is not None:
                self._starts[row] = self._requests.start(self._conversations[row])
                step = self._requests.prompts_per_request
                return _Job(row, tuple(range(len(self._questions))[:step]), is_first=True)
            if not self._n_running:
                return None
            self._changed.clear()
            await self._changed.wait()
        return None

    def _jobs_after(self, first: _Job) -> Iterator[_Job]:
        step = self._requests.prompts_per_request
        for start in range(step, len(self._questions), step):
            yield _Job(first.row, tuple(range(len(self._questions))[start : start + step]))

    async def _do(self, job: _Job) -> None:
        if self._lost[job.row] >= FAILURES_OF_A_CONVERSATION:
            for column in job.columns:
                self._set(job.row, column, Answer(Outcome.NOT_ANSWERED, reason=NOT_ASKED_ABOUT_THIS))
            return
        questions = [self._questions[column] for column in job.columns]
        body = self._requests.body(self._starts[job.row], questions)
        sent_at, n_read = time.monotonic(), self._n_read
        read = self._reader_of(job)
        path = self._requests.path
        found = await self._asker.ask_and_read(path, body, read, lambda: self.stopped_by is not None)
        if isinstance(found, Failure):
            await self._fail(job, found, others_answered=self._n_read > n_read)
            return
        for column, answer in zip(job.columns, found, strict=True):
            if isinstance(answer, Failure):
                self._ready.append(_Job(job.row, (column,)))  # Alone, it is tried as often as any request.
            elif answer.outcome is Outcome.REFUSED or answer.reason == NO_WORDS:
                await self._set_in_doubt(job.row, column, answer)
            else:
                self._n_read += 1
                self._verdicts.answered(sent_at)
                self._set(job.row, column, answer)

    def _reader_of(self, job: _Job) -> Callable[[Mapping[str, Any]], list[Answer | Failure] | Failure]:
        if len(job.columns) > 1:
            return partial(self._read_all, len(job.columns))
        read_one = OneAnswer(self._reader)

        def read(content: Mapping[str, Any]) -> list[Answer | Failure] | Failure:
            if (number := tokens_of(content)) is not None:
                self._n_tokens[job.row, job.columns[0]] = number
            return read_one(content)

        return read

    def _read_all(self, n_prompts: int, content: Mapping[str, Any]) -> list[Answer | Failure]:
        """Reads the answers to several questions. If they cannot be told apart, each is asked alone."""
        choices = read_choices(content, n_prompts)
        if isinstance(choices, Failure):
            return [choices] * n_prompts
        return [self._reader.answer(choice) for choice in choices]

    async def _fail(self, job: _Job, failure: Failure, others_answered: bool) -> None:
        """Decides what a request without an answer means: for its cells, and for the call."""
        if self.stopped_by:
            return
        if self._asker.patience.is_over and await self._checked():
            waited = f"the server gave no answer for {self._asker.patience.wait_s:g} s (grader.wait_s): {failure}"
            self.stop(Failure(failure.kind, waited))
            return
        if len(job.columns) > 1:
            # One prompt of the list may be the reason.
            self._ready.extend(_Job(job.row, (column,)) for column in job.columns)
            return
        (column,) = job.columns
        if failure.kind is FailureKind.FILTERED:
            await self._set_in_doubt(job.row, column, Answer(Outcome.REFUSED, reason=str(failure)))
        elif failure.kind is FailureKind.TOO_LONG:
            await self._set_in_doubt(job.row, column, Answer(Outcome.UNREADABLE, reason=str(failure)))
        elif failure.kind in (FailureKind.REJECTED, FailureKind.BAD_ADDRESS):
            await self._rejected(job, failure, others_answered)
        elif failure.kind in _ROUNDS and not failure.others_answered:
            # Does this request fail, or did every request fail for a while? While every request fails, the patience is
            # not over. Once the server answers the probe again, the request has another chance.
            is_down = await self._checked() is not None
            rounds = job.rounds + (not is_down)
            if rounds < _ROUNDS[failure.kind]:
                # At once, so that a conversation that cannot be answered is known before all is asked about it.
                self._ready.appendleft(replace(job, is_first=False, rounds=rounds))
            else:
                self._give_up(job.row, column, failure)
        else:
            self._give_up(job.row, column, failure)

    async def _rejected(self, job: _Job, failure: Failure, others_answered: bool) -> None:
        """Asks again while the server answers others: one of several servers behind an address may be wrong."""
        if not others_answered and (problem := await self._checked()):
            self.stop(problem)
            return
        job = replace(job, rejected=job.rejected + 1, forbidden=job.forbidden + failure.is_unexplained)
        is_forbidden = job.forbidden == job.rejected
        tries = _TRIES_IF_FORBIDDEN if is_forbidden and job.row in self._forbidden_rows else MAX_TRIES
        if job.rejected < tries:
            await asyncio.sleep(self._asker.patience.backoff(min(job.rejected, _LONGEST_BACKOFF)))
            await self._do(job)
        elif is_forbidden:
            self._forbidden_rows.add(job.row)
            await self._set_in_doubt(job.row, job.columns[0], Answer(Outcome.REFUSED, reason=str(failure)))
        else:
            self._give_up(job.row, job.columns[0], failure)

    async def _set_in_doubt(self, row: int, column: int, answer: Answer) -> None:
        self._set(row, column, answer)
        self._verdicts.add((row, column))
        if self._verdicts.is_time_to_check() and (problem := await self._checked()):
            self.stop(problem)

    async def _checked(self) -> Failure | None:
        """Returns why the call has stopped, or why the server does not answer the probe's question any more."""
        async with self._check:
            sent_at = time.monotonic()
            if problem := self.stopped_by or await self._still_works():
                return problem
            self._verdicts.confirm(sent_at)
            return None

    def _give_up(self, row: int, column: int, failure: Failure) -> None:
        hint = "; raise grader.timeout_s" if failure.kind is FailureKind.TIMEOUT else ""
        self._set(row, column, Answer(Outcome.NOT_ANSWERED, reason=f"{failure}{hint}"))
        if len(self._lost_in_a_row) >= FAILURES_BEFORE_STOP:
            self.stop(failure)

    def _set(self, row: int, column: int, answer: Answer) -> None:
        self.answers[row, column] = answer
        if answer.outcome is Outcome.NOT_ANSWERED:
            self._lost[row] += 1
            self._lost_in_a_row[row] += 1
        else:
            self._lost_in_a_row.clear()
        self._open[row] -= 1
        if not self._open[row]:
            self._starts[row] = None
            self._log_row(row)
            self._on_conversation(row)

    def _log_row(self, row: int) -> None:
        """Logs one line for a conversation with questions without a grade."""
        found = ((column, self.answers.reasons.get((row, column))) for column in range(len(self._questions)))
        reasons = {column: reason for column, reason in found if reason}
        if reasons:
            outcomes = [str(self.answers.outcomes[row, column]) for column in reasons]
            counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
            total, shown = len(self._questions), next(iter(reasons.values()))
            _log.warning("Conversation %d of the call: %s of %d questions: %s", row + 1, counts, total, shown)
