"""Arguments that TRL's SFT and GRPO trainers share."""

from typing import Any

import torch


def shared_arguments(output_dir: str, seed: int) -> dict[str, Any]:
    """Returns keyword arguments of a TRL configuration for a reproducible, silent run without intermediate checkpoints.

    Weights are fp32 on every device. A GPU that supports bf16 computes in bf16.

    Args:
        output_dir: Directory that TRL may write to.
        seed: Seed of initialization, data order and sampling.
    """
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": output_dir,
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
    """Returns keyword arguments of ``from_pretrained`` for the policy and its frozen reference model.

    Both have fp32 weights, whatever the `dtype` of the policy: an update that is small beside a weight would be lost in
    bf16.

    Args:
        revision: Commit of the Hub repository; None for a local directory.
    """
    safe = {"dtype": "float32", "use_safetensors": True, "trust_remote_code": False}
    return {**safe, **({"revision": revision} if revision else {})}
