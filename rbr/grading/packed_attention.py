"""Answers many questions about a reply in one forward pass, without a mask.

A packed sequence holds the tokens of several prompts, and each token once: first all prefixes, then, for each prefix, a
tree of the tails that follow it. All layers but attention work token by token, so they need no change. Attention is
replaced: a prefix token attends to its prefix. A token of a tail attends to its prefix and to its own tail. These two
parts are computed by two calls without a mask, and merged by their softmax normalizers. So the work grows with the
number of distinct tokens. A mask of the whole sequence would cost its length squared.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import AttentionInterface

from rbr.grading.prompt_tokens import SharedPrompt

ATTENTION = "rbr_packed"
"""Name under which transformers knows the attention of a packed sequence."""

STEP_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""Number of tokens after which a step ends, by type of device. On a CPU, the activations of a longer step leave the
cache."""

PrefixStates: TypeAlias = dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]]

_NOT_SUPPORTED = ("softcap", "s_aux", "position_bias", "cache")


@torch.inference_mode()
def packed(model: Any, prompts: Sequence[SharedPrompt], max_tokens: int | None = None) -> torch.Tensor:
    """Runs every token of the prompts once, in steps of about `max_tokens` tokens.

    Args:
        model: A causal language model whose attention transformers can replace, and that accepts position ids.
        prompts: Prompts with a prefix of at least one token.
        max_tokens: A step ends as soon as it has this number of tokens; None for `STEP_TOKENS`.

    Returns:
        float32[T, vocabulary]: a row for each tail of each prompt, in order.

    Raises:
        NotImplementedError: The model's attention has a window, a soft cap, a sink or a bias.
    """
    prefix_states: PrefixStates = {}
    max_tokens = max_tokens or STEP_TOKENS.get(model.device.type, STEP_TOKENS["cuda"])
    logits = []
    with _attention(model):
        for step in _steps(prompts, max_tokens):
            packing = Packing.of(step, model.device, prefix_states)
            output = model(
                input_ids=packing.tokens,
                position_ids=packing.positions,
                use_cache=False,
                logits_to_keep=packing.last_tokens,
                packing=packing,
            )
            logits.append(output.logits[0].float())
    return torch.cat(logits)


@dataclass(frozen=True)
class Part:
    """What a step computes of a prompt: some of its tails, after its prefix or after the states of an earlier step."""

    number: int
    prompt: SharedPrompt
    tails: list[list[int]]
    has_prefix: bool


@dataclass(frozen=True)
class TailRows:
    """Tails of similar lengths, as rows of indices into the tokens of all trees.

    Attributes:
        nodes: Index of each token of each tail, int[R, W]; the last one is repeated to the width.
        taken: Entries of `nodes`, flattened, that hold each node for the first time, int[N].
        put: Node of each of these entries, int[N].
    """

    nodes: torch.Tensor
    taken: torch.Tensor
    put: torch.Tensor


@dataclass(frozen=True)
class Packing:
    """The tokens of a step, and which of them belong together.

    Attributes:
        tokens: Ids, int[1, L]: prefixes, then trees.
        positions: Position of each token in its own prompt, int[1, L].
        last_tokens: Index of the last token of each tail, int[T].
        prefixes: Number of the prompt and range of each prefix.
        trees: Number of the prompt and range of each tree.
        first_node: Index of the first token of the trees.
        tails: The tails of all trees, grouped by length.
        prefix_states: Keys and values of the prefixes by layer and number of the prompt, for this and later steps.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    last_tokens: torch.Tensor
    prefixes: list[tuple[int, slice]]
    trees: list[tuple[int, slice]]
    first_node: int
    tails: list[TailRows]
    prefix_states: PrefixStates

    @classmethod
    def of(cls, parts: Sequence[Part], device: torch.device, prefix_states: PrefixStates) -> "Packing":
        """Lays out the tokens of a step.

        Example:
            >>> prompt = SharedPrompt([5, 6], [[7, 8], [7, 9]])
            >>> packing = Packing.of([Part(0, prompt, prompt.tails, has_prefix=True)], torch.device("cpu"), {})
            >>> packing.tokens.tolist(), packing.positions.tolist()
            ([[5, 6, 7, 8, 9]], [[0, 1, 2, 3, 3]])
        """
        tokens: list[int] = []
        positions: list[int] = []
        # 1. The prefixes.
        prefixes = []
        for part in parts:
            if part.has_prefix:
                prefixes.append((part.number, slice(len(tokens), len(tokens) + len(part.prompt.prefix))))
                tokens += part.prompt.prefix
                positions += range(len(part.prompt.prefix))
        # 2. The trees: tails of a prompt that begin with the same tokens share the nodes of these tokens.
        first_node = len(tokens)
        trees, paths = [], []
        for part in parts:
            start = len(tokens)
            node_of: dict[tuple[int, int], int] = {}  # (parent, token) -> node; the parent of a first token is -1
            for tail in part.tails:
                path = [-1]
                for depth, token in enumerate(tail):
                    key = (path[-1], token)
                    if key not in node_of:
                        node_of[key] = len(tokens) - first_node
                        tokens.append(token)
                        positions.append(len(part.prompt.prefix) + depth)
                    path.append(node_of[key])
                paths.append(path[1:])
            trees.append((part.number, slice(start, len(tokens))))
        return cls(
            tokens=torch.tensor([tokens], device=device),
            positions=torch.tensor([positions], device=device),
            last_tokens=torch.tensor([first_node + path[-1] for path in paths], device=device),
            prefixes=prefixes,
            trees=trees,
            first_node=first_node,
            tails=_tail_rows(paths, device),
            prefix_states=prefix_states,
        )


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packing: Packing,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of a step; transformers calls it for each layer.

    Args:
        module: The attention layer.
        query: [1, heads, L, size]
        key: [1, key heads, L, size]; each key head serves a group of query heads.
        value: [1, key heads, L, value size]
        attention_mask: None.
        packing: The tokens of the step.
        scaling: Factor of the scores; None for size ** -0.5.
        **options: Other options of the layer.

    Returns:
        [1, L, heads, value size] and None.
    """
    window = options.get("sliding_window")
    if any(options.get(name) is not None for name in _NOT_SUPPORTED) or (
        window is not None and int(packing.positions.max()) >= window
    ):
        raise NotImplementedError("the attention of this model is more than a softmax over all earlier tokens")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    output = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])  # [L, heads, size]

    # 1. Each prefix attends to itself.
    states = packing.prefix_states.setdefault(id(module), {})
    for number, prefix in packing.prefixes:
        states[number] = key[:, :, prefix], value[:, :, prefix]
        output[prefix] = _softmax_attention(query[:, :, prefix], *states[number], True, scaling)[0][0].transpose(0, 1)
    # 2. Each tree attends to the whole prefix before it.
    first_node = packing.first_node
    over_prefix = query.new_empty(query.shape[2] - first_node, query.shape[1], dtype=torch.float32)  # normalizers
    for number, tree in packing.trees:
        attended, normalizer = _softmax_attention(query[:, :, tree], *states[number], False, scaling)
        output[tree] = attended[0].transpose(0, 1)
        over_prefix[tree.start - first_node : tree.stop - first_node] = normalizer[0].transpose(0, 1)
    # 3. Each node attends to its ancestors in the tree and to itself, as a token of a row of its own.
    nodes = [each[0, :, first_node:].transpose(0, 1) for each in (query, key, value)]  # each [N, heads, size]
    for rows in packing.tails:
        q, k, v = (each[rows.nodes].transpose(1, 2) for each in nodes)  # each [R, heads, W, size]
        attended, normalizer = _softmax_attention(q, k, v, True, scaling)
        attended = attended.transpose(1, 2).flatten(0, 1)[rows.taken]  # [N, heads, size]
        normalizer = normalizer.transpose(1, 2).flatten(0, 1)[rows.taken]  # [N, heads]
        # 4. Merge the two parts: each weighs as much as its normalizer, the sum of its exponentials.
        share = torch.sigmoid(normalizer - over_prefix[rows.put]).to(attended.dtype)[..., None]
        index = first_node + rows.put
        output[index] = torch.lerp(output[index], attended, share)
    return output[None], None


def _softmax_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, scaling: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the attention, [B, heads, N, size], and the log of the softmax's denominator, float32[B, heads, N]."""
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=None, scale=scaling
        )
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value, scores.float().logsumexp(-1)


def _tail_rows(paths: Sequence[Sequence[int]], device: torch.device) -> list[TailRows]:
    """Groups paths so that a group wastes less than half of its width, and finds where each node occurs first."""
    groups: dict[int, list[Sequence[int]]] = {}
    for path in paths:
        groups.setdefault((len(path) - 1).bit_length(), []).append(path)
    seen: set[int] = set()
    result = []
    for group in groups.values():
        width = max(map(len, group))
        taken, put = [], []
        for row, path in enumerate(group):
            for column, node in enumerate(path):
                if node not in seen:
                    seen.add(node)
                    taken.append(row * width + column)
                    put.append(node)
        nodes = [[*path, *[path[-1]] * (width - len(path))] for path in group]
        if put:
            result.append(TailRows(*(torch.tensor(values, device=device) for values in (nodes, taken, put))))
    return result


def _steps(prompts: Sequence[SharedPrompt], max_tokens: int) -> Iterator[list[Part]]:
    """Cuts the prompts into steps; a prompt with many long tails is spread over several steps."""
    step: list[Part] = []
    size = 0
    for number, prompt in enumerate(prompts):
        tails: list[list[int]] = []
        has_prefix = True
        size += len(prompt.prefix)
        for tail in prompt.tails:
            tails.append(tail)
            size += len(tail)
            if size >= max_tokens:
                yield [*step, Part(number, prompt, tails, has_prefix)]
                step, tails, size, has_prefix = [], [], 0, False
        if tails:
            step.append(Part(number, prompt, tails, has_prefix))
    if step:
        yield step


@contextmanager
def _attention(model: Any) -> Iterator[None]:
    """Replaces the attention of a model for a while."""
    AttentionInterface.register(ATTENTION, packed_attention)
    config = model.config.get_text_config()
    replaced = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = replaced
