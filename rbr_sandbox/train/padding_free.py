"""A batch without padding: all its tokens stand in one line, and attention alone knows where a text ends.

Half of a padded batch of short conversations is padding. Questions that share a prefix do not attend to each other.
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
class Text:
    """Where a text of a line attends.

    Attributes:
        prefix: How many tokens the prefix has, each of which sees itself and those before.
        questions: How many tokens follow it.
        mask: Of the questions' tokens, added to their scores: (questions, prefix + questions); None without any.
    """

    prefix: int
    questions: int
    mask: torch.Tensor | None

    @classmethod
    def of(cls, prefix: int, questions: Sequence[int]) -> "Text":
        """The text of a prefix and of questions of these lengths."""
        if not (asking := sum(questions)):
            return cls(prefix, 0, None)
        itself = torch.block_diag(*(torch.ones(length, length).tril() for length in questions))
        seen = torch.cat([torch.ones(asking, prefix), itself], dim=1)
        return cls(prefix, asking, torch.zeros_like(seen).masked_fill(seen == 0, -torch.inf))


@dataclass(frozen=True)
class Line:
    """Texts in one line: of each a prefix, then questions that see the prefix and themselves.

    Attributes:
        ids: Tokens, (tokens,).
        positions: Of each token in its text, (tokens,); they go on from the prefix at each question.
        texts: How they attend.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    texts: list[Text]

    @classmethod
    def of(cls, texts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> "Line":
        """The line of texts, each as the tokens of its prefix and of its questions."""
        ids: list[int] = []
        positions: list[int] = []
        for prefix, questions in texts:
            ids += chain(prefix, *questions)
            positions += range(len(prefix))
            for question in questions:
                positions += range(len(prefix), len(prefix) + len(question))
        found = [Text.of(len(prefix), [len(question) for question in questions]) for prefix, questions in texts]
        return cls(torch.tensor(ids), torch.tensor(positions), found)


def states_by_layer(model: LlamaModel, line: Line) -> list[torch.Tensor]:
    """The states of a line before the first layer and after each, (tokens, width); the last ones are normed.

    They are as if each question stood alone behind its prefix.
    """
    if model.config._attn_implementation != _NAME:
        model.set_attn_implementation(_NAME)
    by_layer = model(
        input_ids=line.ids[None],
        position_ids=line.positions[None],
        use_cache=False,
        output_hidden_states=True,
        texts=line.texts,
    ).hidden_states
    return [states[0] for states in by_layer]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    texts: Sequence[Text],
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function as `transformers` calls it, on (1, heads, tokens, width)."""
    asking = iter(query.split([length for text in texts for length in (text.prefix, text.questions)], dim=2))
    keys, values = (each.split([text.prefix + text.questions for text in texts], dim=2) for each in (key, value))
    found = []
    for text, seen, read in zip(texts, keys, values, strict=True):
        before = seen[:, :, : text.prefix], read[:, :, : text.prefix]
        prefix, questions = next(asking), next(asking)
        found.append(scaled_dot_product_attention(prefix, before[0], before[1], is_causal=True, scale=scaling))
        if text.mask is not None:
            found.append(scaled_dot_product_attention(questions, seen, read, attn_mask=text.mask, scale=scaling))
    return torch.cat(found, dim=2).transpose(1, 2), None


AttentionInterface.register(_NAME, _attend)
