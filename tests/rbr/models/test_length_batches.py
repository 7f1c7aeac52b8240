from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import Gemma3TextConfig, LlamaConfig

from rbr.models.length_batches import equal_values, length_batches, padding_is_exact, pass_groups
from tests.tiny_models import ORIGINAL_LENGTH, family_config, tiny_tokenizer

LONG_ROPE = family_config("Phi-3 with long RoPE")
LONG_ROPE_IN_SOME_LAYERS = Gemma3TextConfig(
    rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {**LONG_ROPE.rope_parameters},
    }
)
LLAMA_4 = family_config("Llama 4, which counts padding", floor_scale=ORIGINAL_LENGTH)


@pytest.mark.parametrize(
    ("config", "lengths", "new_tokens", "together"),
    [
        pytest.param(LlamaConfig(), [1, 63, 64, 65], 9, True, id="no bound"),
        pytest.param(LONG_ROPE, [1, 64], 0, True, id="within"),
        pytest.param(LONG_ROPE, [65, 400], 9, True, id="beyond"),
        pytest.param(LONG_ROPE, [64, 65], 0, False, id="on both sides"),
        pytest.param(LONG_ROPE, [54, 55], 10, False, id="one grows beyond"),
        pytest.param(LONG_ROPE, [53, 54], 10, True, id="none grows beyond"),
        pytest.param(LONG_ROPE, [58, 59], 10, False, id="both grow beyond, at different steps"),
        pytest.param(LONG_ROPE, [58, 58], 10, True, id="both grow beyond, at the same step"),
        pytest.param(LONG_ROPE, [60, 70], 10, False, id="one grows beyond, one is beyond"),
        pytest.param(LONG_ROPE_IN_SOME_LAYERS, [64, 65], 0, False, id="some layers change"),
        pytest.param(LLAMA_4, [1, 63], 0, True, id="no column has another scale"),
        pytest.param(LLAMA_4, [63, 64], 0, False, id="a column has another scale"),
        pytest.param(LLAMA_4, [64, 64], 5, True, id="no padding"),
    ],
)
def test_sequences_share_a_pass_only_if_they_do_not_change_each_other(
    config: Any, lengths: list[int], new_tokens: int, together: bool
) -> None:
    assert (len(set(pass_groups(config, lengths, new_tokens))) == 1) is together
    assert (len(length_batches(config, lengths, len(lengths), new_tokens)) == 1) is together


def test_every_sequence_is_in_one_batch_beside_sequences_of_similar_length() -> None:
    lengths = [70, 5, 64, 65, 9, 5, 300]
    batches = length_batches(LONG_ROPE, lengths, 3)
    assert batches == [[1, 5, 4], [2], [3, 0, 6]]
    assert length_batches(LONG_ROPE, [], 3) == []


def logits(changes: dict[int, float], scale: float = 1.0) -> NDArray[np.float64]:
    """Two rows of logits of a vocabulary of 100 tokens, with changes of the first row."""
    values = np.random.default_rng(0).normal(size=(2, 100)) * scale
    for token, change in changes.items():
        values[0, token] += change
    return values


@pytest.mark.parametrize(
    ("given", "expected", "equal"),
    [
        pytest.param(logits({}), logits({}), True, id="the same"),
        pytest.param(logits({3: 1e-5}), logits({}), True, id="rounding"),
        pytest.param(logits({3: 0.1}), logits({}), False, id="another value"),
        pytest.param(logits({3: 1e-5}, 1e-5), logits({}, 1e-5), False, id="another value of a flat row"),
        pytest.param(logits({7: 1e3, 3: 90}), logits({7: 1e3}), False, id="another value of a confident row"),
        pytest.param(logits({3: np.nan}), logits({3: np.nan}), True, id="not a number in both"),
        pytest.param(logits({3: -np.inf}), logits({3: -np.inf}), True, id="an impossible token in both"),
        pytest.param(logits({3: -np.inf}), logits({}), False, id="an impossible token in one"),
        pytest.param(logits({})[:1], logits({}), False, id="another shape"),
    ],
)
def test_values_are_equal_if_they_differ_by_little_of_their_spread(
    given: NDArray[np.float64], expected: NDArray[np.float64], equal: bool
) -> None:
    assert equal_values(given, expected, 1e-4) is equal


def refuses(rows: list[list[int]]) -> NDArray[np.float64]:
    raise TypeError("unexpected keyword argument 'attention_mask'")


@pytest.mark.parametrize(
    ("run", "exact"),
    [
        pytest.param(lambda rows: np.array([float(len(row)) for row in rows]), True, id="own length"),
        pytest.param(lambda rows: np.array([float(max(map(len, rows)))] * len(rows)), False, id="longest length"),
        pytest.param(lambda rows: np.array([float("nan")] * len(rows)), True, id="not finite in both"),
        pytest.param(lambda rows: np.array([1e-6 * max(map(len, rows)) for _ in rows]), False, id="small scores"),
        pytest.param(
            lambda rows: np.array([[50.0, 1e-9 * max(map(len, rows))] for _ in rows]) * 1e-3, True, id="rounding"
        ),
        pytest.param(refuses, False, id="no mask"),
    ],
)
def test_padding_is_exact_if_a_sequence_has_the_same_values_together_and_alone(run: Any, exact: bool) -> None:
    assert padding_is_exact(run, tiny_tokenizer(), 1e-4) is exact
