"""The marks around the thoughts of thinking models, in replies and in the answers of judges.

Case does not matter, and blanks inside a mark are allowed. A tag can have attributes.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A pair of marks around a thought.

    Attributes:
        word: Word of the pair. Any closing mark with the same word ends the thought.
        beginning: Pattern of the first part of the opening mark; a tokenizer may split the mark after it.
        opening: Pattern of the opening mark.
        closing: Pattern of the closing mark.
        closing_text: The closing mark as models usually write it.
        reply_end: Pattern of the marks at the end of a reply after such a thought; empty if there are none.
        opens_reply: Whether the closing mark also stands before a reply without a thought.
        must_close: Whether the opening mark counts only if a closing mark follows: it is an ordinary word.

    Example:
        >>> MARKS[0].word, MARKS[0].closing_text
        ('think', '</think>')
    """

    word: str
    beginning: str
    opening: str
    closing: str
    closing_text: str
    reply_end: str = ""
    opens_reply: bool = False
    must_close: bool = False

    def closes_in(self, text: str, start: int) -> bool:
        """Returns whether a text has the closing mark after a position."""
        return re.compile(self.closing, re.IGNORECASE).search(text, start) is not None


def _tag(word: str, left: str, right: str, closing_text: str, *, name: str = "", attributes: str = "") -> Mark:
    name = name or word
    return Mark(
        word,
        rf"{left}\s*{name}(?:{attributes}\s*{right}|\s*\Z)",
        rf"{left}\s*{name}{attributes}\s*{right}",
        rf"{left}\s*/\s*{name}\s*{right}",
        closing_text,
    )


_HEADER = r"(?:<\|end\|>\s*)?(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*"
_MESSAGE = r"(?:[^<]|<\|constrain\|>){0,200}<\|message\|>"

_ATTRIBUTES = r"""(?:\s+[a-z_][a-z0-9_:.-]{0,30}\s*=\s*(?:"[^"<>]{0,200}"|'[^'<>]{0,200}'))*"""
_HERE_IS = r"Here(?:\s+is|['\u2019]s)\s+my\s+"

TAG_WORDS = (
    "think", "thinking", "thought", "reasoning", "analysis", "scratchpad", "reflection", "cot", "reason", "internal",
    "antThinking", "inner_monologue",
)  # fmt: skip
"""Words of the marks in angle brackets."""

MARKS = (
    *(_tag(word, r"<\|?", r"\|?>", f"</{word}>", attributes=_ATTRIBUTES) for word in TAG_WORDS),
    _tag("think", r"\[", r"\]", "[/THINK]"),
    _tag("think", "◁", "▷", "◁/think▷"),
    _tag("think", "<", ">", "</seed:think>", name=r"seed\s*:\s*think"),
    Mark(
        "thought",
        r"<\|\s*begin_of_thought",
        r"<\|\s*begin_of_thought\s*\|>",
        r"<\|\s*end_of_thought\s*\|>(?:\s*<\|\s*begin_of_solution\s*\|>)?",
        "<|end_of_thought|>",
        reply_end=r"<\|\s*end_of_solution\s*\|>",
    ),
    Mark(
        "thinking",
        r"<\|\s*START_THINKING",
        r"<\|\s*START_THINKING\s*\|>",
        r"<\|\s*END_THINKING\s*\|>(?:\s*<\|\s*START_RESPONSE\s*\|>)?",
        "<|END_THINKING|>",
        reply_end=r"<\|\s*END_RESPONSE\s*\|>",
    ),
    # Solar. Its opening mark is also that of the tag `think`, so any closing mark of this word ends the thought.
    Mark(
        "think",
        r"<\|think\|>",
        r"<\|think\|>",
        r"(?:(?:<\|end\|>\s*)?<\|begin\|>\s*assistant\s*)?<\|content\|>",
        "<|end|><|begin|>assistant<|content|>",
        reply_end=r"<\|end\|>",
        opens_reply=True,
    ),
    # Granite 3.2
    Mark(
        "Granite",
        rf"{_HERE_IS}thought",
        rf"{_HERE_IS}thought\s+process\s*:",
        rf"{_HERE_IS}response\s*:",
        "Here is my response:",
    ),
    # Apriel
    Mark(
        "Apriel",
        r"Here\s+are\s+my\s+reasoning",
        r"Here\s+are\s+my\s+reasoning\s+steps\s*:",
        r"\[\s*BEGIN\s+FINAL\s+RESPONSE\s*\]",
        "[BEGIN FINAL RESPONSE]",
        reply_end=r"\[\s*END\s+FINAL\s+RESPONSE\s*\]",
    ),
    # Harmony, decoded without its special tokens.
    Mark("final", r"(?!)", r"analysis(?=\S)", r"assistantfinal", "assistantfinal", must_close=True),
    # Gemma
    Mark("thought", r"<\|channel>", r"<\|channel>\s*thought\b", r"<channel\|>", "<channel|>"),
    # Harmony: the final channel is the reply. Every other channel is a thought.
    Mark(
        "channel",
        r"<\|channel\|?(?:>|\Z)",
        rf"{_HEADER}(?!\s*final\b)[a-z]{_MESSAGE}",
        rf"{_HEADER}final\b{_MESSAGE}",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        reply_end=r"<\|(?:end|return)\|>",
        opens_reply=True,
    ),
)
"""The marks of thoughts, of replies and of the answers of judges."""

_PATTERNS = [pattern for mark in MARKS for pattern in (mark.opening, mark.closing)]
ANY_MARK = re.compile("|".join(f"({pattern})" for pattern in _PATTERNS), re.IGNORECASE)
"""Finds marks; `mark_of` says which one was found."""

# Tokens that are parts of the marks of harmony, Solar and Cohere.
_PART = re.compile(r"<\|(?:start|begin|end|message|content|constrain|return|(?:START|END)_RESPONSE)\|>", re.IGNORECASE)
_BEGINNING = re.compile(rf"\s*(?:{'|'.join(mark.beginning for mark in MARKS)})", re.IGNORECASE)


def mark_of(match: re.Match[str]) -> tuple[Mark, bool]:
    """Returns the mark that `ANY_MARK` has found, and whether it is an opening mark.

    Example:
        >>> found = ANY_MARK.search("Hello </THINK>")
        >>> mark_of(found)[0].word, mark_of(found)[1]
        ('think', False)
    """
    assert match.lastindex is not None
    index = match.lastindex - 1
    return MARKS[index // 2], index % 2 == 0


def is_in_words(match: re.Match[str]) -> bool:
    """Returns whether the mark that `ANY_MARK` has found consists of ordinary words.

    Example:
        >>> is_in_words(ANY_MARK.search("Here is my thought process: ")), is_in_words(ANY_MARK.search("<think>"))
        (True, False)
    """
    return match[0][0].isalpha()


def last_open_mark(text: str, *, start: int = 0) -> Mark | None:
    """Returns the mark of the thought in which a text ends; None if it ends in none.

    Args:
        text: The text, such as a rendered chat template.
        start: Position before which marks do not count.

    Example:
        >>> last_open_mark("<|assistant|><think>\\n").closing_text
        '</think>'
        >>> last_open_mark("<|assistant|><think>\\n\\n</think>\\n\\n") is None
        True
    """
    current = None
    for match in ANY_MARK.finditer(text):
        mark, opens = mark_of(match)
        if match.end() <= start:
            continue
        if current is None and opens:
            current = None if mark.must_close else mark
        elif current is not None and not opens and mark.word == current.word:
            current = None
    return current


def begins_a_thought(text: str) -> bool:
    """Returns whether a text begins with an opening mark, or with the first part of one.

    Example:
        >>> begins_a_thought("<think>"), begins_a_thought("<|channel|>"), begins_a_thought("yes")
        (True, True, False)
    """
    return bool(_BEGINNING.match(text))


def is_part_of_a_mark(text: str) -> bool:
    """Returns whether the text of a token is a mark or a part of one.

    Example:
        >>> is_part_of_a_mark("</think>"), is_part_of_a_mark("<|message|>"), is_part_of_a_mark("<|user|>")
        (True, True, False)
    """
    return begins_a_thought(text) or any(pattern.fullmatch(text.strip()) for pattern in (ANY_MARK, _PART))
