"""What a reply is: the text that a model writes outside its thoughts.

Thinking models write a thought before the reply, between two marks: ``<think>...</think>``, ``<thinking>``,
``<reasoning>`` or ``[THINK]...[/THINK]``. The rules are the same in synthesis, grading, reinforcement learning and
evaluation:

- A thought is not part of the reply.
- A thought that does not end leaves no reply after it: a model that is cut while it thinks has an empty reply.
- A closing mark without an opening mark ends a thought that the chat template opened. The text before it is no reply.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbr.models.chat_template import render_chat

_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
)
_CLOSING = dict(_MARKS)
_ANY_MARK = re.compile("|".join(re.escape(mark) for pair in _MARKS for mark in pair))


@dataclass(frozen=True)
class Reply:
    """A model's output, split into the reply and its thoughts.

    Attributes:
        text: The reply, without thoughts and without surrounding white space.
        thought: Text of the thoughts; None if there was none.
        unclosed: Whether the last thought did not end.

    Example:
        >>> split_thoughts("<think>An easy one.</think> Hello!")
        Reply(text='Hello!', thought='An easy one.', unclosed=False)
    """

    text: str
    thought: str | None
    unclosed: bool


def split_thoughts(text: str, *, opened: bool = False) -> Reply:
    """Splits a model's output into the reply and its thoughts.

    Args:
        text: The output, with the marks of thoughts.
        opened: Whether the chat template opened a thought before the output.

    Example:
        >>> split_thoughts("I should refuse.</think>I'm sorry.").text
        "I'm sorry."
        >>> split_thoughts("<think>I should").text
        ''
        >>> split_thoughts("I should", opened=True).unclosed
        True
    """
    reply: list[str] = []
    thoughts: list[str] = []
    closing = "" if opened else None  # the mark that ends the thought; empty if any mark does
    position = 0
    for mark in _ANY_MARK.finditer(text):
        part = text[position : mark.start()]
        if closing is None and mark[0] in _CLOSING:
            reply.append(part)
            closing = _CLOSING[mark[0]]
        elif closing is None:
            # The template opened the thought. What looked like a reply was its beginning.
            thoughts = ["".join([*thoughts, *reply, part])]
            reply = []
        elif mark[0] == closing or (closing == "" and mark[0] not in _CLOSING):
            thoughts.append(part)
            closing = None
        elif closing == "" and not part.strip() and not thoughts:
            closing = _CLOSING[mark[0]]  # The model repeats the mark that the template wrote.
        else:
            continue  # A mark of another kind, or a second opening mark, is part of the thought.
        position = mark.end()
    rest = text[position:]
    (reply if closing is None else thoughts).append(rest)
    # A space between two parts, so that they cannot form a mark.
    visible = " ".join(stripped for part in reply if (stripped := part.strip()))
    thought = "\n".join(stripped for part in thoughts if (stripped := part.strip()))
    return Reply(visible, thought if thoughts else None, unclosed=closing is not None)


def reply_of_tokens(tokenizer: Any, ids: Sequence[int], *, opened: bool = False) -> Reply:
    """Decodes a model's output, and splits it into the reply and its thoughts.

    Args:
        tokenizer: The tokenizer.
        ids: Tokens of the output. Special tokens are left out, except the marks of thoughts.
        opened: Whether the chat template opened a thought before the output, as `opens_thought` says.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> reply_of_tokens(tokenizer, tokenizer.encode("<think>Hm.</think>Hello!<|end|>")).text
        'Hello!'
    """
    # Decode with the special tokens that are marks: `skip_special_tokens` would join a thought and its reply.
    dropped = _special_ids(tokenizer)
    kept = [token for token in ids if token not in dropped]
    return split_thoughts(tokenizer.decode(kept, skip_special_tokens=False), opened=opened)


def opens_thought(tokenizer: Any, chat_template_kwargs: Mapping[str, Any]) -> bool:
    """Returns whether the chat template begins an assistant turn with an open thought, such as ``<think>``.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> opens_thought(tokenizer, {})
        False
    """
    trial = "Good morning."
    text = render_chat(tokenizer, [{"role": "user", "content": trial}], True, chat_template_kwargs)
    return split_thoughts(text.rpartition(trial)[2]).unclosed


def _special_ids(tokenizer: Any) -> set[int]:
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    marks = {tokenizer.convert_tokens_to_ids(mark) for pair in _MARKS for mark in pair}
    return (special | set(tokenizer.all_special_ids)) - (marks - {tokenizer.unk_token_id})
