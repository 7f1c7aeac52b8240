"""A short notation for many wordings of one thing: ``"I {can't|won't} help{| you}."`` stands for four texts.

What is spliced from two wordings is a third, in a form that nobody wrote down.
"""

import re
from difflib import SequenceMatcher
from itertools import product
from random import Random

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def expand(pattern: str) -> tuple[str, ...]:
    """Every text that a pattern stands for, in order; braces without a bar (``{act}``) stay as they are."""
    parts = _CHOICE.split(pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return tuple("".join(words) for words in product(*choices))


def expand_all(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of several patterns, in order."""
    return tuple(text for pattern in patterns for text in expand(pattern))


def splice(rng: Random, first: str, second: str) -> str:
    """The beginning of one text, at least a word of it, and the end of another; they overlap rather than leave out."""
    words, others = first.split(), second.split()
    at = rng.randrange(1, max(2, len(words)))
    return " ".join([*words[:at], *others[max(0, min(at, len(others) - 1) - rng.randrange(3)) :]])


def exchange(rng: Random, text: str, other: str) -> str:
    """A text that in one of the places where it differs from another reads as the other does."""
    words, others = text.split(), other.split()
    places = [
        place for place in SequenceMatcher(None, words, others, autojunk=False).get_opcodes() if place[0] != "equal"
    ]
    if not places:
        return text
    _, start, end, from_, to = rng.choice(places)
    return " ".join([*words[:start], *others[from_:to], *words[end:]])
