"""Refuses chat templates that print the date of the day when a tokenizer is opened, before any model works."""

from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.models.chat_template import DatedTemplateError, render_chat

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_SYSTEM: Conversation = [{"role": "system", "content": "Be brief."}]
_TURNS: Conversation = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "How are you?"},
    {"role": "assistant", "content": "Fine."},
    {"role": "user", "content": "Bye"},
]


def check_template_date(tokenizer: Any, ref: "ModelRef") -> None:
    """Checks that trial conversations of one to five turns, with and without a system turn, print no date.

    A template that takes the date from an argument passes if `ref.chat_template_kwargs` sets the argument. A template
    that prints the date in other conversations only is refused when such a conversation is rendered.

    Raises:
        DatedTemplateError: The template asks for the date of the day.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> check_template_date(open_tokenizer(ref), ref)
    """
    for system in ([], _SYSTEM):
        for n_turns in range(1, len(_TURNS) + 1):
            messages = [*system, *_TURNS[:n_turns]]
            try:
                render_chat(tokenizer, messages, messages[-1]["role"] == "user", ref.chat_template_kwargs)
            except DatedTemplateError:
                raise
            except InputError:
                continue  # Whether the template refuses a prompt is checked for each prompt.
