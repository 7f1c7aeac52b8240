"""Reads P(yes), and says what became of a question when P(yes) could not be read.

A grade is P(yes) / (P(yes) + P(no)). Both are summed over the spellings that the profile lists, in the probabilities of
the first token of the answer. Every question has one of the four outcomes of `Outcome`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rbr.errors import InputError, ServerAway

SHOWN_TOKENS = 3
"""Number of likeliest tokens that the reason of an unreadable answer names."""

NOT_ASKED_ABOUT_THIS = "not asked, because other questions about this conversation got no answer"
"""Reason of a question that was not asked, because its conversation seems to be one that the grader cannot answer."""

NO_LOG_PROBABILITIES = "the listed numbers are no log probabilities"
"""First words of the reason of an answer whose numbers are probabilities, or something else."""

_ROUNDING = 0.01  # Largest sum of rounding errors of probabilities.


class Outcome(StrEnum):
    """What became of a question.

    Attributes:
        ANSWERED: The grade is known.
        UNREADABLE: The grader answered with something else than yes or no, or the grade is not exact enough.
        REFUSED: A content filter in front of the grader rejected the conversation.
        NOT_ANSWERED: There was no answer: a timeout, a lost connection, a rate limit or an error of the server. Nothing
            is known, so nothing is stored, and the next run asks again.

    Example:
        >>> Outcome.REFUSED.value
        'refused'
    """

    ANSWERED = "answered"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    NOT_ANSWERED = "not answered"


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one conversation.

    Attributes:
        outcome: What became of the question.
        p_yes: The grade in [0, 1]; NaN unless the outcome is `Outcome.ANSWERED`.
        bound: Largest possible error of `p_yes`, in [0, 1]. A server lists only the most probable tokens, so a
            spelling of yes or no can have a small probability that nobody sees. 0 if all tokens are known.
        reason: Why there is no grade, such as the likeliest tokens or the words of the server; empty if answered.
        mass: P(yes) + P(no), summed over the spellings that were seen, in [0, 1]; NaN if no probability was seen.

    Example:
        >>> Answer(Outcome.ANSWERED, p_yes=0.9).reason
        ''
    """

    outcome: Outcome
    p_yes: float = nan
    bound: float = 0.0
    reason: str = ""
    mass: float = nan


@dataclass(frozen=True)
class Answers:
    """The answers to Q questions about each of C conversations.

    Attributes:
        p_yes: Grades, float64[C, Q] in [0, 1]; NaN unless the outcome is `Outcome.ANSWERED`.
        outcomes: `Outcome` of each question, object[C, Q].
        bounds: Largest possible error of each grade, float64[C, Q]; see `Answer.bound`.
        masses: P(yes) + P(no) of each answer, float64[C, Q] in [0, 1] or NaN; see `Answer.mass`.
        reasons: Why there is no grade, by row and column; only for questions without a grade.
        n_neutralized: Number of control tokens that the conversations spelled out, and that were neutralized for a
            server. A conversation that occurs twice counts twice.
        warnings: What the user should know of the grader, such as a server that may ignore the model's name.

    Example:
        >>> answers = Answers.none(conversations=1, questions=2)
        >>> answers[0, 1] = Answer(Outcome.ANSWERED, p_yes=0.75)
        >>> answers.p_yes
        array([[ nan, 0.75]])
        >>> answers.count(Outcome.NOT_ANSWERED)
        1
    """

    p_yes: NDArray[np.float64]
    outcomes: NDArray[np.object_]
    bounds: NDArray[np.float64]
    masses: NDArray[np.float64]
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)
    n_neutralized: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def none(cls, conversations: int, questions: int) -> "Answers":
        """Returns a matrix in which no question has been answered yet."""
        shape = (conversations, questions)
        return cls(np.full(shape, nan), _all(Outcome.NOT_ANSWERED, shape), np.zeros(shape), np.full(shape, nan))

    @classmethod
    def of(cls, p_yes: NDArray[np.float64]) -> "Answers":
        """Returns the answers of a grader that knows only its grades, float64[C, Q]; a grade of NaN is unreadable.

        The masses are NaN.
        """
        p_yes = np.asarray(p_yes, dtype=np.float64)
        outcomes = _all(Outcome.ANSWERED, p_yes.shape)
        outcomes[np.isnan(p_yes)] = Outcome.UNREADABLE
        return cls(p_yes, outcomes, np.zeros(p_yes.shape), np.full(p_yes.shape, nan))

    def require_answers(self) -> "Answers":
        """Returns the answers if every question got one, which may be unreadable or refused.

        Raises:
            ServerAway: A question got no answer, so nothing is known about it.
        """
        if n_missing := self.count(Outcome.NOT_ANSWERED):
            reasons = list(dict.fromkeys(self.reasons_of(Outcome.NOT_ANSWERED)))
            raise ServerAway(
                f"the grader gave no answer to {n_missing} of {self.p_yes.size} questions: {'; '.join(reasons[:3])}",
                where="grader",
                hint="Check the grader, and run the command again.",
            )
        return self

    def __setitem__(self, cell: tuple[int, int], answer: Answer) -> None:
        self.p_yes[cell] = answer.p_yes
        self.outcomes[cell] = answer.outcome
        self.bounds[cell] = answer.bound
        self.masses[cell] = answer.mass
        if answer.reason:
            self.reasons[cell] = answer.reason
        else:
            self.reasons.pop(cell, None)

    def __getitem__(self, cell: tuple[int, int]) -> Answer:
        p_yes, bound = float(self.p_yes[cell]), float(self.bounds[cell])
        return Answer(self.outcomes[cell], p_yes, bound, self.reasons.get(cell, ""), float(self.masses[cell]))

    def reasons_of(self, outcome: Outcome) -> list[str]:
        """Returns the reason of each question with this outcome; questions without a reason are left out."""
        return [reason for cell, reason in self.reasons.items() if self.outcomes[cell] == outcome]

    def count(self, outcome: Outcome) -> int:
        """Returns the number of questions with this outcome."""
        return int((self.outcomes == outcome).sum())


@dataclass(frozen=True)
class Reading:
    """How the probabilities of the first token become an answer.

    Attributes:
        min_mass: Smallest P(yes) + P(no) of a readable answer, in [0, 1].
        max_bound: Largest error bound of a readable answer, in [0, 1]; see `Answer.bound`.

    Example:
        >>> reading = Reading(min_mass=0.5, max_bound=0.01)
        >>> reading.answer(0.75, 0.25, "").p_yes
        0.75
    """

    min_mass: float
    max_bound: float

    def answer(
        self, yes_mass: float, no_mass: float, likeliest: str, unseen_yes: float = 0.0, unseen_no: float = 0.0
    ) -> Answer:
        """Reads an answer from the probabilities of yes and no.

        Args:
            yes_mass: P(yes), summed over the spellings that were seen, in [0, 1].
            no_mass: P(no), in the same way.
            likeliest: The likeliest tokens in words; the reason of an unreadable answer.
            unseen_yes: Largest probability of the spellings of yes that were not seen, in [0, 1].
            unseen_no: Largest probability of the spellings of no that were not seen, in [0, 1].

        Example:
            >>> Reading(min_mass=0.5, max_bound=0.01).answer(0.1, 0.1, "'The' 0.7").reason
            "P(yes) + P(no) is 0.200, below min_mass; likeliest tokens: 'The' 0.7"
        """
        mass = yes_mass + no_mass
        seen = min(mass, 1.0)  # Rounding can lift a sum of probabilities above 1.
        if not mass > 0 or mass < self.min_mass:
            return _unreadable(f"P(yes) + P(no) is {mass:.3f}, below min_mass", likeliest, seen)
        p_yes = yes_mass / mass
        # The true grade lies between these two: all unseen probability is a no, or all of it is a yes.
        lowest = yes_mass / (mass + unseen_no)
        highest = (yes_mass + unseen_yes) / (mass + unseen_yes)
        bound = max(p_yes - lowest, highest - p_yes)
        if bound > self.max_bound:
            what = f"P(yes) is {p_yes:.3f} with an error of up to {bound:.3f}, above max_bound"
            return _unreadable(what, likeliest, seen)
        return Answer(Outcome.ANSWERED, p_yes, bound, mass=seen)

    def from_top_logprobs(
        self,
        listed: Mapping[Any, float],
        yes: Iterable[Any],
        no: Iterable[Any],
        is_complete: bool = False,
        unlisted: float | None = None,
    ) -> Answer:
        """Reads an answer from the log probabilities of the most probable tokens, which servers and vLLM return.

        Args:
            listed: Natural log of the probability, by token.
            yes: Tokens that mean yes, each once.
            no: Tokens that mean no, each once.
            is_complete: Whether `listed` has all tokens of the vocabulary.
            unlisted: Natural log of the largest probability of a token that is not listed; None for the smallest
                number that is listed.

        Example:
            >>> from math import log
            >>> reading = Reading(min_mass=0.5, max_bound=0.01)
            >>> reading.from_top_logprobs({"yes": log(0.5), "no": log(0.3)}, ["yes", "Yes"], ["no"]).outcome
            <Outcome.UNREADABLE: 'unreadable'>
            >>> reading.from_top_logprobs({"yes": log(0.6), "no": log(0.39), "I": log(0.001)}, ["yes", "Yes"], ["no"])
            Answer(outcome=<Outcome.ANSWERED: 'answered'>, p_yes=0.606..., bound=0.0003..., reason='', mass=0.99...)
        """
        probabilities = {token: exp(min(value, 0.0)) for token, value in listed.items()}
        # Some servers list probabilities, or other numbers, in the place of their logarithms.
        if max(listed.values(), default=0.0) > _ROUNDING or sum(probabilities.values()) > 1 + _ROUNDING:
            ranked = sorted(listed.items(), key=lambda item: -item[1])[:SHOWN_TOKENS]
            shown = ", ".join(f"{token!r} {value:g}" for token, value in ranked)
            return Answer(Outcome.UNREADABLE, reason=f"{NO_LOG_PROBABILITIES}: {shown}")
        seen = {True: 0.0, False: 0.0}
        n_unseen = {True: 0, False: 0}
        for meaning, tokens in ((True, yes), (False, no)):
            for token in tokens:
                if token in probabilities:
                    seen[meaning] += probabilities[token]
                else:
                    n_unseen[meaning] += 1
        # A token that is not listed is at most as probable as the last one that is listed, and all of them together
        # have at most the rest of the probability.
        rest = 0.0 if is_complete else max(0.0, 1.0 - sum(probabilities.values()))
        smallest = min(probabilities.values(), default=1.0) if unlisted is None else exp(min(unlisted, 0.0))
        unseen = {meaning: min(rest, count * smallest) for meaning, count in n_unseen.items()}
        return self.answer(seen[True], seen[False], likeliest_tokens(probabilities), unseen[True], unseen[False])


def answer_tokens(tokenizer: Any, spellings: Sequence[str], where: str) -> list[int]:
    """Returns the token ids of the spellings that are a single token.

    Spellings of several tokens are ignored, because a grade is read from one token.

    Args:
        tokenizer: A Hugging Face tokenizer.
        spellings: Spellings of yes, or of no, such as ``yes`` and `` Yes``.
        where: Path or Hub id of the model, for the error message.

    Returns:
        Distinct token ids, sorted.

    Raises:
        InputError: No spelling is a single token.

    Example:
        >>> from transformers import AutoTokenizer
        >>> tokenizer = AutoTokenizer.from_pretrained("rbr_sandbox/models/grader")
        >>> tokenizer.convert_ids_to_tokens(answer_tokens(tokenizer, ["yes", "affirmatively"], where="grader"))
        ['yes']
    """
    encoded = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
    ids = sorted({tokens[0] for tokens in encoded if len(tokens) == 1})
    if not ids:
        raise InputError(
            f"none of {', '.join(map(repr, spellings))} is a single token of this model",
            where=where,
            hint="Set grader.yes and grader.no in the profile to spellings that the tokenizer encodes as one token.",
        )
    return ids


def likeliest_tokens(probabilities: Mapping[Any, float]) -> str:
    """Returns the likeliest tokens in words, for a reason.

    Example:
        >>> likeliest_tokens({"The": 0.71, "I": 0.2, "no": 0.05, "yes": 0.04})
        "'The' 0.710, 'I' 0.200, 'no' 0.050"
    """
    ranked = sorted((item for item in probabilities.items() if isfinite(item[1])), key=lambda item: -item[1])
    return ", ".join(f"{token!r} {probability:.3f}" for token, probability in ranked[:SHOWN_TOKENS])


def _all(outcome: Outcome, shape: tuple[int, ...]) -> NDArray[np.object_]:
    # Not np.full or np.where: they would turn the outcome into plain text.
    outcomes = np.empty(shape, dtype=object)
    outcomes.fill(outcome)
    return outcomes


def _unreadable(what: str, likeliest: str, mass: float) -> Answer:
    reason = f"{what}; likeliest tokens: {likeliest}" if likeliest else what
    return Answer(Outcome.UNREADABLE, reason=reason, mass=mass)
