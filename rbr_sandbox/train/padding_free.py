"""Batches without padding: all texts are packed into one sequence, and attention stays inside each text.

Half of a padded batch of short conversations would be padding. A text is a prefix, followed by any number of questions.
Each question attends to the prefix and to itself, but not to other questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, LlamaModel

_NAME = "padding_free"


@dataclass(frozen=True)
class TextLayout:
    """The lengths and the attention mask of one text in a packed sequence.

    Attributes:
        prefix_length: Number of tokens of the prefix; attention inside the prefix is causal.
        questions_length: Number of tokens of all questions together.
        question_mask: Values to add to the attention scores of the questions' tokens: 0 or -inf, of shape
            (questions_length, prefix_length + questions_length). None without questions.
    """

    prefix_length: int
    questions_length: int
    question_mask: torch.Tensor | None

    @classmethod
    def of(cls, prefix_length: int, question_lengths: Sequence[int]) -> "TextLayout":
        """Creates the layout of a prefix and of questions with these lengths."""
        if not (questions_length := sum(question_lengths)):
            return cls(prefix_length, 0, None)
        # Every question sees the whole prefix, and its own tokens up to the current one.
        own_tokens = torch.block_diag(*(torch.ones(length, length).tril() for length in question_lengths))
        visible = torch.cat([torch.ones(questions_length, prefix_length), own_tokens], dim=1)
        mask = torch.zeros_like(visible).masked_fill(visible == 0, -torch.inf)
        return cls(prefix_length, questions_length, mask)


@dataclass(frozen=True)
class PackedSequence:
    """Several texts in one sequence of tokens: each text's prefix, then its questions.

    Attributes:
        ids: Token ids, of shape (tokens,).
        positions: Position of each token in its text, of shape (tokens,); every question continues from the prefix.
        layouts: Layout of each text.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    layouts: list[TextLayout]

    @classmethod
    def of(cls, texts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> "PackedSequence":
        """Packs texts. Each text consists of the token ids of its prefix, and the token ids of each question."""
        ids: list[int] = []
        positions: list[int] = []
        for prefix, questions in texts:
            ids += chain(prefix, *questions)
            positions += range(len(prefix))
            for question in questions:
                positions += range(len(prefix), len(prefix) + len(question))
        layouts = [TextLayout.of(len(prefix), [len(question) for question in questions]) for prefix, questions in texts]
        return cls(torch.tensor(ids), torch.tensor(positions), layouts)


def states_by_layer(model: LlamaModel, sequence: PackedSequence) -> list[torch.Tensor]:
    """Returns the hidden states before the first layer and after each layer, each of shape (tokens, width).

    Each question has the same states as if it were the only question after its prefix. The last states are normalized.
    """
    if model.config._attn_implementation != _NAME:
        model.set_attn_implementation(_NAME)
    by_layer = model(
        input_ids=sequence.ids[None],
        position_ids=sequence.positions[None],
        use_cache=False,
        output_hidden_states=True,
        layouts=sequence.layouts,
    ).hidden_states
    return [states[0] for states in by_layer]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layouts: Sequence[TextLayout],
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attends within each text. This is an attention function for `transformers`.

    Query, key and value have shape (1, heads, tokens, head width); the result has shape (1, tokens, heads, head width).
    """
    # Split the queries into prefix and questions of each text, and the keys and values into texts.
    lengths = [length for layout in layouts for length in (layout.prefix_length, layout.questions_length)]
    queries = iter(query.split(lengths, dim=2))
    text_lengths = [layout.prefix_length + layout.questions_length for layout in layouts]
    keys, values = (tensor.split(text_lengths, dim=2) for tensor in (key, value))
    outputs = []
    for layout, text_key, text_value in zip(layouts, keys, values, strict=True):
        # The prefix sees itself, causally. The questions see the text through their mask.
        prefix_key, prefix_value = (tensor[:, :, : layout.prefix_length] for tensor in (text_key, text_value))
        prefix_query, question_query = next(queries), next(queries)
        outputs.append(
            scaled_dot_product_attention(prefix_query, prefix_key, prefix_value, is_causal=True, scale=scaling)
        )
        if layout.question_mask is not None:
            outputs.append(
                scaled_dot_product_attention(
                    question_query, text_key, text_value, attn_mask=layout.question_mask, scale=scaling
                )
            )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(_NAME, _attend)
