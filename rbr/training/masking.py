"""GRPO that excludes completions without a reward from the loss."""

from typing import Any

import torch
from trl import GRPOTrainer


class MaskingGRPOTrainer(GRPOTrainer):
    """A GRPO trainer that masks the tokens of completions whose reward is None.

    TRL 1.16 excludes a completion without a reward from the mean and the standard deviation of its group, and gives
    the completion advantage 0. However, the tokens of the completion still count in the KL term, and in the number of
    tokens that the loss is divided by. Missing grades would therefore pull the policy toward the reference, and shrink
    the gradient of the other completions. This trainer masks these tokens, as TRL masks truncated completions.

    The trainer logs the metric ``unscored``, the share of completions without a reward.

    Example:
        >>> issubclass(MaskingGRPOTrainer, GRPOTrainer)  # It takes the same arguments.
        True
    """

    _is_scored: torch.Tensor

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)  # [completions of all processes, reward functions]
        self._is_scored = ~torch.isnan(rewards).all(dim=1)
        self._metrics["train"]["unscored"].append(1.0 - self._is_scored.float().mean().item())
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        mask = batch["completion_mask"]  # [completions of this process, tokens]
        first = self.accelerator.process_index * len(mask)
        mask = mask * self._is_scored[first : first + len(mask), None].to(mask)
        batch["completion_mask"] = mask
        batch["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()
        return batch
