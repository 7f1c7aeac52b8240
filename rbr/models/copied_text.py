"""Finds out which kinds of text a chat template does not copy as they are.

A template can lowercase, escape, shorten or search the text of a message. Then a model reads another text than the one
that was written, and a trial with one simple word does not show it.
"""

from collections.abc import Callable

N_LONG = 20_000

TRIAL_TEXTS = {
    "capital letters": "Is It SO?",
    "the characters < > & ' \"": "a <b> & 'c' \"d\"",
    "letters with accents and other scripts": "Grüße, ﬁ, 中文",
    "backslashes and braces": r"{{ a }} \n {b}",
    "double blanks and tabs": "a  b\t\tc",
    "line breaks": "a\r\nb\n\n\nc\rd",
    "line breaks at the ends": "\n\na\n\n",
    "the switch /think": "a /think b",
    "the switch /no_think": "a /no_think b",
    "the marks <think> and </think>": "a <think>b</think> c",
    f"the end of a text of {N_LONG:,} characters": "word " * (N_LONG // 5 - 1) + "end.",
}
"""Texts that some chat templates change, by a description."""


def changed_texts(copies: Callable[[str], bool]) -> list[str]:
    """Returns descriptions of the texts that a chat template changes.

    Args:
        copies: Renders a text as a message, and returns whether the template has copied the text.

    Example:
        >>> changed_texts(lambda text: text.lower() == text)
        ['capital letters', 'letters with accents and other scripts']
    """
    return [description for description, text in TRIAL_TEXTS.items() if not copies(text)]
