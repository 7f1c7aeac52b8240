"""Saves tiny models with random weights and a chat template, for tests that load, sample, score or train."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rbr.profile import ModelRef

TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXTS = [
    "Read the conversation, then answer the question about the last reply with yes or no.",
    "USER: How do I boil an egg? ASSISTANT: I'm sorry, but I can't help with that.",
    "Is the reply an apology? yes no Yes No",
]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer with a chat template; the padding token is not the end token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Returns the configuration of a model with two layers of width 32."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save_policy(directory: Path, *, seed: int = 0, template: bool = True) -> ModelRef:
    """Saves a random causal language model with its tokenizer."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    LlamaForCausalLM(tiny_config(tokenizer)).save_pretrained(directory)
    if not template:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(directory)
    return ModelRef(path=str(directory), revision=None)


def save_reward_model(directory: Path, *, outputs: int = 1) -> ModelRef:
    """Saves a random sequence classifier with its tokenizer."""
    tokenizer = tiny_tokenizer()
    config = tiny_config(tokenizer)
    config.num_labels = outputs
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return ModelRef(path=str(directory), revision=None)


ORIGINAL_LENGTH = 64
"""Length beyond which the models of `FAMILIES` with long RoPE turn all tokens of a pass by other angles."""

_SIZES = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
    "max_position_embeddings": 512,
}  # fmt: skip
_LONG_ROPE = {
    "original_max_position_embeddings": ORIGINAL_LENGTH,
    "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": ORIGINAL_LENGTH,
        "short_factor": [1.0] * 4, "long_factor": [4.0, 5.0, 6.0, 8.0], "short_mscale": 1.0, "long_mscale": 1.3,
    },
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Phi-3 with long RoPE": ("Phi3Config", {**_SIZES, **_LONG_ROPE}),
    "PhiMoE with long RoPE": ("PhimoeConfig", {**_SIZES, **_LONG_ROPE, "num_local_experts": 4}),
    "Llama with dynamic RoPE": (
        "LlamaConfig",
        {**_SIZES, "max_position_embeddings": ORIGINAL_LENGTH, "rope_parameters": {
            "rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    "DiffLlama, which attends twice in a layer": ("DiffLlamaConfig", _SIZES),
    "Llama 4, which counts padding": (
        "Llama4TextConfig",
        {**_SIZES, "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 64, "no_rope_layers": [1, 0],
         "attention_chunk_size": 4096, "attn_temperature_tuning": True, "floor_scale": 8, "attn_scale": 0.5},
    ),
    "RWKV, which reads padding": (
        "RwkvConfig",
        {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "eos_token_id": 1,
         "bos_token_id": None, "context_length": 512},
    ),
    "BART, which counts padding": (
        "BartConfig",
        {"vocab_size": 400, "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64,
         "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "max_position_embeddings": 512,
         "init_std": 0.3, "is_decoder": True, "is_encoder_decoder": False, "pad_token_id": 0, "bos_token_id": None,
         "eos_token_id": 1},
    ),
    "MPT": (
        "MptConfig",
        {"vocab_size": 400, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 96, "expansion_ratio": 2,
         "initializer_range": 0.3},
    ),
}  # fmt: skip
"""Classes and settings of configurations, by family."""


def family_config(family: str, **changes: Any) -> Any:
    """Returns the configuration of a tiny model of a family of `FAMILIES`."""
    name, settings = FAMILIES[family]
    return getattr(transformers, name)(**{**settings, **changes})


def save_family(directory: Path, family: str, auto_class: Any, **changes: Any) -> ModelRef:
    """Saves a random model of a family with its tokenizer."""
    torch.manual_seed(0)
    auto_class.from_config(family_config(family, **changes)).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return ModelRef(path=str(directory), revision=None)
