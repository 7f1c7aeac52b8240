"""GRPO in which a completion without a reward teaches nothing."""

from typing import Any

import torch
from trl import GRPOTrainer


class MaskingGRPOTrainer(GRPOTrainer):
    """Takes completions without a reward out of the loss altogether.

    TRL 1.16 keeps them out of the group's mean and deviation and gives them advantage 0. Their tokens
    still enter the KL term, and the token count that the loss is divided by: missing grades would pull
    the policy towards its start and shrink the other rows' gradient. Here their tokens are masked, as TRL
    itself masks truncated completions.
    """

    _scored: torch.Tensor

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._scored = ~torch.isnan(rewards).all(dim=1)
        self._metrics["train"]["unscored"].append(1.0 - self._scored.float().mean().item())
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        mask = batch["completion_mask"]
        # Rewards are gathered over processes, the batch is this process's own.
        first = self.accelerator.process_index * len(mask)
        mask = mask * self._scored[first : first + len(mask), None].to(mask)
        batch["completion_mask"] = mask
        batch["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()
        return batch
