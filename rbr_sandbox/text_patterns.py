"""Expands a short notation for many texts: the pattern ``"I {can't|won't} help{| you}."`` stands for four texts.

`splice` and `exchange` make a new text from two texts.
"""

import re
from difflib import SequenceMatcher
from itertools import product
from random import Random

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def expand(pattern: str) -> tuple[str, ...]:
    """Returns every text of a pattern, in order. Braces without a bar (``{act}``) stay in the texts."""
    parts = _CHOICE.split(pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return tuple("".join(words) for words in product(*choices))


def expand_all(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the texts of several patterns, in order."""
    return tuple(text for pattern in patterns for text in expand(pattern))


def splice(rng: Random, first: str, second: str) -> str:
    """Joins the beginning of one text (at least one word) and the end of another text.

    The end starts at the word position of the cut, or up to two positions before, so no position is skipped.
    """
    first_words, second_words = first.split(), second.split()
    cut = rng.randrange(1, max(2, len(first_words)))
    return " ".join([*first_words[:cut], *second_words[max(0, min(cut, len(second_words) - 1) - rng.randrange(3)) :]])


def exchange(rng: Random, text: str, other: str) -> str:
    """Returns ``text`` after one of its differences from ``other`` takes the words of ``other``."""
    words, other_words = text.split(), other.split()
    differences = [
        opcode
        for opcode in SequenceMatcher(None, words, other_words, autojunk=False).get_opcodes()
        if opcode[0] != "equal"
    ]
    if not differences:
        return text
    _, start, end, other_start, other_end = rng.choice(differences)
    return " ".join([*words[:start], *other_words[other_start:other_end], *words[end:]])
