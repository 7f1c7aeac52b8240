"""Exact ways to compute a causal model's next-token logits at the end of each prompt, fastest first.

The prompts of a conversation share a prefix. Each layout returns float32[T, vocabulary], a row for each tail:

- `packed` runs every token of the prompts once; see `rbr.grading.in_process.packed_attention`.
- `repeated_cache` runs each prefix once, and repeats its key/value cache for each tail.
- `unshared` runs a sequence for each prompt, and pads sequences of similar length to run them together.
- `one_by_one` runs a sequence for each prompt, each alone. Every model supports this layout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from rbr.grading.in_process.packed_attention import mixes_tokens_by_attention_alone, packed
from rbr.grading.in_process.prompt_tokens import SharedPrompt
from rbr.models.length_batches import (
    equal_values,
    length_batches,
    pass_groups,
    scales_by_column,
    trial_tolerance,
)

Layout = Callable[[Any, Sequence[SharedPrompt]], torch.Tensor]

MIN_SAVED = 0.1
"""Smallest share of tokens that a layout must save. Below it, `unshared` is as fast."""

ROWS_PER_STEP = 4
"""Number of sequences that `unshared` runs together on a CPU, where more would leave the processor's cache."""


@torch.inference_mode()
def repeated_cache(model: Any, prompts: Sequence[SharedPrompt]) -> torch.Tensor:
    """Runs each prefix once, and then each tail on a copy of the prefix's key/value cache.

    Args:
        model: A causal language model with a cache whose rows can be selected.
        prompts: P prompts with T tails in total.

    Returns:
        float32[T, vocabulary].
    """
    # 1. Run the prefixes, and repeat the cache of each prefix for each of its tails.
    prefix, prefix_is_token = _left_padded([prompt.prefix for prompt in prompts], model.device)  # both [P, L]
    cache = model(
        input_ids=prefix,
        attention_mask=prefix_is_token.long(),
        position_ids=_positions(prefix_is_token),
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
    owners = [number for number, prompt in enumerate(prompts) for _ in prompt.tails]  # [T]
    owner = torch.tensor(owners, device=model.device)
    cache.batch_select_indices(owner)
    # 2. Run the tails at the positions after each prefix.
    tails = [tail for prompt in prompts for tail in prompt.tails]
    tail, tail_is_token = _left_padded(tails, model.device)  # both [T, M]
    prefix_lengths = prefix_is_token.sum(dim=1)[owner]  # [T]
    logits = model(
        input_ids=tail,
        attention_mask=torch.cat([prefix_is_token[owner], tail_is_token], dim=1).long(),
        position_ids=prefix_lengths[:, None] + _positions(tail_is_token),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1].float()


@torch.inference_mode()
def unshared(model: Any, prompts: Sequence[SharedPrompt], rows_per_step: int | None = None) -> torch.Tensor:
    """Runs one sequence for each prompt, sequences of similar length together.

    Args:
        model: A causal language model.
        prompts: Prompts with T tails in total.
        rows_per_step: Number of sequences that run together; None for `ROWS_PER_STEP` on a CPU, else all of them.

    Returns:
        float32[T, vocabulary].

    Example:
        >>> from rbr.models.pretrained import open_model
        >>> from rbr.profile import ModelRef
        >>> from transformers import AutoModelForCausalLM
        >>> model = open_model(AutoModelForCausalLM, ModelRef(path="rbr_sandbox/models/grader", revision=None))
        >>> prompts = [SharedPrompt([5, 6, 7], [[8], [9, 10]]), SharedPrompt([5, 6], [[8], [9, 10]])]
        >>> tuple(unshared(model, prompts).shape)
        (4, 2048)
    """
    rows = [[*prompt.prefix, *tail] for prompt in prompts for tail in prompt.tails]
    size = rows_per_step or (ROWS_PER_STEP if model.device.type == "cpu" else len(rows))
    steps = length_batches(model.config, [len(row) for row in rows], size)
    logits = []
    for step in steps:
        ids, is_token = _left_padded([rows[row] for row in step], model.device)
        # Without padding, the kernel needs no mask, and skips the later half of the scores.
        mask = {} if is_token.all() else {"attention_mask": is_token.long(), "position_ids": _positions(is_token)}
        logits.append(model(input_ids=ids, use_cache=False, logits_to_keep=1, **mask).logits[:, -1].float())
    order = torch.tensor([row for step in steps for row in step], device=model.device)
    return torch.cat(logits)[order.argsort()]


def one_by_one(model: Any, prompts: Sequence[SharedPrompt]) -> torch.Tensor:
    """Runs one sequence for each prompt, each alone.

    Args:
        model: A causal language model.
        prompts: Prompts with T tails in total.

    Returns:
        float32[T, vocabulary].
    """
    return unshared(model, prompts, rows_per_step=1)


LAYOUTS: tuple[Layout, ...] = (packed, repeated_cache, unshared, one_by_one)


@dataclass(frozen=True)
class ExactLayouts:
    """The fastest layouts that are exact for a model.

    Attributes:
        shared: For prompts that share much of their text.
        separate: For other prompts: `unshared`, or `one_by_one` if padding changes what the model says.

    Example:
        >>> ExactLayouts(shared=packed, separate=unshared).shared.__name__
        'packed'
    """

    shared: Layout
    separate: Layout


def exact_layouts(model: Any, prompts: Sequence[SharedPrompt]) -> ExactLayouts:
    """Returns the fastest layouts that give this model the same logits as one forward pass for each sequence.

    The function runs the model with each layout, because only a run shows whether a layout works: the attention of some
    models cannot be replaced, some have no cache, or one whose rows cannot be selected, and some read the padding.

    Logits count as equal if they differ by at most 1e-4 of their spread in fp32, or 0.1 in another type, and if the
    probabilities differ by at most half of this number. Probabilities alone would not do: those of a confident model
    are 0 and 1 in any layout, and those of a model that knows nothing are all small.

    A model with layers that are not attention is never packed: in a short trial, a convolution may hardly be noticed.

    Args:
        model: A causal language model.
        prompts: Two or more prompts of different lengths, with tails of different lengths.

    Example:
        >>> from rbr.models.pretrained import open_model
        >>> from rbr.profile import ModelRef
        >>> from transformers import AutoModelForCausalLM
        >>> model = open_model(AutoModelForCausalLM, ModelRef(path="rbr_sandbox/models/grader", revision=None))
        >>> prompts = [SharedPrompt([5, 6, 7], [[8], [9, 10]]), SharedPrompt([5, 6], [[8], [9, 10]])]
        >>> exact_layouts(model, prompts).shared.__name__
        'packed'
    """
    expected = one_by_one(model, prompts).double().cpu()  # [T, vocabulary]
    expected_probabilities = expected.softmax(-1)
    tolerance = trial_tolerance(model)

    def is_exact(layout: Layout) -> bool:
        try:
            logits = layout(model, prompts).double().cpu()
        except Exception:  # noqa: BLE001  A model may reject an unknown argument with any exception.
            return False
        if not equal_values(logits.numpy(), expected.numpy(), tolerance):
            return False
        return bool((logits.softmax(-1) - expected_probabilities).abs().max() <= tolerance / 2)

    separate = unshared if is_exact(unshared) else one_by_one
    if scales_by_column(model.config):
        # The trial is too short to show it: a column of a long packed sequence is not the position in the prompt.
        return ExactLayouts(separate, separate)
    # The first step ends after the first tail of the last prompt, as steps end within long prompts.
    first_step = sum(len(prompt.prefix) + sum(map(len, prompt.tails)) for prompt in prompts[:-1])
    in_steps = partial(packed, max_tokens=first_step + len(prompts[-1].prefix) + 1)
    if mixes_tokens_by_attention_alone(model) and is_exact(in_steps):
        return ExactLayouts(packed, separate)
    return ExactLayouts(repeated_cache if is_exact(repeated_cache) else separate, separate)


def layout_for(prompts: Sequence[SharedPrompt], layouts: ExactLayouts, config: Any) -> Layout:
    """Returns the layout for a batch: separate sequences if sharing would save nothing or be inexact.

    Args:
        prompts: The batch.
        layouts: The exact layouts of the model.
        config: Configuration of the model.

    Example:
        >>> from transformers import LlamaConfig
        >>> prompts = [SharedPrompt([1], [[2, 3, 4, 5, 6, 7, 8, 9]])]
        >>> layout_for(prompts, ExactLayouts(packed, unshared), LlamaConfig()).__name__
        'unshared'
    """
    lengths = [length for prompt in prompts for length in prompt.lengths()]
    distinct = sum(len(prompt.prefix) + sum(map(len, prompt.tails)) for prompt in prompts)
    if not all(prompt.prefix for prompt in prompts) or distinct > (1 - MIN_SAVED) * sum(lengths):
        return layouts.separate
    window = attention_window(config)
    if window is not None and max(lengths) > window:
        return layouts.separate
    # A pass may hold the prefix of one prompt and a tail of another.
    groups = pass_groups(config, [*lengths, *(len(prompt.prefix) for prompt in prompts)])
    return layouts.shared if len(set(groups)) == 1 else layouts.separate


def attention_window(config: Any) -> int | None:
    """Returns the number of earlier tokens that a model's attention reaches; None for all of them.

    Args:
        config: Configuration of the model.

    Example:
        >>> from transformers import LlamaConfig, MistralConfig
        >>> attention_window(LlamaConfig()), attention_window(MistralConfig(sliding_window=4096))
        (None, 4096)
    """
    config = config.get_text_config()
    reach = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in reach if size), default=None)


def _left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads token lists on the left; returns the ids and whether each position has a token, both [rows, width]."""
    width = max(map(len, rows))
    # Pad with token 0. Any token works, because padding is masked.
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) >= width - lengths[:, None]


def _positions(is_token: torch.Tensor) -> torch.Tensor:
    """Numbers the tokens of each row from 0; padding gets position 0."""
    return (is_token.cumsum(dim=1) - 1).clamp(min=0)
