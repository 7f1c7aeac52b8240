"""Reads the answers of a reply: the probabilities of the first token, in the formats of the servers.

Servers write a token in several ways. If an entry has `bytes`, they are the token's text. A ``Ġ`` or ``▁`` at the
beginning stands for a space. ``token_id:284`` names a token by its id.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from math import exp, inf, log
from typing import Any, TypeAlias, TypeGuard

from rbr.grading.answers import Answer, Outcome, Reading
from rbr.grading.server.advice import OTHER_MODEL
from rbr.grading.server.failures import Failure, FailureKind, failure_of_choice
from rbr.thought_marks import begins_a_thought

_HUGE = 1e300
_COMPLETE = 0.9999  # Smallest sum of the probabilities of all tokens.
_TOKEN_ID = re.compile(r"token_id:(\d+)")
_SAME = 1e-4  # Largest difference of two numbers of one token, which a server has rounded.
_NO_CHANCE = -100.0  # Natural log of a probability that no model gives, but a temperature of 0 does.
_SURE = -1e-3
_SHOWN = 40  # characters of an answer
_TRIES_WITHOUT_A_WORD = 3
NO_WORDS = "the judge ended its answer without a word and without log probabilities"
"""Problem of an answer with neither words nor log probabilities."""


@dataclass(frozen=True)
class Choice:
    """The first token of one answer.

    Attributes:
        listed: Natural log of the probability, by the token's text or id; equal tokens are summed. The chosen token
            is there, too, if the server does not list it among the alternatives.
        n_listed: Number of alternatives that the server listed.
        unlisted: Natural log of the largest probability of a token that is not listed.
        filter_words: Why a content filter ended the answer; empty if none did.
        problem: Why there are no probabilities; empty if there are.
        thinks: Whether the answer begins with a thought.
        model: Name of the model that answered; empty if the server does not say it.

    Example:
        >>> Choice({"yes": -0.1}, n_listed=1).problem
        ''
    """

    listed: Mapping[str | int, float]
    n_listed: int
    unlisted: float = 0.0
    filter_words: str = ""
    problem: str = ""
    thinks: bool = False
    model: str = ""

    @property
    def is_one_hot(self) -> bool:
        """Whether one token has all the probability, as after a temperature of 0."""
        first, *others = sorted(self.listed.values(), reverse=True) or [_NO_CHANCE]
        return first >= _SURE and all(value <= _NO_CHANCE for value in others)


@dataclass(frozen=True)
class AnswerReader:
    """Turns a choice into an answer.

    Attributes:
        reading: Bars of a readable answer.
        yes: Spellings that mean yes, each once, as `token_text` writes them.
        no: Spellings that mean no, in the same way.
        yes_ids: Token ids that mean yes; empty for the endpoint ``chat``.
        no_ids: Token ids that mean no; empty for the endpoint ``chat``.
        top_logprobs: Number of alternatives that a request asks for.
        model: Name of the model that has to answer; empty if any may.

    Example:
        >>> reader = AnswerReader(Reading(min_mass=0.5, max_bound=1.0), ("yes",), ("no",), top_logprobs=20)
        >>> round(reader.answer(Choice({"yes": log(0.6), "no": log(0.2)}, n_listed=2)).p_yes, 6)
        0.75
    """

    reading: Reading
    yes: Sequence[str]
    no: Sequence[str]
    yes_ids: Sequence[int] = ()
    no_ids: Sequence[int] = ()
    top_logprobs: int = 20
    model: str = ""

    def answer(self, choice: Choice) -> Answer | Failure:
        """Reads P(yes); a failure if another model answered, or if what the judge said has no probabilities."""
        if self.model and choice.model and choice.model != self.model:
            return Failure(FailureKind.PASSING, f"{OTHER_MODEL}: {choice.model!r}, not {self.model!r}")
        if choice.filter_words:
            return Answer(Outcome.REFUSED, reason=choice.filter_words)
        if choice.problem:
            return Failure(FailureKind.PASSING, choice.problem)
        is_complete = self.is_complete(choice)
        if self.yes_ids and all(isinstance(token, int) for token in choice.listed):
            ids: Mapping[Any, float] = choice.listed
            return self.reading.from_top_logprobs(ids, self.yes_ids, self.no_ids, is_complete, choice.unlisted)
        texts: Mapping[Any, float] = choice.listed
        return self.reading.from_top_logprobs(texts, self.yes, self.no, is_complete, choice.unlisted)

    def is_complete(self, choice: Choice) -> bool:
        """Returns whether a list that is shorter than the request has the whole vocabulary.

        A server's own limit also makes a list short, but then the probabilities do not sum to 1.
        """
        return choice.n_listed < self.top_logprobs and sum(map(_probability, choice.listed.values())) >= _COMPLETE


def read_choices(content: Mapping[str, Any], n_prompts: int) -> list[Choice] | Failure:
    """Reads the choices of a reply with status 200, in the order of the prompts.

    Example:
        >>> top = [{"token": "Ġyes", "logprob": -0.5}, {"token": "no", "logprob": None}]
        >>> reply = {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}
        >>> read_choices(reply, n_prompts=1)[0].listed
        {' yes': -0.5}
    """
    choices = content.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        return Failure(FailureKind.PASSING, "the body is not in the format of the API")
    if len(choices) != n_prompts:
        return Failure(FailureKind.PASSING, f"{len(choices)} answers to {n_prompts} prompts")
    if n_prompts > 1:
        # The order alone does not say which answer belongs to which prompt: some servers answer in another order.
        by_index = {index: choice for choice in choices if type(index := choice.get("index")) is int}
        if by_index.keys() != set(range(n_prompts)):
            return Failure(FailureKind.PASSING, "the indices of the answers do not say to which prompts they belong")
        choices = [by_index[number] for number in range(n_prompts)]
    model = content.get("model")
    return [replace(_read_choice(choice), model=model if isinstance(model, str) else "") for choice in choices]


class OneAnswer:
    """Reads the answer to one question, for all tries of a request.

    An answer without a word is believed after three tries: a server that is starting also answers without a word.

    Args:
        reader: Turns a choice into an answer.

    Example:
        >>> read = OneAnswer(AnswerReader(Reading(min_mass=0.5, max_bound=1.0), ("yes",), ("no",)))
        >>> reply = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}
        >>> [isinstance(read(reply), Failure) for _ in range(3)]
        [True, True, False]
    """

    def __init__(self, reader: AnswerReader) -> None:
        self._reader = reader
        self._n_empty = 0

    def __call__(self, content: Mapping[str, Any]) -> list[Answer | Failure] | Failure:
        choices = read_choices(content, 1)
        if isinstance(choices, Failure):
            return choices
        answer = self._reader.answer(choices[0])
        if isinstance(answer, Failure) and answer.words == NO_WORDS:
            self._n_empty += 1
            return [Answer(Outcome.UNREADABLE, reason=NO_WORDS)] if self._n_empty >= _TRIES_WITHOUT_A_WORD else answer
        return answer if isinstance(answer, Failure) else [answer]


def token_text(text: str) -> str:
    """Returns the text of a token, with a space if its tokenizer writes the space as ``Ġ`` or ``▁``.

    Example:
        >>> token_text("Ġyes"), token_text("▁yes"), token_text(" yes")
        (' yes', ' yes', ' yes')
    """
    return " " + text[1:] if text[:1] in ("Ġ", "▁") else text


def _read_choice(choice: Mapping[str, Any]) -> Choice:
    message: Mapping[str, Any] = found if isinstance(found := choice.get("message"), Mapping) else {}
    if failure := failure_of_choice(choice):
        is_filtered = failure.kind is FailureKind.FILTERED
        return Choice({}, 0, filter_words=failure.words) if is_filtered else Choice({}, 0, problem=failure.words)
    said = message.get("content") if isinstance(message.get("content"), str) else choice.get("text")
    said = said if isinstance(said, str) else ""
    thinks = bool(message.get("reasoning_content") or message.get("reasoning"))
    found_entries = _entries(choice.get("logprobs"))
    if found_entries is None:
        if not said and not thinks and choice.get("finish_reason") == "stop":
            return Choice({}, 0, problem=NO_WORDS)
        shown = f"; it says {said[:_SHOWN]!r}" if said else ""
        return Choice({}, 0, problem=f"the answer has no log probabilities{shown}", thinks=thinks)
    alternatives, chosen = found_entries
    entries = [(token, value) for token, value in alternatives if _is_number(value)]
    seen: dict[str | int, list[float]] = {}
    for token, value in entries:
        # A server can list a token twice, with the same number or a rounded one: that is one token.
        values = seen.setdefault(token, [])
        if not any(abs(value - other) <= _SAME for other in values):
            values.append(value)
    if not seen:
        return Choice({}, 0, problem="the list of the likeliest tokens (top_logprobs) is empty", thinks=thinks)
    listed = {token: reduce(_log_sum, values) for token, values in seen.items()}
    # The chosen token can be a rare one: it says nothing about the tokens that are not listed.
    ranked = [value for token, value in entries if chosen is None or token != chosen[0]]
    unlisted = min(ranked, default=min(listed.values()))
    if any(not _is_number(value) and value != -inf for _, value in alternatives):
        unlisted = 0.0  # A token without a number can have any probability.
    if chosen is not None and _is_missing(chosen, listed):
        listed[chosen[0]] = chosen[1]
    first = max(listed, key=lambda token: listed[token])
    thinks = thinks or (isinstance(first, str) and begins_a_thought(first))
    return Choice(listed, len(entries), unlisted, thinks=thinks)


def _is_missing(chosen: "_Entry", listed: Mapping[str | int, float]) -> bool:
    """Returns whether the chosen token is not among the alternatives, also not in another spelling."""
    token, value = chosen
    if token in listed or not _is_number(value) or {type(other) for other in listed} != {type(token)}:
        return False
    return sum(map(_probability, listed.values())) + _probability(value) <= 1 + _SAME


_Entry: TypeAlias = tuple[str | int, Any]  # The text or id of a token, and what the server lists as its number.


def _entries(logprobs: Any) -> tuple[list[_Entry], _Entry | None] | None:
    """Returns the alternatives of the first token, and the chosen token; None if there are none."""
    if not isinstance(logprobs, Mapping):
        return None
    if (content := logprobs.get("content")) and isinstance(content, list) and isinstance(content[0], Mapping):
        top = content[0].get("top_logprobs")
        return list(_of_objects(top if isinstance(top, list) else ())), next(_of_objects(content[:1]), None)
    if (tops := logprobs.get("top_logprobs")) and isinstance(tops, list):
        first, chosen = tops[0], _chosen(logprobs)
        if isinstance(first, Mapping):
            return [(_token(text), value) for text, value in first.items()], chosen
        if isinstance(first, list):
            return list(_of_objects(first)), chosen
    return ([], None) if logprobs.get("content") or logprobs.get("tokens") else None


def _of_objects(top: Iterable[Any]) -> Iterator[_Entry]:
    for entry in top:
        if not isinstance(entry, Mapping):
            continue
        text, encoded = entry.get("token"), entry.get("bytes")
        if encoded and isinstance(encoded, list):
            with suppress(TypeError, ValueError):
                text = bytes(encoded).decode("utf-8", "backslashreplace")
        if isinstance(text, str):
            yield _token(text), entry.get("logprob")


def _chosen(logprobs: Mapping[str, Any]) -> _Entry | None:
    """Returns the chosen token in the format of completions."""
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not (isinstance(tokens, list) and tokens and isinstance(tokens[0], str)):
        return None
    return _token(tokens[0]), values[0] if isinstance(values, list) and values else None


def _token(text: str) -> str | int:
    if text.startswith("token_id:") and (match := _TOKEN_ID.fullmatch(text)):
        return int(match[1])
    return token_text(text)


def _is_number(value: Any) -> TypeGuard[float]:
    # A whole number of hundreds of digits is no float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def _log_sum(first: float, second: float) -> float:
    total = exp(min(first, 0.0)) + exp(min(second, 0.0))
    return min(log(total), 0.0) if total > 0 else max(first, second)


def _probability(value: float) -> float:
    return exp(min(value, 0.0))
