"""A grader behind an OpenAI-compatible server, such as ``vllm serve``, llama.cpp or a proxy in front of a vendor.

`rbr.grading.server` has the parts: how a request is written, how an answer is read, what a failure means, and how long
to wait. docs/judge-servers.md explains the settings and every error message.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import ServerAway
from rbr.grading import OnProgress
from rbr.grading.answers import Answers, Outcome, Reading
from rbr.grading.canary_probes import ProbeAnswers
from rbr.grading.distinct import group_equal, put
from rbr.grading.drift import Difference
from rbr.grading.prompt import Question, compile_prompt
from rbr.grading.server.address import API_KEY_VARIABLE, Address
from rbr.grading.server.advice import problem_of
from rbr.grading.server.asking import Asker
from rbr.grading.server.connection import open_connection, run_to_end
from rbr.grading.server.control_tokens import SpelledOutTokens
from rbr.grading.server.failures import Failure, FailureKind
from rbr.grading.server.grading_call import GradingCall
from rbr.grading.server.known_model import KnownModel
from rbr.grading.server.patience import Patience
from rbr.grading.server.probe import Probe
from rbr.grading.server.prompt_cuts import PromptCuts
from rbr.grading.server.requests import ChatRequests, CompletionsRequests, Dialect, Requests
from rbr.grading.server.responses import AnswerReader, token_text
from rbr.grading.server.token_prompts import PromptEncoder, answer_ids, open_encoder

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

__all__ = ["API_KEY_VARIABLE", "OpenAIGrader"]

_log = logging.getLogger(__name__)


class OpenAIGrader:
    """A grader that asks a server for one token and the log probabilities of the likeliest tokens.

    The first call of `grade` tries the settings with a harmless question. Control tokens that a conversation spells out
    are neutralized if they would become real ones: with the endpoint ``chat`` the server tokenizes. The answers of a
    call say how many.

    Args:
        settings: Section `grader` of a profile. The key comes from the environment variable ``RBR_GRADER_API_KEY``.
        ref: The model; the endpoint ``completions`` encodes the prompts with its tokenizer. For the endpoint ``chat``,
            a local model adds its control tokens to those that are neutralized. May be None for ``chat``.

    Raises:
        InputError: `base_url` or `model_name` is missing or malformed, `extra_body` sets a field of the grader's own,
            or the tokenizer for the endpoint ``completions`` cannot be opened.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/gpu.yaml")
        >>> grader = OpenAIGrader(profile.grader, profile.models.grader)
        >>> grader.grade(conversations, questions)  # doctest: +SKIP
    """

    def __init__(
        self,
        settings: "GraderSettings",
        ref: "ModelRef | None" = None,
        served: Mapping[str, Any] | None = None,
    ) -> None:
        self._address = Address.of(settings)
        self._settings = settings
        self._prompt = compile_prompt(settings.prompt_template)
        self._control_tokens = SpelledOutTokens.of(ref)
        self._encoder: PromptEncoder | None = None
        yes_ids, no_ids = list[int](), list[int]()
        if settings.endpoint == "completions":
            self._encoder = encoder = open_encoder(ref, settings)
            assert ref is not None  # `open_encoder` has checked it.
            yes_ids, no_ids = answer_ids(encoder, settings, ref)
        # Not sets: their order, and so the rounding of the sums, would differ between processes.
        yes, no = (tuple(dict.fromkeys(map(token_text, spellings))) for spellings in (settings.yes, settings.no))
        self._reader = AnswerReader(
            Reading(settings.min_mass, settings.max_bound),
            yes,
            no,
            yes_ids,
            no_ids,
            settings.top_logprobs,
        )
        self._make_requests(settings, Dialect())  # Finds fields in `extra_body` that cannot be set.
        self._probe = Probe(settings, self._prompt, self._make_requests, self._reader, self._address)
        self._requests: Requests | None = None  # None until the probe has passed.
        self._is_away = False
        self._known = KnownModel(settings, self._prompt, self._probe, served or {})
        self._has_records = served is not None
        self._cuts = PromptCuts()
        self._in_doubt = False  # Whether the server may have another model since the last call.

    @property
    def answered_by(self) -> str:
        """Name of the model that answered, by its own words; empty if no answer has named it."""
        return self._address.redact(self._probe.answered_by)

    def expect(self, first: ProbeAnswers, noise: Difference) -> None:
        """Keeps the answers to the canary, which show whether a server that was away comes back with its model.

        Args:
            first: The first answers; see `rbr.grading.canary.ask_probes`.
            noise: Difference between two sets of answers that the same model gave.
        """
        self._known.expect(first, noise)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        """See `rbr.grading.Grader.grade`.

        If the server stops to answer in the middle of the call, or rejects every request from some moment on, the call
        ends early. It returns what was answered; the other questions are `Outcome.NOT_ANSWERED`, each with the reason.
        The next call tries the server once and raises if it still does not answer. So store the answers of a call
        before the next one.

        Raises:
            InputError: The settings cannot work, as the probe found, or the call got no answer at all because the
                server does not work.
        """
        if not conversations or not questions:
            return Answers.none(len(conversations), len(questions))
        return run_to_end(self._grade(conversations, questions, on_progress or (lambda done, note: None)))

    async def _grade(
        self, conversations: Sequence[Conversation], questions: Sequence[Question], on_progress: OnProgress
    ) -> Answers:
        # 1. Render. Equal conversations and equal questions are asked once.
        neutral, n_neutralized = self._neutralized(conversations)
        texts = [self._prompt.conversation(messages) for messages in neutral]
        question_texts = [self._prompt.question(question, self._settings.few_shot) for question in questions]
        rows, columns = group_equal(texts), group_equal(question_texts)
        n_done = 0

        def on_conversation(row: int) -> None:
            nonlocal n_done
            n_done += len(rows[row])
            on_progress(n_done, "")

        settings = self._settings
        async with open_connection(self._address, settings.timeout_s, settings.max_concurrency) as connection:
            # 2. Try the settings.
            call: GradingCall | None = None

            async def on_back(was_away: bool) -> bool:
                if call is None:
                    return True
                change = await self._known.change(asker, requests, reader, ask_canary=was_away)
                if change:
                    words = self._address.redact(f"the server came back with another model: {change}")
                    call.stop(Failure(FailureKind.REJECTED, words))
                return change is not None

            wait_s = 0.0 if self._is_away else settings.wait_s
            patience = Patience(wait_s, settings.max_concurrency, lambda note: on_progress(n_done, note))
            is_first = self._requests is None
            asker = Asker(connection, patience, settings.model_name or "", settings.timeout_s, on_back, is_first)
            if self._requests is None:
                self._requests = await self._probe.run(asker)
                self._is_away = False
                patience.wait_s = settings.wait_s
                if not self._has_records:
                    self._known.served = {}
            requests, reader = self._requests, replace(self._reader, model=self._probe.answered_by)
            await self._check_model(asker, requests, reader)
            if is_first:
                self._probe.check_name(self._known.names)
            # 3. Ask.
            call = GradingCall(
                asker,
                requests,
                reader,
                [texts[equal[0]] for equal in rows],
                [question_texts[equal[0]] for equal in columns],
                lambda: self._probe.still_works(asker, requests),
                on_conversation,
                self._cuts,
            )
            await call.run(settings.max_concurrency)
            # 4. Say how the call ended.
            failure = call.stopped_by
            if not failure and call.answers.count(Outcome.NOT_ANSWERED) == call.answers.p_yes.size:
                failure = await self._probe.still_works(asker, requests, check_model=True)
        self._in_doubt = failure is not None or asker.may_be_another
        if failure:
            self._requests = None
            self._is_away = patience.is_over
            if call.answers.count(Outcome.NOT_ANSWERED) == call.answers.p_yes.size:
                raise problem_of(failure, settings, self._address)
            _log.error("The grading stopped early: %s", problem_of(failure, settings, self._address))
        answers = replace(
            _spread(call.answers, rows, columns), n_neutralized=n_neutralized, warnings=self._probe.warnings
        )
        counts = [f"{n} {outcome}" for outcome in Outcome if outcome != "answered" and (n := answers.count(outcome))]
        if counts:
            _log.warning("Of %d questions, %s.", answers.p_yes.size, ", ".join(counts))
        return answers

    def _neutralized(self, conversations: Sequence[Conversation]) -> tuple[Sequence[Conversation], int]:
        """Returns the conversations as they are sent, and the number of control tokens that were neutralized."""
        if self._encoder is not None and self._encoder.protects_text:
            return conversations, 0
        neutral = [self._control_tokens.neutralize_conversation(messages) for messages in conversations]
        if found := sum(count for _, count in neutral):
            n_conversations = sum(count > 0 for _, count in neutral)
            _log.warning("Neutralized %d spelled-out control tokens in %d conversations.", found, n_conversations)
        return [messages for messages, _ in neutral], found

    def _make_requests(self, settings: "GraderSettings", dialect: Dialect) -> Requests:
        if self._encoder is None:
            return ChatRequests(settings, dialect)
        return CompletionsRequests(settings, self._encoder, dialect)

    async def _check_model(self, asker: Asker, requests: Requests, reader: AnswerReader) -> None:
        """Raises an error if the server has another model than before, or than the caller's records are about."""
        change = await self._known.change(asker, requests, reader, ask_canary=self._in_doubt)
        if change:
            self._requests = None
            self._in_doubt = True
            raise self._address.problem(
                f"the server has another model than at the start of the run: {change}",
                "Serve the old model again, or run the command again to grade with the new one.",
            )
        if change is None and self._in_doubt:
            raise self._address.problem(
                "the server does not answer the questions that show whether it still has the same model",
                "Check the server, then start the command again.",
                ServerAway,
            )


def _spread(answers: Answers, rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]]) -> Answers:
    """Returns the answers of the distinct conversations and questions for all of them."""
    spread = Answers.none(sum(map(len, rows)), sum(map(len, columns)))
    for row, equal_rows in enumerate(rows):
        for column, equal_columns in enumerate(columns):
            for place in equal_columns:
                put(spread, equal_rows, place, answers[row, column])
    return spread
