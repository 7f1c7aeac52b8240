"""Writes a Llama chat model as a GGUF file, so that llama.cpp serves exactly the weights that the other judges have."""

import json
from pathlib import Path

import gguf
import numpy as np
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
_LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def export_gguf(directory: str | Path, file: Path, pre_tokenizer: str) -> Path:
    """Writes the fp32 weights, the byte-level BPE tokenizer and the chat template of a directory into a GGUF file.

    Args:
        directory: A `LlamaForCausalLM` without biases, and its tokenizer.
        file: GGUF file to write.
        pre_tokenizer: llama.cpp's name of the rule that cuts a text before BPE, such as ``gpt-2``.
    """
    config = AutoConfig.from_pretrained(directory)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name(Path(directory).name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, directory, pre_tokenizer)
    _add_tensors(writer, directory)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: gguf.GGUFWriter, directory: str | Path, pre_tokenizer: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    assert model["type"] == "BPE", "llama.cpp's tokenizer `gpt2` is byte-level BPE"
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    types = [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for number in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_tensors(writer: gguf.GGUFWriter, directory: str | Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype="float32")
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    for name, tensor in weights.items():
        stem = name.removesuffix(".weight")
        array = np.ascontiguousarray(tensor.numpy())
        if stem in _TENSORS:
            target = _TENSORS[stem]
        else:
            _, _, layer, part = stem.split(".", 3)
            target = f"blk.{layer}.{_LAYER_TENSORS[part]}"
            if part == "self_attn.q_proj":
                array = _interleave(array, model.config.num_attention_heads)
            if part == "self_attn.k_proj":
                array = _interleave(array, model.config.num_key_value_heads)
        writer.add_tensor(f"{target}.weight", array)


def _interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of each head: llama.cpp rotates neighbors, transformers the two halves of a head."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
