"""Reads the answers of a reply: the probabilities of the first token, in the formats of the servers.

Servers write a token in several ways. If an entry has `bytes`, they are the token's text. A ``Ġ`` or ``▁`` at the
beginning stands for a space. ``token_id:284`` names a token by its id.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any, TypeGuard

from rbr.grading.answers import Answer, Outcome, Reading
from rbr.grading.server.failures import Failure, FailureKind, is_finished_by_filter
from rbr.thought_marks import begins_a_thought

_COMPLETE = 0.9999  # Smallest sum of the probabilities of all tokens.
_TOKEN_ID = re.compile(r"token_id:(\d+)")
_SHOWN = 40  # characters of an answer


@dataclass(frozen=True)
class Choice:
    """The first token of one answer.

    Attributes:
        listed: Natural log of the probability, by the token's text or id; equal tokens are summed.
        n_listed: Number of alternatives that the server listed.
        filter_words: Why a content filter ended the answer; empty if none did.
        problem: Why there are no probabilities; empty if there are.
        is_empty: Whether the judge ended its answer at once.
        thinks: Whether the answer begins with a thought.

    Example:
        >>> Choice({"yes": -0.1}, n_listed=1).problem
        ''
    """

    listed: Mapping[str | int, float]
    n_listed: int
    filter_words: str = ""
    problem: str = ""
    is_empty: bool = False
    thinks: bool = False


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

    def answer(self, choice: Choice) -> Answer | Failure:
        """Reads P(yes); a failure if the choice has no probabilities, although the judge said something."""
        if choice.filter_words:
            return Answer(Outcome.REFUSED, reason=choice.filter_words)
        if choice.is_empty:
            return Answer(Outcome.UNREADABLE, reason="the judge ended its answer without a word")
        if choice.problem:
            return Failure(FailureKind.PASSING, choice.problem)
        is_complete = self.is_complete(choice)
        if self.yes_ids and all(isinstance(token, int) for token in choice.listed):
            ids: Mapping[Any, float] = choice.listed
            return self.reading.from_top_logprobs(ids, self.yes_ids, self.no_ids, is_complete)
        texts: Mapping[Any, float] = choice.listed
        return self.reading.from_top_logprobs(texts, self.yes, self.no, is_complete)

    def is_complete(self, choice: Choice) -> bool:
        """Returns whether a list that is shorter than the request has the whole vocabulary.

        A server's own limit also makes a list short, but then the probabilities do not sum to 1.
        """
        return choice.n_listed < self.top_logprobs and _sum(choice) >= _COMPLETE


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
    indices = [choice.get("index") for choice in choices]
    if sorted(map(str, indices)) == sorted(map(str, range(n_prompts))):
        choices = [choices[indices.index(number)] for number in range(n_prompts)]
    return [_read_choice(choice) for choice in choices]


def token_text(text: str) -> str:
    """Returns the text of a token, with a space if its tokenizer writes the space as ``Ġ`` or ``▁``.

    Example:
        >>> token_text("Ġyes"), token_text("▁yes"), token_text(" yes")
        (' yes', ' yes', ' yes')
    """
    return " " + text[1:] if text[:1] in ("Ġ", "▁") else text


def _read_choice(choice: Mapping[str, Any]) -> Choice:
    message: Mapping[str, Any] = found if isinstance(found := choice.get("message"), Mapping) else {}
    if is_finished_by_filter(choice):
        words = message.get("refusal") or f"finish_reason {choice.get('finish_reason')}"
        return Choice({}, 0, filter_words=str(words))
    said = message.get("content") if isinstance(message.get("content"), str) else choice.get("text")
    said = said if isinstance(said, str) else ""
    thinks = bool(message.get("reasoning_content") or message.get("reasoning"))
    entries = _entries(choice.get("logprobs"))
    if entries is None:
        if not said and not thinks and choice.get("finish_reason") == "stop":
            return Choice({}, 0, is_empty=True)
        shown = f"; it says {said[:_SHOWN]!r}" if said else ""
        return Choice({}, 0, problem=f"the answer has no log probabilities{shown}", thinks=thinks)
    seen: set[tuple[str | int, float]] = set()
    listed: dict[str | int, float] = {}
    for token, value in entries:
        # A server can list a token twice, with the same number: that is one token.
        if (token, value) in seen:
            continue
        seen.add((token, value))
        listed[token] = _log_sum(listed[token], value) if token in listed else value
    if not listed:
        return Choice({}, 0, problem="the list of the likeliest tokens (top_logprobs) is empty", thinks=thinks)
    first = max(listed, key=lambda token: listed[token])
    return Choice(listed, len(entries), thinks=thinks or (isinstance(first, str) and begins_a_thought(first)))


def _entries(logprobs: Any) -> list[tuple[str | int, float]] | None:
    """Returns the alternatives of the first token as pairs of text or id and number; None if there are none."""
    if not isinstance(logprobs, Mapping):
        return None
    if (content := logprobs.get("content")) and isinstance(content, list) and isinstance(content[0], Mapping):
        return list(_of_objects(content[0].get("top_logprobs") or ()))
    if (top := logprobs.get("top_logprobs")) and isinstance(top, list):
        first = top[0]
        if isinstance(first, Mapping):
            return [(_token(text), value) for text, value in first.items() if _is_number(value)]
        if isinstance(first, list):
            return list(_of_objects(first))
    return [] if logprobs.get("content") or logprobs.get("tokens") else None


def _of_objects(top: Iterable[Any]) -> Iterator[tuple[str | int, float]]:
    for entry in top:
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        if not _is_number(value):
            continue
        text, encoded = entry.get("token"), entry.get("bytes")
        if encoded and isinstance(encoded, list):
            with suppress(TypeError, ValueError):
                text = bytes(encoded).decode("utf-8", "backslashreplace")
        if isinstance(text, str):
            yield _token(text), value


def _token(text: str) -> str | int:
    if text.startswith("token_id:") and (match := _TOKEN_ID.fullmatch(text)):
        return int(match[1])
    return token_text(text)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _log_sum(first: float, second: float) -> float:
    total = exp(min(first, 0.0)) + exp(min(second, 0.0))
    return min(log(total), 0.0) if total > 0 else max(first, second)


def _sum(choice: Choice) -> float:
    return sum(exp(min(value, 0.0)) for value in choice.listed.values())
