"""The longest texts of a rulebook that models read after a prompt: questions to the grader and writing instructions.

A prompt fits into the context of a model if it fits together with the longest of these texts. They are found by their
number of characters, so no tokenizer is needed, and an edit of any other text changes nothing here.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from rbr.rulebook.fields import Entry
from rbr.rulebook.parts import Proposition, Propositions, Synthesis

Text = TypeVar("Text")

LONGEST = 3
"""Number of texts of a kind. The text with the most characters is not always the one with the most tokens."""


class LongestTexts(Entry):
    """The longest texts of a rulebook.

    Attributes:
        propositions: The propositions with the longest questions, and those with the longest examples.
        instructions: The longest writing instructions.

    Example:
        >>> LongestTexts(propositions=(), instructions=("Answer in full.",)).instructions
        ('Answer in full.',)
    """

    propositions: tuple[Proposition, ...]
    instructions: tuple[str, ...]


def longest_texts(propositions: Propositions, synthesis: Synthesis) -> LongestTexts:
    """Finds the longest texts of a rulebook.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> rulebook = load_rulebook("rulebook")
        >>> len(longest_texts(rulebook.propositions, rulebook.synthesis).instructions)
        3
    """
    entries = [entry for _, entry in propositions.items()]
    instructions = {text for _, recipe in synthesis.items() for slot in recipe.slots for text in slot.instructions}
    with_examples = [entry for entry in entries if entry.examples]
    kept = [*_longest(entries, lambda entry: len(entry.question)), *_longest(with_examples, _length_of_examples)]
    return LongestTexts(
        # An entry may be among the longest in both ways.
        propositions=tuple({entry.question: entry for entry in kept}.values()),
        instructions=tuple(_longest(sorted(instructions), len)),
    )


def _longest(texts: Iterable[Text], length: Callable[[Text], int]) -> list[Text]:
    return sorted(texts, key=length, reverse=True)[:LONGEST]


def _length_of_examples(entry: Proposition) -> int:
    return sum(len(example.prompt or "") + len(example.reply) for example in entry.examples)
