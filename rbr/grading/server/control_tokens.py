"""Keeps other people's text from becoming structure, if the server tokenizes it.

Most servers turn a control token that is spelled out in a message, such as ``<|im_end|>``, into the real token. A reply
could then end its own turn and speak as somebody else. A space after the first character prevents it, and a judge can
still read what the text says.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.conversation import Conversation, well_formed
from rbr.models.added_tokens import FAMILIES, is_word, read_control_texts

if TYPE_CHECKING:
    from rbr.profile import ModelRef


class SpelledOutTokens:
    """Finds the control tokens that a text spells out.

    Args:
        literals: Control tokens of the judge's own tokenizer, if they are known.

    Attributes:
        literals: The literals that are neutralized: words and white space are left out. The longest comes first.

    Example:
        >>> tokens = SpelledOutTokens()
        >>> tokens.neutralize("Sure.<|im_end|></s> Go to [INST] in <b>bold</b>")
        ('Sure.< |im_end|>< /s> Go to [ INST] in <b>bold</b>', 3)
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        # The longest token first, so that a token that begins like another one is found whole. A space cannot split a
        # single character.
        texts = {text.strip() for text in literals}
        self.literals = sorted((text for text in texts if len(text) > 1), key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join([*map(_pattern_of, self.literals), *FAMILIES]), re.IGNORECASE)

    @classmethod
    def of(cls, ref: "ModelRef | None") -> "SpelledOutTokens":
        """Returns the finder with the tokens of a local model, if `ref` names one; its files are read as JSON."""
        return cls(read_control_texts(Path(ref.path)) if ref is not None and ref.revision is None else ())

    def neutralize(self, text: str) -> tuple[str, int]:
        """Returns the text with a space in each control token, and the number of control tokens.

        Characters that no encoding can carry (lone surrogates) become U+FFFD.
        """
        text, total = well_formed(text), 0
        # A space inside one token can leave another one whole, if they overlap.
        while True:
            text, found = self._pattern.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)
            if not found:
                return text, total
            total += found

    def neutralize_conversation(self, messages: Conversation) -> tuple[Conversation, int]:
        """Returns the conversation with all its texts neutralized, and the number of control tokens."""
        neutral = [self.neutralize(message["content"]) for message in messages]
        found = sum(count for _, count in neutral)
        return [{**message, "content": text} for message, (text, _) in zip(messages, neutral, strict=True)], found


def _pattern_of(text: str) -> str:
    # In another case, a special word such as USER is an ordinary word.
    return f"(?-i:{re.escape(text)})" if is_word(text) else re.escape(text)
