"""Training of the policy with TRL: supervised fine-tuning and GRPO (paper section 2, stages 7 and 10).

Importing this package does not import torch; the first use of `train_sft` or `train_grpo` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbr.training.checkpoint import TrainedPolicy
    from rbr.training.grpo import train_grpo
    from rbr.training.masking import MaskingGRPOTrainer
    from rbr.training.sft import train_sft

__all__ = ["MaskingGRPOTrainer", "TrainedPolicy", "train_grpo", "train_sft"]

_MODULES = {
    "MaskingGRPOTrainer": "masking",
    "TrainedPolicy": "checkpoint",
    "train_grpo": "grpo",
    "train_sft": "sft",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
