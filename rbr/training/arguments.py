"""Trainer arguments that both kinds of training share."""

from typing import Any

import torch


def shared_arguments(scratch: str, seed: int) -> dict[str, Any]:
    """Keyword arguments of a TRL configuration: reproducible, silent, nothing saved on the way.

    Weights are fp32 everywhere; a GPU that can computes in bf16.

    Args:
        scratch: Directory that TRL may write to.
        seed: Of initial states, data order and sampling.
    """
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": scratch,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not on_gpu,
        "bf16": on_gpu and torch.cuda.is_bf16_supported(),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": on_gpu,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def model_arguments(revision: str | None) -> dict[str, Any]:
    """Keyword arguments of ``from_pretrained`` for the policy and its frozen reference."""
    return {"dtype": "float32", "use_safetensors": True, **({"revision": revision} if revision else {})}
