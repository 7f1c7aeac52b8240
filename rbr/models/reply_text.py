"""Reads the reply from the tokens of a model. `rbr.thoughts` says what a reply is.

A mark of a thought can be a special token of the tokenizer. Then it is found by its id, before special tokens are left
out: otherwise a thought and its reply would be joined.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rbr.conversation import Message
from rbr.models.chat_template import render_chat
from rbr.thought_marks import Mark, is_part_of_a_mark, last_open_mark
from rbr.thoughts import Reply, SpelledToken, split_thoughts


class ReplyReader:
    """Reads replies from the tokens that a model writes.

    Args:
        tokenizer: The tokenizer. Without a chat template, no thought is open before the output.
        chat_template_kwargs: Arguments of the chat template, such as ``{"enable_thinking": False}``.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> reader = ReplyReader(tokenizer, {})
        >>> reader.read(tokenizer.encode("<think>Hm.</think>Hello!<|end|>")).text
        'Hello!'
    """

    def __init__(self, tokenizer: Any, chat_template_kwargs: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._opened = opened_thought(tokenizer, chat_template_kwargs) if tokenizer.chat_template else None
        added = tokenizer.added_tokens_decoder
        special = {token for token, content in added.items() if content.special} | set(tokenizer.all_special_ids)
        self._special = frozenset(special)
        self._marks = frozenset(token for token, content in added.items() if is_part_of_a_mark(content.content))
        self._ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}

    def read(self, ids: Sequence[int]) -> Reply:
        """Decodes a model's output, and splits it into the reply and its thoughts.

        Args:
            ids: Tokens of the output. End tokens, padding and other special tokens are left out of the reply.
        """
        text = ""
        tokens: list[SpelledToken] = []
        run: list[int] = []  # tokens of text, which are decoded together
        for token in ids:
            if token in self._ends:
                continue
            if token in self._marks:
                text += self._decode(run)
                run = []
                start = len(text)
                text += self._decode([token])
                tokens.append(SpelledToken(start, len(text), token in self._special))
            elif token in self._special:
                place = len(text) + len(self._decode(run))
                tokens.append(SpelledToken(place, place, special=True))
            else:
                run.append(token)
        return split_thoughts(text + self._decode(run), opened=self._opened, tokens=tokens)

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False) if ids else ""


def opened_thought(tokenizer: Any, chat_template_kwargs: Mapping[str, Any]) -> Mark | None:
    """Returns the mark with which the chat template begins an assistant turn in a thought; None if it does not.

    Only the text that ``add_generation_prompt`` adds counts. A template may mention marks in other turns.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> opened_thought(tokenizer, {}) is None
        True
    """
    turns = [Message(role="user", content="Good morning.")]
    without = render_chat(tokenizer, turns, False, chat_template_kwargs)
    text = render_chat(tokenizer, turns, True, chat_template_kwargs)
    # If the template ignores `add_generation_prompt`, only a mark at the end of its text counts.
    end = len(text.rstrip()) - 1
    added = next((k for k, pair in enumerate(zip(without, text, strict=False)) if pair[0] != pair[1]), len(without))
    return last_open_mark(text, start=min(added, end))
