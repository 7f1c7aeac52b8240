"""A short notation for many wordings of one thing: ``"I {can't|won't} help{| you}."`` stands for four texts."""

import re
from itertools import product

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def expand(pattern: str) -> tuple[str, ...]:
    """Every text that a pattern stands for, in order; braces without a bar (``{act}``) stay as they are."""
    parts = _CHOICE.split(pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return tuple("".join(words) for words in product(*choices))


def expand_all(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of several patterns, in order."""
    return tuple(text for pattern in patterns for text in expand(pattern))
