"""Answers many questions about a reply in one forward pass, without a mask.

A packed sequence holds the tokens of several prompts, and each token once: first all prefixes, then, for each prefix, a
tree of the tails that follow it. All layers but attention work token by token, so they need no change. Attention is
replaced: a prefix token attends to its prefix. A token of a tail attends to its prefix and to its own tail. These two
parts are computed by two calls without a mask, and merged by their softmax normalizers. So the work grows with the
number of distinct tokens. A mask of the whole sequence would cost its length squared.

The feed-forward part of the last layer runs for the last token of each tail only, because nobody reads the logits of
the other tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface

from rbr.grading.in_process.packing import Packing, PrefixStates, TailRows, steps
from rbr.grading.in_process.prompt_tokens import SharedPrompt

ATTENTION = "rbr_packed"
"""Name under which transformers knows the attention of a packed sequence."""

STEP_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""Number of tokens after which a step ends, by type of device. On a CPU, the activations of a longer step leave the
cache."""

HAS_FUSED_KERNEL = {"cpu"}
"""Types of devices with a fused kernel that returns the normalizers."""

_ATTENTION_LAYERS = {"attention", "full_attention", "sliding_attention", "chunked_attention"}
_NOT_SUPPORTED = ("softcap", "s_aux", "position_bias", "cache")


def mixes_tokens_by_attention_alone(model: Any) -> bool:
    """Returns whether only the attention of a model lets a token read other tokens.

    A packed sequence replaces the attention. A convolution or a recurrent layer would still mix the tokens of different
    prompts.

    Args:
        model: A causal language model.

    Example:
        >>> from transformers import AutoModelForCausalLM, MambaConfig
        >>> config = MambaConfig(vocab_size=8, hidden_size=8, state_size=2, num_hidden_layers=1)
        >>> mixes_tokens_by_attention_alone(AutoModelForCausalLM.from_config(config))
        False
    """
    config = model.config.get_text_config()
    names = ("layer_types", "layers_block_type", "block_types")
    types = {each for name in names for each in getattr(config, name, None) or () if isinstance(each, str)}
    if types - _ATTENTION_LAYERS or getattr(model, "_is_stateful", False):
        return False
    return not any(isinstance(module, (torch.nn.Conv1d, torch.nn.RNNBase)) for module in _decoder(model).modules())


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
        for step in steps(prompts, max_tokens):
            packing = Packing.of(step, model.device, prefix_states)
            with _last_feed_forward(model, packing):
                output = model(
                    input_ids=packing.tokens,
                    position_ids=packing.positions,
                    use_cache=False,
                    logits_to_keep=packing.last_tokens,
                    packing=packing,
                )
            logits.append(output.logits[0].float())
            # Only the last prompt of a step can go on in the next one.
            for states in prefix_states.values():
                for number in [number for number in states if number != step[-1].number]:
                    del states[number]
    return torch.cat(logits)


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
    """The attention of a step; transformers calls it for each layer, and for some layers more than once.

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
    states = packing.prefix_states.setdefault(next(packing.calls), {})
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
    outputs = output[first_node:]
    for rows in packing.tails:
        index = rows.put if rows.range is None else rows.range
        q, k, v = (_rows(each, rows) for each in nodes)  # each [R, heads, W, size]
        attention = _softmax_attention(q, k, v, True, scaling)
        attended, normalizer = (each.transpose(1, 2).flatten(0, 1) for each in attention)  # [N, heads(, size)]
        if rows.range is None:
            attended, normalizer = attended[rows.taken], normalizer[rows.taken]
        # 4. Merge the two parts: each weighs as much as its normalizer, the sum of its exponentials.
        share = torch.sigmoid(normalizer - over_prefix[index]).to(attended.dtype)[..., None]
        outputs[index] = torch.lerp(outputs[index], attended, share)
    return output[None], None


def _rows(states: torch.Tensor, rows: TailRows) -> torch.Tensor:
    """Arranges states of nodes, [N, heads, size], in rows, [R, heads, W, size]."""
    if rows.range is None:
        return states[rows.nodes].transpose(1, 2)
    return states[rows.range].unflatten(0, rows.nodes.shape).transpose(1, 2)


def _softmax_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, scaling: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the attention, [B, heads, N, size], and the log of the softmax's denominator, float32[B, heads, N]."""
    if query.device.type in HAS_FUSED_KERNEL and query.shape[-1] == value.shape[-1]:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=None, scale=scaling
        )
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value, scores.float().logsumexp(-1)


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


def _decoder(model: Any) -> Any:
    """Returns the part of a model with the layers that read text; the model itself if it names no such part."""
    return getattr(model, "get_decoder", lambda: model)()


@contextmanager
def _last_feed_forward(model: Any, packing: Packing) -> Iterator[None]:
    """Runs the feed-forward part of the last layer for the last tokens of the tails; only their logits are read."""
    layers = getattr(_decoder(model), "layers", None)
    module = getattr(layers[-1], "mlp", None) if layers else None
    if module is None:
        yield
        return
    run = module.forward

    def forward(hidden: torch.Tensor, *args: Any, **options: Any) -> Any:
        if hidden.shape[:2] != packing.tokens.shape:
            return run(hidden, *args, **options)
        output = run(hidden[:, packing.last_tokens], *args, **options)
        return output.new_zeros(hidden.shape).index_copy(1, packing.last_tokens, output)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward
