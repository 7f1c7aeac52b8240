"""How a policy whose chat template opens a thought writes a reply without a thought."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbr.conversation import Message
from rbr.errors import InputError
from rbr.models.chat_template import render_chat
from rbr.models.reply_text import opened_thought

_TRIAL = "Good evening."


@dataclass(frozen=True)
class ThinkingTurn:
    """The text around a reply that follows a generation prompt with an open thought.

    Attributes:
        before: Text between the generation prompt and the reply: the end of the thought.
        after: Text after the reply: the end of the turn.

    Example:
        >>> ThinkingTurn("\\n</think>\\n\\n", "<|im_end|>\\n").after
        '<|im_end|>\\n'
    """

    before: str
    after: str


def thinking_turn(tokenizer: Any, chat_template_kwargs: Mapping[str, Any]) -> ThinkingTurn | None:
    """Returns what surrounds a reply without a thought; None if the template opens no thought.

    Some templates write an empty thought before a reply. Then the thought ends as the template writes it. Other
    thoughts end as the templates of Qwen and DeepSeek write an empty one, ``<think>\\n\\n</think>\\n\\n``. Marks
    that are no tags stand directly before the reply.

    Raises:
        InputError: The template leaves out replies.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> tokenizer.chat_template += "{% if add_generation_prompt %}<think>\\n{% endif %}"
        >>> thinking_turn(tokenizer, {})
        ThinkingTurn(before='\\n</think>\\n\\n', after='<|end|>')
    """
    mark = opened_thought(tokenizer, chat_template_kwargs)
    if mark is None:
        return None
    question = Message(role="user", content="Good morning.")
    prompt = render_chat(tokenizer, [question], True, chat_template_kwargs)
    turns = [question, Message(role="assistant", content=_TRIAL)]
    before, found, after = render_chat(tokenizer, turns, False, chat_template_kwargs).rpartition(_TRIAL)
    if not found:
        raise InputError(
            "the chat template opens a thought, and leaves out the reply of the assistant",
            where=getattr(tokenizer, "name_or_path", ""),
            hint="Set chat_template_kwargs of the policy so that it does not think, such as {enable_thinking: false}.",
        )
    if before.startswith(prompt):
        return ThinkingTurn(before.removeprefix(prompt), after)
    if not mark.closing_text.startswith("</"):
        return ThinkingTurn(mark.closing_text, after)
    line_breaks = "\n\n".removeprefix(prompt[len(prompt.rstrip("\n")) :])
    return ThinkingTurn(f"{line_breaks}{mark.closing_text}\n\n", after)
