"""Cuts sequences into batches whose forward pass gives each sequence the same values as a pass of its own.

A batch pads its shorter sequences, and some models compute a sequence differently beside a longer one:

- With RoPE of the type ``longrope``, one sequence beyond the original length changes the angles of all.
- Llama 4 scales its queries by their column, padding included, from the column `floor_scale` on.
- Some models attend to padding, or carry it in their state. `padding_is_exact` finds them by a trial. They run one
  sequence at a time.

RoPE of the type ``dynamic`` changes only beyond `max_position_embeddings`. No sequence exceeds this length, because
`rbr.models.pretrained.context_length` is at most as large.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIAL_TEXTS = (
    "A short text.",
    "A text with a few more words than that, for a trial of the padding.",
    "No!",
    "12 + 30 = 42, and Is It So?",
)


def pass_groups(config: Any, lengths: Sequence[int], new_tokens: int = 0) -> list[tuple[int, int]]:
    """Returns a key for each sequence; sequences with equal keys may share a forward pass.

    Args:
        config: Configuration of the model.
        lengths: Number of tokens of each sequence.
        new_tokens: Largest number of tokens that the model adds to each sequence.

    Returns:
        The number of original lengths that the sequence exceeds, and 0. The second number is the length if only
        sequences of equal length may share a pass: those that come to exceed an original length as they grow, and
        those in which padding would change the scale of a query.

    Example:
        >>> from transformers import Phi3Config
        >>> rope = {"rope_type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
        >>> config = Phi3Config(rope_parameters=rope, original_max_position_embeddings=4096)
        >>> pass_groups(config, [4000, 4096, 4097])
        [(0, 0), (0, 0), (1, 0)]
        >>> pass_groups(config, [4000, 4096, 4097], new_tokens=50)
        [(0, 0), (0, 4096), (1, 0)]
    """
    config = config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    # Some models have other RoPE parameters for each type of layer.
    ropes = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    bounds = sorted(each["original_max_position_embeddings"] for each in ropes if each.get("rope_type") == "longrope")
    floor_scale = config.floor_scale if scales_by_column(config) else None
    groups = []
    for length in lengths:
        exceeded, later = bisect_left(bounds, length), bisect_left(bounds, length + new_tokens)
        alone = later != exceeded or (floor_scale is not None and length + new_tokens >= floor_scale)
        groups.append((exceeded, length if alone else 0))
    return groups


def scales_by_column(config: Any) -> bool:
    """Returns whether the queries of a model depend on their column in the batch, and not only on their position.

    Args:
        config: Configuration of the model.

    Example:
        >>> from transformers import Llama4TextConfig, LlamaConfig
        >>> scales_by_column(Llama4TextConfig()), scales_by_column(LlamaConfig())
        (True, False)
    """
    return bool(getattr(config.get_text_config(), "attn_temperature_tuning", False))


def length_batches(config: Any, lengths: Sequence[int], size: int, new_tokens: int = 0) -> list[list[int]]:
    """Cuts sequences into batches that may share a forward pass, shortest first.

    Args:
        config: Configuration of the model.
        lengths: Number of tokens of each sequence.
        size: Largest number of sequences in a batch.
        new_tokens: Largest number of tokens that the model adds to each sequence.

    Returns:
        Indices into `lengths`. Sequences of similar length share a batch, so that a batch has little padding.

    Example:
        >>> from transformers import LlamaConfig
        >>> length_batches(LlamaConfig(), [5, 9, 5, 7], 3)
        [[0, 2, 3], [1]]
    """
    groups = pass_groups(config, lengths, new_tokens)
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    batches = []
    for _, rows in groupby(order, key=lambda row: groups[row]):
        group = list(rows)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def trial_tolerance(model: Any) -> float:
    """Returns how far equal values may lie apart, relative to their spread: 1e-4 in fp32, 0.1 in another type.

    In bf16, the logits of a random model of 16 layers differ by 0.03 of their spread from batch to batch.

    Args:
        model: A model of transformers.

    Example:
        >>> from types import SimpleNamespace
        >>> trial_tolerance(SimpleNamespace(dtype="torch.float32"))
        0.0001
    """
    return 1e-4 if str(model.dtype) == "torch.float32" else 0.1


def exact_batch_size(
    batch_size: int, model: Any, tokenizer: Any, run: Callable[[list[list[int]]], NDArray[np.float64]]
) -> int:
    """Returns the number of sequences that may run together: 1 if the model reads the padding.

    Args:
        batch_size: The wanted number.
        model: The model.
        tokenizer: The model's tokenizer.
        run: As for `padding_is_exact`. It is called for a trial, unless only one sequence is wanted.

    Example:
        >>> from types import SimpleNamespace
        >>> exact_batch_size(1, SimpleNamespace(dtype="torch.float32"), tokenizer=None, run=len)
        1
    """
    if batch_size == 1 or padding_is_exact(run, tokenizer, trial_tolerance(model)):
        return batch_size
    return 1


def padding_is_exact(run: Callable[[list[list[int]]], NDArray[np.float64]], tokenizer: Any, tolerance: float) -> bool:
    """Returns whether a model gives two sequences of different length the same values together as alone.

    Args:
        run: Runs the model on token ids, and returns an array with a row for each sequence.
        tokenizer: The model's tokenizer.
        tolerance: Largest difference of equal values, as for `equal_values`.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> padding_is_exact(lambda rows: np.array([float(max(map(len, rows)))] * len(rows)), tokenizer, 1e-4)
        False
    """
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in _TRIAL_TEXTS]
    try:
        together = run(rows)
        alone = np.concatenate([run([row]) for row in rows])
    except Exception:  # noqa: BLE001  A model may reject a mask with any exception.
        return False
    return equal_values(together, alone, tolerance)


def equal_values(given: NDArray[np.float64], expected: NDArray[np.float64], tolerance: float) -> bool:
    """Returns whether a model has computed the same values twice, apart from rounding.

    The values are logits of the vocabulary, or scores of several texts. The unit of a difference is the standard
    deviation of the expected values, because no fixed difference is small for every model: a confident model has the
    same probabilities for very different logits, and a model that is nearly untrained has small differences only.

    Args:
        given: Values in rows; the last axis is the vocabulary or the texts.
        expected: Values of the same shape. A value that is not finite must be the same in both.
        tolerance: Largest root mean square of the differences of a row, in standard deviations of the row.

    Example:
        >>> logits = np.array([[3.0, 1.0, -2.0]])
        >>> equal_values(logits + 1e-6, logits, 1e-4), equal_values(logits * 1.01, logits, 1e-4)
        (True, False)
        >>> equal_values(logits * 1.01e-9, logits * 1e-9, 1e-4)
        False
    """
    if given.shape != expected.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(given[~finite], expected[~finite], equal_nan=True):
        return False
    count = np.maximum(finite.sum(-1, keepdims=True), 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(finite, values, 0.0).sum(-1, keepdims=True) / count

    with np.errstate(invalid="ignore"):  # infinities of both arrays; `mean` leaves them out
        difference = mean((given - expected) ** 2)
        variance = mean((expected - mean(expected)) ** 2)
    return bool((difference <= tolerance**2 * variance).all())
