"""Reinforcement learning from R_tot (paper section 2, stage 10), with TRL's GRPO in place of PPO.

GRPO needs no value model: the baseline of a completion is the mean reward of the completions of its prompt.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig

from rbr.errors import InputError
from rbr.hashing import content_hash, frame_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.models.pretrained import context_limit, open_tokenizer, opening
from rbr.models.prompt_check import prompt_problem
from rbr.training.arguments import model_arguments, shared_arguments
from rbr.training.checkpoint import TrainedPolicy
from rbr.training.masking import MaskingGRPOTrainer
from rbr.training.recorder import Recorder
from rbr.training.saved_state import SavedState

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
    state_directory: str | Path | None = None,
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

    A prompt that the chat template refuses, or that leaves no room for a reply in the policy's context, is left out; a
    message says how many.

    With a state directory, the training saves its state after every `settings.save_steps` steps. If it stops, for
    example because the reward function raises an error, the next call with the same arguments goes on from the last
    state. On a CPU, the weights are then the same as without the stop. `TrainedPolicy.save` deletes the directory.

    Args:
        rows: Columns prompt (messages, a list of structs with role and content), and the columns that the reward
            function takes, such as category.
        model: The policy before training, which is also the reference of the KL term.
        settings: Steps, group size, learning rate, KL weight, seed, and the largest share of replies without a reward.
        reward_function: A TRL reward function, such as `rbr.reward.RuleBasedReward`.
        on_step: Called after each step with the number of finished steps.
        on_message: Called about ten times per run with a line of text.
        state_directory: Directory for the states; one for each training. None saves no state.

    Raises:
        InputError: The model cannot be opened, there are fewer usable rows than prompts in a step, or more than
            `settings.max_unscored` of the replies have no reward.

    Example:
        >>> from rbr.profile import ModelRef, RlSettings
        >>> def shortness(completions, **_):
        ...     return [-float(len(messages[0]["content"])) for messages in completions]
        >>> rows = pl.DataFrame({"prompt": [[{"role": "user", "content": "Hi."}]]})
        >>> settings = RlSettings(steps=1, prompts_per_step=1, num_generations=2, learning_rate=1e-4, beta=0.1,
        ...                       temperature=1.0, top_p=1.0, max_completion_length=8, scale_rewards="batch",
        ...                       on_refusal="worst", max_unscored=0.0, save_steps=1, seed=0)
        >>> policy = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> trained = train_grpo(rows, policy, settings, shortness)  # doctest: +ELLIPSIS
        {'loss': ...
        >>> trained.metrics.filter(pl.col("metric") == "kl").height
        1
    """
    recorder = Recorder(on_step, on_message)
    tokenizer = open_tokenizer(model)
    usable = _usable_rows(rows, model, tokenizer, settings, recorder)
    with tempfile.TemporaryDirectory(prefix="rbr-grpo-") as scratch:
        saved = SavedState(Path(state_directory), _identity(rows, model, settings)) if state_directory else None
        arguments = _arguments(str(saved.directory) if saved else scratch, settings, model, saves=saved is not None)
        data = Dataset.from_list(usable.to_dicts())
        with opening(model):
            trainer = MaskingGRPOTrainer(
                model=model.path,
                processing_class=tokenizer,
                reward_funcs=[reward_function],
                train_dataset=data,
                callbacks=[recorder, _UnscoredBound(recorder, settings)],
                args=arguments,
            )
        start = saved.latest() if saved else None
        if start is not None:
            recorder.send(f"the training goes on from the state in {start}")
        trainer.train(resume_from_checkpoint=start)
    return TrainedPolicy(trainer.model, tokenizer, recorder.metrics, saved.directory if saved else None)


class _UnscoredBound(TrainerCallback):
    """Stops a training as soon as too many of all its replies have no reward."""

    def __init__(self, recorder: Recorder, settings: "RlSettings") -> None:
        self._recorder = recorder
        self._settings = settings

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        unscored = self._recorder.metrics.filter(pl.col("metric") == "unscored")["value"]
        bound = self._settings.max_unscored
        if unscored.sum() > bound * self._settings.steps + 1e-9:  # with room for rounding
            share = unscored.sum() / state.global_step
            raise InputError(
                f"{share:.1%} of the replies of the first {state.global_step} steps have no reward; "
                f"at most {bound:.1%} of the replies of all {self._settings.steps} steps may have none",
                where="rl.max_unscored",
                hint="Find out why the grader or the reward model gives no answer, or raise rl.max_unscored.",
            )


def _usable_rows(
    rows: pl.DataFrame, model: "ModelRef", tokenizer: Any, settings: "RlSettings", recorder: Recorder
) -> pl.DataFrame:
    limit = context_limit(model, tokenizer)
    problems = [
        prompt_problem(
            tokenizer,
            messages,
            limit=limit,
            new_tokens=settings.max_completion_length,
            chat_template_kwargs=model.chat_template_kwargs,
        )
        for messages in rows["prompt"].to_list()
    ]
    usable = rows.filter(pl.Series([problem is None for problem in problems], dtype=pl.Boolean))
    left_out = rows.height - usable.height
    first = next((problem for problem in problems if problem is not None), None)
    if left_out:
        recorder.send(f"{left_out} of {rows.height} prompts cannot be used and are left out; of the first: {first}")
    if usable.height < settings.prompts_per_step:
        # TRL drops an incomplete step, and would return the policy without any training.
        unusable = f"; {left_out} more cannot be used, the first because {first}" if left_out else ""
        raise InputError(
            f"a step takes {settings.prompts_per_step} prompts, but there are only {usable.height}{unusable}",
            where="rl.prompts_per_step",
            hint="Add prompts, or lower rl.prompts_per_step.",
        )
    return usable


def _identity(rows: pl.DataFrame, model: "ModelRef", settings: "RlSettings") -> str:
    """Returns the hash of what the weights after each step depend on, apart from the reward function."""
    recipe = settings.model_dump(exclude={"save_steps", "max_unscored"})
    return content_hash([frame_hash(rows), model_fingerprint(model), recipe])


def _arguments(output_dir: str, settings: "RlSettings", model: "ModelRef", *, saves: bool) -> GRPOConfig:
    # Here a row is one completion. Each prompt of a step has `num_generations` rows.
    rows_per_step = settings.prompts_per_step * settings.num_generations
    rows_per_pass = _rows_per_pass(rows_per_step)
    # A state falls between two steps, and each step has one generation batch. A training that goes on from a state
    # therefore samples the same replies.
    saving = {"save_strategy": "steps", "save_steps": settings.save_steps, "save_total_limit": 1} if saves else {}
    return GRPOConfig(
        **{**shared_arguments(output_dir, settings.seed), **saving},
        model_init_kwargs=model_arguments(model.revision),
        chat_template_kwargs=model.chat_template_kwargs,
        max_steps=settings.steps,
        generation_batch_size=rows_per_step,
        per_device_train_batch_size=rows_per_pass,
        gradient_accumulation_steps=rows_per_step // rows_per_pass,
        num_generations=settings.num_generations,
        max_completion_length=settings.max_completion_length,
        temperature=settings.temperature,
        top_p=settings.top_p,
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
