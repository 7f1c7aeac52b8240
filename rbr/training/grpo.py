"""Reinforcement learning from R_tot (paper section 2, stage 10), with TRL's GRPO in place of PPO.

GRPO needs no value model: the baseline of a completion is the mean reward of its prompt's group.
"""

from typing import Any

import polars as pl
import torch
from datasets import Dataset
from trl import GRPOConfig

from rbr.models.pretrained import open_tokenizer
from rbr.models.reward_model import RewardModel
from rbr.reward.trl import RuleBasedReward
from rbr.training.arguments import model_arguments, shared_arguments
from rbr.training.job import GrpoJob, RewardSource
from rbr.training.masking import MaskingGRPOTrainer
from rbr.training.recorder import Recorder

_ROWS_PER_PASS_ON_GPU = 16


def train_grpo(job: GrpoJob, recorder: Recorder, scratch: str) -> tuple[Any, Any]:
    """Trains on the prompts in their order, `prompts_per_step` a step.

    Rewards are scaled over what `scale_rewards` says. The default profile says ``batch``: one deviation for
    all prompts of a step keeps the fitted proportion of R_rm to R_rbr between prompts and makes the
    learning rate independent of the reward's unit. A deviation for each group would stretch every prompt to
    the same spread, so that where all replies are equally good their noise would count as much as the
    difference between a refusal and harmful advice elsewhere.

    The loss averages over the tokens of the whole batch (``dapo``): an average within each reply first would
    charge a long bad reply less for each token than a short one, and count masked replies as zeros.

    Args:
        job: What to train.
        recorder: Told of every step.
        scratch: Directory that may be written to.

    Returns:
        Model and tokenizer.

    Raises:
        InputError: A model or the reward artifact cannot be read.
    """
    tokenizer = open_tokenizer(job.model)
    trainer = MaskingGRPOTrainer(
        model=job.model.path,
        processing_class=tokenizer,
        reward_funcs=[open_reward(job.reward)],
        train_dataset=Dataset.from_list(pl.read_parquet(job.data).to_dicts()),
        callbacks=[recorder],
        args=_arguments(job, scratch),
    )
    trainer.train()
    return trainer.model, tokenizer


def open_reward(source: RewardSource) -> RuleBasedReward:
    """The reward function of a job."""
    if source.artifact is None or source.grader is None or source.grader_settings is None:
        return RuleBasedReward(RewardModel(source.reward_model, source.batch_size))
    return RuleBasedReward.open(
        source.artifact, source.reward_model, source.grader, source.grader_settings, source.batch_size
    )


def _arguments(job: GrpoJob, scratch: str) -> GRPOConfig:
    settings = job.settings
    rows = settings.prompts_per_step * settings.num_generations
    rows_per_pass = _rows_per_pass(rows)
    return GRPOConfig(
        **shared_arguments(scratch, settings.seed),
        model_init_kwargs=model_arguments(job.model.revision),
        max_steps=settings.steps,
        generation_batch_size=rows,
        per_device_train_batch_size=rows_per_pass,
        gradient_accumulation_steps=rows // rows_per_pass,
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


def _rows_per_pass(rows: int) -> int:
    """All of a step's rows on a CPU, whose memory is large; their largest share that a GPU takes at once."""
    if not torch.cuda.is_available():
        return rows
    return max(size for size in range(1, _ROWS_PER_PASS_ON_GPU + 1) if rows % size == 0)
