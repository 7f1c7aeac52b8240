"""Encodes prompts as token ids, for the endpoint ``completions``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rbr.errors import InputError
from rbr.grading.answers import answer_tokens
from rbr.grading.in_process.prompt_tokens import PromptTokens

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef


class PromptEncoder(Protocol):
    """Encodes the user message to a judge: the chat template around it, and the text as token ids.

    Attributes:
        protects_text: Whether a control token that the text spells out stays text. If not, the grader neutralizes it.

    Example:
        >>> class CharacterEncoder:
        ...     protects_text = True
        ...     def encode(self, contents):
        ...         return [[ord(character) for character in content] for content in contents]
        >>> encoder: PromptEncoder = CharacterEncoder()
        >>> encoder.encode(["Hi"])
        [[72, 105]]
    """

    protects_text: bool

    def encode(self, contents: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each prompt, with the chat template and up to the beginning of the answer."""
        ...


class ChatTemplateEncoder:
    """Encodes prompts with a tokenizer and its chat template, as the in-process backends do.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        ref: The model, with the arguments of the chat template.
        settings: Section `grader` of a profile.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> encoder = open_encoder(profile.models.grader, profile.grader)
        >>> encoder.tokenizer.decode(encoder.encode(["Hi"])[0])
        '<|user|>Hi<|end|><|assistant|>'
    """

    protects_text = True

    def __init__(self, tokenizer: Any, ref: "ModelRef", settings: "GraderSettings") -> None:
        self.tokenizer = tokenizer
        self._tokens = PromptTokens(tokenizer, ref, settings)

    def encode(self, contents: Sequence[str]) -> list[list[int]]:
        """See `PromptEncoder.encode`."""
        return [self._tokens.encode_message(content) for content in contents]


def open_encoder(ref: "ModelRef | None", settings: "GraderSettings") -> ChatTemplateEncoder:
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

    return ChatTemplateEncoder(open_tokenizer(ref), ref, settings)


def answer_ids(
    encoder: ChatTemplateEncoder, settings: "GraderSettings", ref: "ModelRef"
) -> tuple[list[int], list[int]]:
    """Returns the token ids that mean yes, and those that mean no.

    Raises:
        InputError: No spelling of yes, or none of no, is a single token.
    """
    yes, no = (answer_tokens(encoder.tokenizer, spellings, ref.path) for spellings in (settings.yes, settings.no))
    return yes, no
