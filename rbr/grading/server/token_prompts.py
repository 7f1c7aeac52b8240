"""Encodes prompts as token ids, for the endpoint ``completions``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rbr.errors import InputError
from rbr.grading.answers import answer_tokens

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef


class PromptEncoder(Protocol):
    """Encodes the user message to a judge: the chat template around it, and the text as token ids.

    Example:
        >>> class CharacterEncoder:
        ...     def encode(self, contents):
        ...         return [[ord(character) for character in content] for content in contents]
        >>> encoder: PromptEncoder = CharacterEncoder()
        >>> encoder.encode(["Hi"])
        [[72, 105]]
    """

    def encode(self, contents: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each prompt, with the chat template and up to the beginning of the answer."""
        ...


class ChatTemplateEncoder:
    """Encodes prompts with a tokenizer and its chat template; each prompt is encoded whole.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        template_kwargs: Arguments of the chat template.

    Example:
        >>> from transformers import AutoTokenizer
        >>> encoder = ChatTemplateEncoder(AutoTokenizer.from_pretrained("rbr_sandbox/models/grader"), {})
        >>> encoder.tokenizer.decode(encoder.encode(["Hi"])[0])
        '<|user|>Hi<|end|><|assistant|>'
    """

    def __init__(self, tokenizer: Any, template_kwargs: dict[str, Any]) -> None:
        self.tokenizer = tokenizer
        self._template_kwargs = template_kwargs

    def encode(self, contents: Sequence[str]) -> list[list[int]]:
        """See `PromptEncoder.encode`."""
        texts = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=False,
                add_generation_prompt=True,
                **self._template_kwargs,
            )
            for content in contents
        ]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]


def open_encoder(ref: "ModelRef | None") -> ChatTemplateEncoder:
    """Opens the tokenizer of `models.grader`; no weights are read.

    Raises:
        InputError: There is no model, the tokenizer cannot be opened, or it has no chat template.
    """
    if ref is None:
        raise InputError(
            "the endpoint completions needs the tokenizer of models.grader",
            where="grader.endpoint",
            hint="Set models.grader to the model that the server serves, or set grader.endpoint to chat.",
        )
    from rbr.models.pretrained import open_tokenizer

    return ChatTemplateEncoder(open_tokenizer(ref), ref.chat_template_kwargs)


def answer_ids(
    encoder: ChatTemplateEncoder, settings: "GraderSettings", ref: "ModelRef"
) -> tuple[list[int], list[int]]:
    """Returns the token ids that mean yes, and those that mean no.

    Raises:
        InputError: No spelling of yes, or none of no, is a single token.
    """
    yes, no = (answer_tokens(encoder.tokenizer, spellings, ref.path) for spellings in (settings.yes, settings.no))
    return yes, no
