#!/usr/bin/env bash
# transformers 5.23.0: with RoPE of the type longrope (Phi-3, Phi-4-mini, PhiMoE), the logits of a short row depend on the
# longest row of its batch. One row beyond original_max_position_embeddings switches the long factors on for all rows,
# also for rows that are far shorter. No warning says so. Right padding and an attention mask do not prevent it.
# To be safe: never batch rows on both sides of original_max_position_embeddings.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import Phi3Config, Phi3ForCausalLM

print("transformers", transformers.__version__)
ORIGINAL = 64


def largest_difference(rope_type: str) -> float:
    """Largest difference of the log probabilities of a row of 20 tokens: alone, and beside a row of 80 tokens."""
    rope = {"rope_type": rope_type, "rope_theta": 10000.0}
    if rope_type == "longrope":
        rope |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": ORIGINAL}
    config = Phi3Config(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, original_max_position_embeddings=ORIGINAL, rope_parameters=rope, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )
    torch.manual_seed(0)
    model = Phi3ForCausalLM(config).eval()
    short, long = torch.randint(3, 100, (1, 20)), torch.randint(3, 100, (1, 80))
    batch = torch.cat([torch.nn.functional.pad(short, (0, 60)), long])
    mask = torch.tensor([[1] * 20 + [0] * 60, [1] * 80])
    with torch.no_grad():
        alone = model(input_ids=short).logits[0].log_softmax(-1)
        beside = model(input_ids=batch, attention_mask=mask).logits[0, :20].log_softmax(-1)
    return float((alone - beside).abs().max())


default, longrope = largest_difference("default"), largest_difference("longrope")
print(f"default RoPE: a short row differs by {default:.1e} beside a long one")
print(f"longrope:     a short row differs by {longrope:.2f} beside a long one")
assert default < 1e-4
assert longrope > 0.1
PYTHON
