"""Finds prompts that a model cannot use, before any model works: refused by the template, or too long."""

from collections.abc import Mapping, Sequence
from typing import Any

from rbr.conversation import Message
from rbr.errors import InputError
from rbr.models.chat_tokens import encode_chat


def prompt_problem(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    limit: int,
    new_tokens: int = 0,
    add_generation_prompt: bool = True,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> str | None:
    """Returns why a model cannot use a prompt, or None if it can.

    Args:
        tokenizer: The model's tokenizer, from `rbr.models.pretrained.open_tokenizer`.
        messages: The prompt. For a reward model, add an assistant turn.
        limit: The model's context in tokens, from `rbr.models.pretrained.context_limit`.
        new_tokens: Number of tokens that must fit after the prompt, such as `synthesis.max_new_tokens`.
        add_generation_prompt: Whether the beginning of an assistant turn follows; False for a reward model.
        chat_template_kwargs: Arguments of the chat template: `chat_template_kwargs` of the model's reference.

    Returns:
        One sentence without a period; it says what the template said, or the number of tokens and the limit.

    Example:
        >>> from rbr.models.pretrained import context_limit, open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> tokenizer = open_tokenizer(ref)
        >>> limit = context_limit(ref, tokenizer)
        >>> prompt_problem(tokenizer, [{"role": "user", "content": "Hi"}], limit=limit, new_tokens=64)
        >>> prompt_problem(tokenizer, [{"role": "user", "content": "Hi " * 500}], limit=limit, new_tokens=64)
        'the prompt has 1004 tokens, but at most 448 fit: the context has 512 tokens, and 64 are for the reply'
    """
    try:
        ids = encode_chat(
            tokenizer,
            messages,
            add_generation_prompt=add_generation_prompt,
            chat_template_kwargs=chat_template_kwargs,
        )
    except InputError as error:
        return error.what
    if len(ids) + new_tokens <= limit:
        return None
    reply = f", and {new_tokens} are for the reply" if new_tokens else ""
    return (
        f"the prompt has {len(ids)} tokens, but at most {max(0, limit - new_tokens)} fit: "
        f"the context has {limit} tokens{reply}"
    )
