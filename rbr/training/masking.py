"""GRPO that leaves completions without a reward out of the loss, with one rule for prompts, sampling and replies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, TrainerCallback
from trl import GRPOTrainer

from rbr.models.chat_tokens import encode_chat
from rbr.models.reply_text import ReplyReader


class MaskingGRPOTrainer(GRPOTrainer):
    """A GRPO trainer that masks the tokens of completions whose reward is None.

    TRL 1.16 excludes a completion without a reward from the mean and the standard deviation of its group, and gives
    the completion advantage 0. However, the tokens of the completion still count in the KL term, and in the number of
    tokens that the loss is divided by. Missing grades would therefore pull the policy toward the reference, and shrink
    the gradient of the other completions. This trainer masks these tokens, as TRL masks truncated completions. A step
    without any reward does not change the policy at all: neither momentum nor weight decay moves a weight.

    Prompts, sampling and replies follow the rules of synthesis and evaluation:

    - A control token that a prompt spells out is encoded as text (`rbr.models.chat_tokens`).
    - No setting of the policy's ``generation_config.json`` applies, except its end tokens.
    - The reward function gets the reply without thoughts (`rbr.thoughts`).

    The trainer logs metrics of each step. Four are shares of the completions: ``unscored``, without a reward;
    ``unclosed_thoughts``, with a thought that does not end; ``unopened_thoughts``, with a closing mark that ends no
    thought; and ``special_tokens``, with a special token inside the reply. ``skipped`` is 1 if no completion had a
    reward, else 0.

    Example:
        >>> issubclass(MaskingGRPOTrainer, GRPOTrainer)  # It takes the same arguments.
        True
    """

    _is_scored: torch.Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replies = ReplyReader(self._tokenizer, self.chat_template_kwargs)
        self._trained_tokens = torch.zeros((), device=self.accelerator.device)
        self.add_callback(_SkippedSteps(self))

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        if not isinstance(prompts[0], list) or self._is_vlm or self.tools or self.chat_template is not None:
            return super()._tokenize_prompts(prompts)
        kwargs = self.chat_template_kwargs
        encoded = [
            encode_chat(self._tokenizer, prompt, add_generation_prompt=True, chat_template_kwargs=kwargs)
            for prompt in prompts
        ]
        return encoded, None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        with self._own_generation_config():
            return super()._generate_single_turn(*args, **kwargs)

    @contextmanager
    def _own_generation_config(self) -> Iterator[None]:
        """Hides the policy's generation settings: `generate` takes from them whatever a call leaves open."""
        model = self.accelerator.unwrap_model(self.model)
        own = model.generation_config
        model.generation_config = GenerationConfig(eos_token_id=self.eos_token_ids)
        try:
            yield
        finally:
            # A checkpoint is saved with the settings that the policy had before the training.
            model.generation_config = own

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        replies = [self._replies.read(self._before_end(ids)) for ids in completion_ids_list]
        completions = [
            [*turns[:-1], {**turns[-1], "content": reply.text}] if isinstance(turns, list) else reply.text
            for turns, reply in zip(completions, replies, strict=True)
        ]
        # [completions of all processes, reward functions]
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._is_scored = ~torch.isnan(rewards).all(dim=1)
        self._metrics["train"]["unscored"].append(1.0 - self._is_scored.float().mean().item())
        counts = {
            "unclosed_thoughts": sum(reply.unclosed for reply in replies),
            "unopened_thoughts": sum(reply.unopened for reply in replies),
            "special_tokens": sum(reply.special_tokens > 0 for reply in replies),
        }
        for name, count in counts.items():
            self._metrics["train"][name].append(count / len(replies))
        return rewards

    def _before_end(self, ids: list[int]) -> list[int]:
        return ids[:-1] if ids and ids[-1] in self.eos_token_ids else ids

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        mask = batch["completion_mask"]  # [completions of this process, tokens]
        first = self.accelerator.process_index * len(mask)
        mask = mask * self._is_scored[first : first + len(mask), None].to(mask)
        batch["completion_mask"] = mask
        batch["num_items_in_batch"] = self.accelerator.gather(mask.sum()).sum()
        return batch

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        self._trained_tokens += inputs["completion_mask"].sum()
        return super()._compute_loss(model, inputs)


class _SkippedSteps(TrainerCallback):
    """Drops the gradients of a step in which no token counts.

    The gradients are zeros, but an optimizer with momentum or weight decay would still move the weights. Optimizers
    leave parameters alone whose gradient is None.
    """

    def __init__(self, trainer: MaskingGRPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self._trainer
        skipped = trainer.accelerator.gather(trainer._trained_tokens).sum().item() == 0
        trainer._trained_tokens.zero_()
        trainer._metrics["train"]["skipped"].append(float(skipped))
        if skipped:
            trainer.model.zero_grad(set_to_none=True)
