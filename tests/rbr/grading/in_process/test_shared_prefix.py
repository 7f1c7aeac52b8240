from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Gemma2Config, MistralConfig

from rbr.grading.in_process.packed_attention import packed
from rbr.grading.in_process.prompt_tokens import SharedPrompt
from rbr.grading.in_process.shared_prefix import (
    LAYOUTS,
    attention_window,
    fastest_exact_layout,
    layout_for,
    repeated_cache,
    unshared,
)
from tests.tiny_models import save_policy

PROMPTS = [
    SharedPrompt([7, 8, 9], [[20, 21, 22], [20, 21, 23, 24, 25], [30], [20, 21]]),
    SharedPrompt([10], [[20, 21, 22]]),
    SharedPrompt([11, 12, 13, 14, 15, 16], [[40], [20, 21, 22], [20, 21, 22], [5, 6, 7, 8, 9, 10, 11, 12, 13]]),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoModelForCausalLM.from_pretrained(save_policy(tmp_path_factory.mktemp("policy")).path).eval()


def plain_logits(model: Any, prompts: list[SharedPrompt]) -> torch.Tensor:
    """One forward pass for each prompt, without padding or mask."""
    rows = [prompt.prefix + tail for prompt in prompts for tail in prompt.tails]
    with torch.inference_mode():
        return torch.stack([model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_logits_of_separate_sequences(model: Any, layout: Callable[..., Any]) -> None:
    torch.testing.assert_close(layout(model, PROMPTS), plain_logits(model, PROMPTS), atol=1e-4, rtol=0)


IDS = st.integers(5, 40)
TAILS = st.lists(st.lists(IDS, min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    prompts=st.lists(st.builds(SharedPrompt, st.lists(IDS, min_size=1, max_size=9), TAILS), min_size=1, max_size=4),
    max_tokens=st.integers(1, 60),
)
def test_a_packed_sequence_is_exact_wherever_its_steps_end(
    model: Any, prompts: list[SharedPrompt], max_tokens: int
) -> None:
    torch.testing.assert_close(packed(model, prompts, max_tokens), plain_logits(model, prompts), atol=1e-4, rtol=0)


def test_attention_without_the_fused_kernel_is_exact_too(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbr.grading.in_process.packed_attention.HAS_FUSED_KERNEL", {"other"})
    torch.testing.assert_close(packed(model, PROMPTS), plain_logits(model, PROMPTS), atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_llama_uses_the_packed_layout_and_keeps_its_attention(tmp_path: Path, attention: str) -> None:
    ref = save_policy(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(ref.path, attn_implementation=attention).eval()
    assert fastest_exact_layout(model, PROMPTS) is packed
    assert model.config._attn_implementation == attention


class WithFixedAttention(torch.nn.Module):
    """A model whose attention cannot be replaced."""

    def __init__(self, inner: Any, *, caches: bool) -> None:
        super().__init__()
        self.inner, self.caches = inner, caches
        self.device, self.dtype, self.config = inner.device, inner.dtype, inner.config

    def forward(self, packing: Any = None, **inputs: Any) -> Any:
        replaced = self.inner.config._attn_implementation
        self.inner.config._attn_implementation = "sdpa"
        if "past_key_values" in inputs and not self.caches:
            raise TypeError("no cache here")
        try:
            return self.inner(**inputs)
        finally:
            self.inner.config._attn_implementation = replaced


@pytest.mark.parametrize(("caches", "expected"), [(True, repeated_cache), (False, unshared)])
def test_a_model_that_keeps_its_own_attention_uses_a_slower_layout(model: Any, caches: bool, expected: object) -> None:
    assert fastest_exact_layout(WithFixedAttention(model, caches=caches), PROMPTS) is expected


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.3, "pad_token_id": 0,
}  # fmt: skip


def test_attention_with_a_soft_cap_is_not_packed() -> None:
    torch.manual_seed(0)
    config = Gemma2Config(**SMALL, attn_logit_softcapping=50.0, query_pre_attn_scalar=16)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(NotImplementedError, match="more than a softmax"):
        packed(model, PROMPTS)
    layout = fastest_exact_layout(model, PROMPTS)
    assert layout is not packed
    torch.testing.assert_close(layout(model, PROMPTS), plain_logits(model, PROMPTS), atol=1e-4, rtol=0)


def test_prompts_beyond_the_window_of_the_attention_are_exact() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MistralConfig(**SMALL, sliding_window=6)).eval()
    window = attention_window(model.config)
    assert window == 6
    short = [SharedPrompt([7, 8, 9], [[20, 21], [22], [23]])]
    long = [SharedPrompt([7, 8, 9, 10, 11, 12], [[20, 21], [22], [23]])]
    assert layout_for(short, packed, window) is packed
    assert layout_for(long, packed, window) is unshared
    for prompts in (short, long):
        logits = layout_for(prompts, packed, window)(model, prompts)
        torch.testing.assert_close(logits, plain_logits(model, prompts), atol=1e-4, rtol=0)
    with pytest.raises(NotImplementedError):
        packed(model, long)


@pytest.mark.parametrize(
    "prompt", [SharedPrompt([1, 2, 3], [[4, 5]]), SharedPrompt([], [[1], [2]]), SharedPrompt([1], [[2] * 20, [3] * 20])]
)
def test_prompts_that_share_nothing_worth_it_run_apart(prompt: SharedPrompt) -> None:
    assert layout_for([prompt], packed, None) is unshared
