"""What a reply is: the text that a model writes outside its thoughts.

Thinking models write a thought before the reply, between two marks such as ``<think>`` and ``</think>``. The list of
marks is in `rbr.thought_marks`. Every stage follows the same rules:

- A thought is not part of the reply.
- A thought begins at the start of the output, or directly after another thought. Invisible characters and an echoed
  header of the turn may come before it. A mark in the middle of a text is a quotation, unless it is a token of the
  model's tokenizer; a mark in ordinary words is always a quotation there. A chat template can open a thought before
  the output.
- Any closing mark of the same word ends a thought. A thought that does not end leaves no reply after it.
- A closing mark without an opening mark ends a thought if it is a token of the tokenizer and the first mark of the
  output. Otherwise the whole text is the reply. Therefore no policy can hide text by writing ``</think>`` after it.
- After a thought, a pair of marks around the whole reply, such as ``<answer>`` and ``</answer>``, is not part of it.

`rbr.models.reply_text` applies the rules to the tokens of a model.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rbr.reply_frame import says_nothing, without_wrapper
from rbr.thought_marks import ANY_MARK, Mark, is_in_words, mark_of

_Range = tuple[int, int]


@dataclass(frozen=True)
class Reply:
    """A model's output, split into the reply and its thoughts.

    Attributes:
        text: The reply, without thoughts and without surrounding white space.
        thought: Text of the thoughts; None if there was none.
        unclosed: Whether the last thought did not end.
        unopened: Whether the reply contains a closing mark that ends no thought.
        special_tokens: Number of special tokens between words of the reply. They are left out.

    Example:
        >>> split_thoughts("<think>An easy one.</think> Hello!").thought
        'An easy one.'
    """

    text: str
    thought: str | None = None
    unclosed: bool = False
    unopened: bool = False
    special_tokens: int = 0


EMPTY_REPLY = Reply("")
"""A reply without text and without thoughts."""


@dataclass(frozen=True)
class SpelledToken:
    """A token in the decoded output of a model.

    Attributes:
        start: Position of its first character.
        stop: Position after its last character; equal to `start` if the token is already left out of the text.
        special: Whether it is a special token, which is no text of the reply.

    Example:
        >>> SpelledToken(0, 7, special=True).stop
        7
    """

    start: int
    stop: int
    special: bool


def split_thoughts(text: str, *, opened: Mark | None = None, tokens: Sequence[SpelledToken] = ()) -> Reply:
    """Splits a model's output into the reply and its thoughts.

    Args:
        text: The output, with the marks of thoughts.
        opened: Mark with which the chat template opened a thought before the output; None if it did not.
        tokens: Tokens in the text that are parts of marks, and special tokens, in order. Text alone has none.

    Example:
        >>> split_thoughts("<think>I should refuse.</think>I'm sorry.").text
        "I'm sorry."
        >>> split_thoughts("<think>I should").unclosed
        True
        >>> from rbr.thought_marks import MARKS
        >>> split_thoughts("I should refuse.</think>I'm sorry.", opened=MARKS[0]).text
        "I'm sorry."
        >>> split_thoughts("I should refuse.</think>I'm sorry.")
        Reply(text="I should refuse.</think>I'm sorry.", thought=None, unclosed=False, unopened=True, special_tokens=0)
    """
    output = _Output(text, tokens)
    reply: list[_Range] = []
    thoughts: list[_Range] = []
    current = opened  # the mark that opened the thought; None in a reply
    quoted: set[str] = set()  # words of opening marks that are part of the reply
    seen: dict[Mark, None] = {}
    unopened = False
    is_first = True  # whether the reply has no text yet
    position = 0
    for match in ANY_MARK.finditer(text):
        mark, opens = mark_of(match)
        part = (position, match.start())
        is_first = is_first and says_nothing(output.shown([*reply, part]))
        if current is None and opens:
            counts = is_first or (output.has_token(match) and not is_in_words(match))
            if not counts or (mark.must_close and not mark.closes_in(text, match.end())):
                quoted.add(mark.word)
                is_first = False
                continue
            reply = [] if is_first else [*reply, part]
            current = mark
        elif current is None:
            if is_first and (mark.opens_reply or output.has_token(match)):
                reply = []
            elif output.has_token(match) and not thoughts and opened is None:
                # What looked like a reply was a thought.
                thoughts, reply = [*reply, part], []
            else:
                unopened |= mark.word not in quoted and not is_in_words(match)
                is_first = False
                continue
        elif not opens and mark.word == current.word:
            thoughts.append(part)
            current = None
        elif opens and mark.word == current.word and opened is not None and not thoughts and is_first:
            pass  # The model repeats the mark that the template wrote.
        else:
            continue  # A mark of another word, or a second opening mark, is part of the thought.
        seen[mark] = None
        position = match.end()
        is_first = says_nothing(output.shown(reply))
    (reply if current is None else thoughts).append((position, len(text)))
    shown = _without_end(output.shown(reply), seen)
    thought = output.shown(thoughts, separator="\n") if thoughts else None
    if thoughts and (inner := without_wrapper(shown)) != shown:
        inside = split_thoughts(inner)
        # A thought inside the wrapper is a quotation.
        shown = shown if inside.thought is not None else inside.text
    return Reply(shown, thought, current is not None, unopened, output.special_tokens_inside(reply))


def reply_of_text(text: str) -> Reply:
    """Splits a text that somebody gives as a reply. A text without a thought keeps its surrounding white space.

    Example:
        >>> reply_of_text(" Hello. ").text, reply_of_text("<think>Hm.</think> Hello. ").text
        (' Hello. ', 'Hello.')
    """
    reply = split_thoughts(text)
    return replace(reply, text=text) if reply.text == text.strip() else reply


def thought_notes(replies: Iterable[Reply]) -> Iterator[str]:
    """Yields a sentence for each thing about the thoughts of a file of replies that a person should know.

    Args:
        replies: The replies of the file.

    Example:
        >>> list(thought_notes([split_thoughts("<think>Hm."), split_thoughts("<think>Hm.</think>Hello.")]))[1]
        'In 1 reply, a thought does not end, so there is no reply after it.'
    """
    rows = list(replies)
    if count := sum(reply.thought is not None for reply in rows):
        yield f"{_in_replies(count)}, there is a thought, which is no part of the reply."
    if count := sum(reply.unclosed for reply in rows):
        yield f"{_in_replies(count)}, a thought does not end, so there is no reply after it."
    if count := sum(reply.unopened for reply in rows):
        yield f"{_in_replies(count)}, a mark ends a thought that did not begin, so the whole text is the reply."


def _in_replies(count: int) -> str:
    return f"In {count:,} {'reply' if count == 1 else 'replies'}"


def _without_end(reply: str, marks: Iterable[Mark]) -> str:
    """Removes the marks at the end of a reply."""
    for mark in marks:
        if mark.reply_end:
            reply = re.sub(rf"(?:{mark.reply_end}\s*)+\Z", "", reply, flags=re.IGNORECASE).strip()
    return reply


class _Output:
    """The output of a model, of which ranges are shown without special tokens."""

    def __init__(self, text: str, tokens: Sequence[SpelledToken]) -> None:
        self._text = text
        self._tokens = tokens

    def has_token(self, mark: re.Match[str]) -> bool:
        """Returns whether a token of the tokenizer is part of a mark."""
        return any(mark.start() <= token.start < token.stop <= mark.end() for token in self._tokens)

    def shown(self, ranges: Iterable[_Range], separator: str = " ") -> str:
        """Returns the text of some ranges. The separator keeps the text of two ranges from forming a mark."""
        parts = ("".join(self._pieces(start, stop)).strip() for start, stop in ranges)
        return separator.join(filter(None, parts))

    def special_tokens_inside(self, ranges: Sequence[_Range]) -> int:
        """Counts the special tokens with text before and after them."""
        count = waiting = 0
        is_after_text = False
        for start, stop in ranges:
            for number, piece in enumerate(self._pieces(start, stop)):
                waiting += number > 0 and is_after_text
                if piece.strip():
                    count, waiting, is_after_text = count + waiting, 0, True
        return count

    def _pieces(self, start: int, stop: int) -> Iterator[str]:
        """Yields the text of a range before, between and after its special tokens."""
        for token in self._tokens:
            if token.special and start <= token.start < stop:
                yield self._text[start : token.start]
                start = token.stop
        yield self._text[start:stop]
