from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    JambaConfig,
    Lfm2Config,
    LlamaConfig,
    MiniMaxConfig,
    MistralConfig,
    RecurrentGemmaConfig,
)

from rbr.grading.in_process.packed_attention import mixes_tokens_by_attention_alone, packed
from rbr.grading.in_process.prompt_tokens import SharedPrompt
from rbr.grading.in_process.shared_prefix import (
    LAYOUTS,
    ExactLayouts,
    attention_window,
    exact_layouts,
    layout_for,
    one_by_one,
    repeated_cache,
    unshared,
)
from tests.tiny_models import FAMILIES, ORIGINAL_LENGTH, family_config, save_policy

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


def test_the_last_feed_forward_reads_only_the_last_token_of_each_tail(model: Any) -> None:
    read = []
    hooks = [
        layer.mlp.up_proj.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[1]))
        for layer in model.get_decoder().layers
    ]
    packed(model, PROMPTS)
    for hook in hooks:
        hook.remove()
    assert read[0] > sum(len(prompt.prefix) for prompt in PROMPTS)
    assert read[-1] == sum(len(prompt.tails) for prompt in PROMPTS)


def test_attention_without_the_fused_kernel_is_exact_too(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbr.grading.in_process.packed_attention.HAS_FUSED_KERNEL", {"other"})
    torch.testing.assert_close(packed(model, PROMPTS), plain_logits(model, PROMPTS), atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_llama_uses_the_packed_layout_and_keeps_its_attention(tmp_path: Path, attention: str) -> None:
    ref = save_policy(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(ref.path, attn_implementation=attention).eval()
    assert exact_layouts(model, PROMPTS) == ExactLayouts(packed, unshared)
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
    assert exact_layouts(WithFixedAttention(model, caches=caches), PROMPTS).shared is expected


def confident(outputs: Any) -> Any:
    """Adds so much to one logit that the probability of every other token is 0."""
    outputs.logits = outputs.logits.clone()
    outputs.logits[..., 7] += 200.0
    return outputs


def flat(outputs: Any) -> Any:
    """Makes all logits nearly equal, as those of an untrained model."""
    outputs.logits = outputs.logits * 1e-4
    return outputs


@pytest.mark.parametrize("change", [confident, flat])
@pytest.mark.parametrize("exact", [True, False])
def test_a_layout_that_changes_the_logits_is_found_if_the_probabilities_hardly_show_it(
    model: Any, change: Callable[[Any], Any], exact: bool
) -> None:
    changed = model if exact else WithFixedAttention(model, caches=False)
    hook = changed.register_forward_hook(lambda _, __, outputs: change(outputs))
    try:
        plain, wrong = plain_logits(changed, PROMPTS).softmax(-1), packed(changed, PROMPTS).softmax(-1)
        assert (wrong - plain).abs().max() < 1e-4
        assert exact_layouts(changed, PROMPTS) == ExactLayouts(packed if exact else unshared, unshared)
    finally:
        hook.remove()


def hybrid(config_class: Any, **sizes: Any) -> Any:
    torch.manual_seed(0)
    config = config_class(**{**SMALL, "vocab_size": 5000, **sizes})
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("spread", [0.02, 0.3])
@pytest.mark.parametrize(
    ("config_class", "sizes"),
    [
        (Lfm2Config, {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]}),
        (MiniMaxConfig, {"layer_types": ["linear_attention", "full_attention"], "num_local_experts": 2}),
        (RecurrentGemmaConfig, {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 512}),
        (JambaConfig, {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2,
                       "use_mamba_kernels": False}),
    ],
)  # fmt: skip
def test_a_model_with_layers_that_are_not_attention_is_exact_and_not_packed(
    config_class: Any, sizes: dict[str, Any], spread: float
) -> None:
    model = hybrid(config_class, **sizes, initializer_range=spread)
    layouts = exact_layouts(model, PROMPTS)
    assert not mixes_tokens_by_attention_alone(model)
    assert packed not in (layouts.shared, layouts.separate)
    for layout in (layouts.shared, layouts.separate):
        difference = layout(model, PROMPTS) - plain_logits(model, PROMPTS)
        assert difference.abs().max() < 1e-3 * plain_logits(model, PROMPTS).std()


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
    layout = exact_layouts(model, PROMPTS).shared
    assert layout is not packed
    torch.testing.assert_close(layout(model, PROMPTS), plain_logits(model, PROMPTS), atol=1e-4, rtol=0)


def test_prompts_beyond_the_window_of_the_attention_are_exact() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MistralConfig(**SMALL, sliding_window=6)).eval()
    assert attention_window(model.config) == 6
    layouts = ExactLayouts(packed, unshared)
    short = [SharedPrompt([7, 8, 9], [[20, 21], [22], [23]])]
    long = [SharedPrompt([7, 8, 9, 10, 11, 12], [[20, 21], [22], [23]])]
    assert layout_for(short, layouts, model.config) is packed
    assert layout_for(long, layouts, model.config) is unshared
    for prompts in (short, long):
        logits = layout_for(prompts, layouts, model.config)(model, prompts)
        torch.testing.assert_close(logits, plain_logits(model, prompts), atol=1e-4, rtol=0)
    with pytest.raises(NotImplementedError):
        packed(model, long)


@pytest.mark.parametrize(
    "prompt", [SharedPrompt([1, 2, 3], [[4, 5]]), SharedPrompt([], [[1], [2]]), SharedPrompt([1], [[2] * 20, [3] * 20])]
)
def test_prompts_that_share_nothing_worth_it_run_apart(prompt: SharedPrompt) -> None:
    assert layout_for([prompt], ExactLayouts(packed, unshared), LlamaConfig()) is unshared


def family_model(family: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(family_config(family)).eval()


def prompt_of(prefix: int, *tails: int) -> SharedPrompt:
    """A prompt of varied tokens with a prefix and tails of these lengths."""
    return SharedPrompt(
        [5 + 7 * i % 380 for i in range(prefix)],
        [[5 + (11 * i + 3 * number) % 380 for i in range(tail)] for number, tail in enumerate(tails)],
    )


@pytest.mark.parametrize(
    ("family", "shared", "separate"),
    [
        ("DiffLlama, which attends twice in a layer", packed, unshared),
        ("Phi-3 with long RoPE", packed, unshared),
        ("Llama 4, which counts padding", unshared, unshared),
        ("RWKV, which reads padding", one_by_one, one_by_one),
        ("BART, which counts padding", one_by_one, one_by_one),
    ],
)
def test_the_layouts_of_a_family_are_the_fastest_exact_ones(family: str, shared: object, separate: object) -> None:
    assert exact_layouts(family_model(family), [prompt_of(12, 3, 5), prompt_of(17, 2, 6)]) == ExactLayouts(
        shared,
        separate,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("prompts", [
    pytest.param([prompt_of(9, 2, 3, 4), prompt_of(5, 2, 3)], id="short"),
    pytest.param([prompt_of(9, 2, 3), prompt_of(90, 2, 3)], id="one beyond the original length"),
    pytest.param([prompt_of(70, 2, 30), prompt_of(90, 2, 3)], id="all beyond the original length"),
    pytest.param([prompt_of(60, 2, 30, 4, 5)], id="tails across the original length"),
    pytest.param([prompt_of(60, 9, 30), prompt_of(80, 9)], id="a prefix within the original length, tails beyond"),
    pytest.param([prompt_of(62, 2, 3, 2, 3)], id="a token more than the original length"),
    pytest.param([prompt_of(300, *[90] * 12)], id="several steps"),
])  # fmt: skip
@pytest.mark.parametrize("family", [family for family in FAMILIES if "dynamic" not in family and family != "MPT"])
def test_every_prompt_has_the_logits_of_a_pass_of_its_own(family: str, prompts: list[SharedPrompt]) -> None:
    model = family_model(family)
    layouts = exact_layouts(model, [prompt_of(12, 3, 5), prompt_of(17, 2, 6)])
    for layout in (layouts.separate, layout_for(prompts, layouts, model.config)):
        difference = layout(model, prompts).softmax(-1) - plain_logits(model, prompts).softmax(-1)
        assert difference.abs().max() < 1e-5


def test_prompts_on_both_sides_of_the_original_length_are_not_laid_out_together() -> None:
    model = family_model("Phi-3 with long RoPE")
    chosen = partial(layout_for, layouts=ExactLayouts(packed, unshared), config=model.config)
    assert chosen([prompt_of(ORIGINAL_LENGTH - 4, 4, 4, 4)]) is packed
    assert chosen([prompt_of(ORIGINAL_LENGTH - 4, 4, 4, 5)]) is unshared
    assert chosen([prompt_of(ORIGINAL_LENGTH + 1, 4, 4, 4)]) is packed
    assert chosen([prompt_of(ORIGINAL_LENGTH, 4, 4, 4)]) is unshared


def test_queries_that_depend_on_the_column_are_not_packed_even_if_the_trial_is_too_short_to_show_it() -> None:
    config = family_config("Llama 4, which counts padding", floor_scale=100)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert exact_layouts(model, [prompt_of(12, 3, 5), prompt_of(17, 2, 6)]) == ExactLayouts(unshared, unshared)


class LosesEarlierSteps(torch.nn.Module):
    """A model that attends to the prefix only in the step that reads the prefix."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.device, self.dtype, self.config = inner.device, inner.dtype, inner.config

    def forward(self, **inputs: Any) -> Any:
        packing = inputs.get("packing")
        for states in packing.prefix_states.values() if packing else ():
            for number, pair in states.items():
                states[number] = tuple(torch.zeros_like(each) for each in pair)
        return self.inner(**inputs)


def test_a_model_that_is_wrong_beyond_the_first_step_is_not_packed(model: Any) -> None:
    assert exact_layouts(LosesEarlierSteps(model), PROMPTS).shared is repeated_cache
