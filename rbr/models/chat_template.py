"""Renders conversations in the chat template of a tokenizer.

A template that prints the date of the day is refused: a reply, a score or a grade would change every midnight.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from rbr.conversation import Message
from rbr.errors import InputError, printable

# What templates raise: `raise_exception`, and operations on turns that a template does not expect.
_TEMPLATE_ERRORS = (
    TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
_CLOCK = "strftime_now"  # the only function of a template that knows the date
_DATE = "the chat template prints the date of the day, so results would differ from day to day"
# A macro hides the function of the same name. The line break after a block is not printed.
_NO_CLOCK = f"{{% macro {_CLOCK}(format) %}}{{{{ raise_exception('{_DATE}') }}}}{{% endmacro %}}\n"


class DatedTemplateError(InputError):
    """The chat template asks for the date of the day.

    Example:
        >>> issubclass(DatedTemplateError, InputError)
        True
    """


def render_chat(
    tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool, chat_template_kwargs: Mapping[str, Any]
) -> str:
    """Renders the chat template as text.

    Raises:
        DatedTemplateError: The template asks for the date of the day.
        InputError: The template refuses the turns, or fails. The text has the template's own words.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> render_chat(tokenizer, [{"role": "user", "content": "Hi"}], True, {})
        '<|user|>Hi<|end|><|assistant|>'
    """
    kwargs = dict(chat_template_kwargs)
    try:
        template = tokenizer.get_chat_template(kwargs.pop("chat_template", None), kwargs.get("tools"))
        return tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            chat_template=_NO_CLOCK + template if _CLOCK in template else template,
            **kwargs,
        )
    except _TEMPLATE_ERRORS as error:
        raise _refusal(tokenizer, messages, error) from error


def _refusal(tokenizer: Any, messages: Sequence[Message], error: Exception) -> InputError:
    where = getattr(tokenizer, "name_or_path", "")
    if _DATE in str(error):
        pin = "Set its date, for example `chat_template_kwargs: {date_string: 26 Jul 2024}`."
        copy = "Use a copy of the model whose chat template prints a fixed date."
        return DatedTemplateError(
            _DATE, where=where, hint=pin if "date_string" in str(tokenizer.chat_template) else copy
        )
    if isinstance(error, TemplateError):
        what = f"the chat template refuses the conversation: {error}"
    else:
        what = f"the chat template fails: {printable(str(error)) or type(error).__name__}"
    return InputError(what, where=where, hint=f"The turns are: {', '.join(turn['role'] for turn in messages)}.")
