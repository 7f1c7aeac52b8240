"""Refuses chat templates that print the date of the day: a reply, a score or a grade would change every midnight."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.models.chat_tokens import render_chat

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_DATES = (datetime.datetime(1987, 10, 31, 4, 5, 6), datetime.datetime(2026, 2, 14, 21, 43, 57))
_TRIALS: tuple[Conversation, ...] = (
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
    [{"role": "system", "content": "Be brief."}, *({"role": role, "content": "Hi"} for role in ("user", "assistant"))],  # type: ignore[typeddict-item, list-item]
)


def check_template_date(tokenizer: Any, ref: "ModelRef") -> None:
    """Checks that trial conversations have the same text on two different dates.

    A template that takes the date from an argument passes if `ref.chat_template_kwargs` sets the argument.

    Raises:
        InputError: The text depends on the date.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> check_template_date(open_tokenizer(ref), ref)
    """
    template = str(tokenizer.chat_template)
    if "strftime_now" not in template:  # the only function of a template that knows the date
        return
    if _texts(tokenizer, ref, _DATES[0]) == _texts(tokenizer, ref, _DATES[1]):
        return
    pin = "Set its date, for example `chat_template_kwargs: {date_string: 26 Jul 2024}`."
    raise InputError(
        "the chat template prints the date of the day, so results would differ from day to day",
        where=ref.path,
        hint=pin if "date_string" in template else "Use a copy of the model whose chat template prints a fixed date.",
    )


def _texts(tokenizer: Any, ref: "ModelRef", now: datetime.datetime) -> list[str]:
    """Renders the trial conversations on a date. A conversation that the template refuses has the text of the error."""
    texts = []
    with _clock(now):
        for messages in _TRIALS:
            try:
                prompt = messages[-1]["role"] == "user"
                texts.append(render_chat(tokenizer, messages, prompt, ref.chat_template_kwargs))
            except InputError as error:
                texts.append(error.what)
    return texts


@contextmanager
def _clock(now: datetime.datetime) -> Iterator[None]:
    """Sets the clock of transformers' templates. A template's arguments must be data, so none can replace the clock."""
    from transformers.utils import chat_template_utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return now

    original = chat_template_utils.datetime
    chat_template_utils.datetime = Clock
    try:
        yield
    finally:
        chat_template_utils.datetime = original
