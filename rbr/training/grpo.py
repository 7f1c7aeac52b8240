"""Reinforcement learning from R_tot (paper section 2, stage 10), with TRL's GRPO in place of PPO.

GRPO needs no value model: the baseline of a completion is the mean reward of the completions of its prompt.
"""

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import polars as pl
import torch
from datasets import Dataset
from trl import GRPOConfig

from rbr.errors import InputError
from rbr.models.pretrained import open_tokenizer
from rbr.training.arguments import model_arguments, shared_arguments
from rbr.training.checkpoint import TrainedPolicy
from rbr.training.masking import MaskingGRPOTrainer
from rbr.training.recorder import Recorder

if TYPE_CHECKING:
    from rbr.profile import ModelRef, RlSettings

RewardFunction: TypeAlias = Callable[..., list[float | None]]
"""A TRL reward function. TRL passes prompts, completions and every other column of the rows by keyword."""

# The largest number of rows in a pass, so that a pass fits into the memory of a GPU.
_ROWS_PER_PASS_ON_GPU = 16


def train_grpo(
    rows: pl.DataFrame,
    model: "ModelRef",
    settings: "RlSettings",
    reward_function: RewardFunction,
    *,
    on_step: Callable[[int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> TrainedPolicy:
    """Trains a policy by GRPO on `settings.prompts_per_step` prompts in each step, in the order of the rows.

    Step i starts at row ``i * prompts_per_step``. After the last row, training continues at the first row.

    `settings.scale_rewards` selects how rewards are normalized. The default profile uses ``batch``: one standard
    deviation for all prompts of a step. This keeps the fitted proportion of R_rm to R_rbr across prompts, and makes
    the learning rate independent of the unit of the reward. A standard deviation for each group would stretch
    every prompt to the same spread. The noise between equally good replies would then count as much as the
    difference between a refusal and harmful advice.

    The loss is an average over all tokens of the batch (``dapo``). If each reply were averaged first, a token of a
    long bad reply would be penalized less than a token of a short bad reply, and masked replies would count as zeros.

    Args:
        rows: Columns prompt (messages, a list of structs with role and content), and the columns that the reward
            function takes, such as category.
        model: The policy before training, which is also the reference of the KL term.
        settings: Steps, group size, learning rate, KL weight and seed.
        reward_function: A TRL reward function, such as `rbr.reward.RuleBasedReward`.
        on_step: Called after each step with the number of finished steps.
        on_message: Called about ten times per run with a line of text.

    Raises:
        InputError: The model cannot be opened, or there are fewer rows than prompts in a step.

    Example:
        >>> from rbr.profile import ModelRef, RlSettings
        >>> def shortness(completions, **_):
        ...     return [-float(len(messages[0]["content"])) for messages in completions]
        >>> rows = pl.DataFrame({"prompt": [[{"role": "user", "content": "Hi."}]]})
        >>> settings = RlSettings(steps=1, prompts_per_step=1, num_generations=2, learning_rate=1e-4, beta=0.1,
        ...                       temperature=1.0, max_completion_length=8, scale_rewards="batch", seed=0)
        >>> policy = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> trained = train_grpo(rows, policy, settings, shortness)  # doctest: +ELLIPSIS
        {'loss': ...
        >>> trained.metrics.filter(pl.col("metric") == "kl").height
        1
    """
    if rows.height < settings.prompts_per_step:
        # TRL drops an incomplete step, and would return the policy without any training.
        raise InputError(
            f"a step takes {settings.prompts_per_step} prompts, but there are only {rows.height}",
            where="rl.prompts_per_step",
            hint="Add prompts, or lower rl.prompts_per_step.",
        )
    recorder = Recorder(on_step, on_message)
    tokenizer = open_tokenizer(model)
    with tempfile.TemporaryDirectory(prefix="rbr-grpo-") as scratch:
        trainer = MaskingGRPOTrainer(
            model=model.path,
            processing_class=tokenizer,
            reward_funcs=[reward_function],
            train_dataset=Dataset.from_list(rows.to_dicts()),
            callbacks=[recorder],
            args=_arguments(scratch, settings, model.revision),
        )
        trainer.train()
    return TrainedPolicy(trainer.model, tokenizer, recorder.metrics)


def _arguments(output_dir: str, settings: "RlSettings", revision: str | None) -> GRPOConfig:
    # Here a row is one completion. Each prompt of a step has `num_generations` rows.
    rows_per_step = settings.prompts_per_step * settings.num_generations
    rows_per_pass = _rows_per_pass(rows_per_step)
    return GRPOConfig(
        **shared_arguments(output_dir, settings.seed),
        model_init_kwargs=model_arguments(revision),
        max_steps=settings.steps,
        generation_batch_size=rows_per_step,
        per_device_train_batch_size=rows_per_pass,
        gradient_accumulation_steps=rows_per_step // rows_per_pass,
        num_generations=settings.num_generations,
        max_completion_length=settings.max_completion_length,
        temperature=settings.temperature,
        learning_rate=settings.learning_rate,
        beta=settings.beta,
        scale_rewards=settings.scale_rewards,
        multi_objective_aggregation="sum_then_normalize",
        loss_type="dapo",
        shuffle_dataset=False,
    )


def _rows_per_pass(rows_per_step: int) -> int:
    """Returns the number of rows in a pass: on a CPU all rows; on a GPU the largest divisor within the limit."""
    if not torch.cuda.is_available():
        return rows_per_step
    return max(size for size in range(1, _ROWS_PER_PASS_ON_GPU + 1) if rows_per_step % size == 0)
