"""Reinforcement learning in the trainer process: opens the reward, reports progress, and refuses an empty success."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rbr.errors import InputError
from resources.trainer_process.job import GrpoJob

if TYPE_CHECKING:
    from rbr.reward import RuleBasedReward
    from rbr.training import TrainedPolicy


def reinforce(
    job: GrpoJob, rows: pl.DataFrame, report: Callable[..., None], on_message: Callable[[str], None]
) -> "TrainedPolicy":
    """Trains the policy of a job, or goes on from the job's saved state.

    Args:
        job: The training.
        rows: Its training rows.
        report: Called with the number of finished steps, and with a note about what the training waits for.
        on_message: Called from time to time with a line of text.

    Raises:
        InputError: A model cannot be opened, the grader is away, too many replies got no reward, or none got one. The
            states that were saved before stay, except if no reply at all got a reward.
    """
    from rbr.training import train_grpo

    reward = ReportingReward(job.settings.steps, report, on_message)
    reward.function = _open_reward(job, reward.note)
    try:
        policy = train_grpo(
            rows,
            job.model,
            job.settings,
            reward,
            on_step=reward.step_done,
            on_message=on_message,
            state_directory=job.saved_state,
        )
    except InputError as error:
        if error.where != _UNSCORED:
            raise _with_next_step(error, job) from error
        what = f"{error.what}. Of the replies that this process has sampled, {reward.function.unscored}"
        raise InputError(what, where=_UNSCORED, hint=error.hint) from error
    _check_any_reward(policy.metrics, job, reward.function)
    return policy


def _with_next_step(error: InputError, job: GrpoJob) -> InputError:
    """Adds to the hint of an error where the next run goes on, if the training saved a state."""
    if job.saved_state is None or not any(Path(job.saved_state).glob("checkpoint-*")):
        return error
    hint = f"{error.hint} The next `rbr run` goes on from the last saved state.".lstrip()
    return InputError(error.what, where=error.where, hint=hint)


_UNSCORED = "rl.max_unscored"


class ReportingReward:
    """The reward of a training, which also reports the step of the training and what the grader waits for.

    Args:
        steps: Number of steps of the training.
        report: Called with the number of finished steps and a note.
        on_message: Called with a line of text if the training goes on from a saved state.

    Attributes:
        function: The reward function.
    """

    # TRL uses this name in its logs.
    __name__ = "r_tot"
    function: "RuleBasedReward"

    def __init__(self, steps: int, report: Callable[..., None], on_message: Callable[[str], None]) -> None:
        self._steps = steps
        self._report = report
        self._on_message = on_message
        self._done: int | None = None  # None before the first reply is rewarded.
        self._went_on = ""

    def __call__(self, *args: Any, trainer_state: Any, **columns: Any) -> list[float | None]:
        """Returns the rewards of a step, as `rbr.reward.RuleBasedReward` does."""
        if self._done is None and trainer_state.global_step:
            self._went_on = f"goes on at step {trainer_state.global_step} of {self._steps}"
            self._on_message(f"The training {self._went_on}.")
        self._done = trainer_state.global_step
        self.note("")
        return self.function(*args, **columns)

    def step_done(self, done: int) -> None:
        """Reports a finished step."""
        self._done = done
        self.note("")

    def note(self, text: str) -> None:
        """Reports what the training waits for; if it does not wait, whether it went on from a saved state."""
        self._report(self._done or 0, text or self._went_on)


def _open_reward(job: GrpoJob, on_note: Callable[[str], None]) -> "RuleBasedReward":
    from rbr.models.reward_model import RewardModel
    from rbr.reward import RuleBasedReward

    source = job.reward
    if source.artifact is None or source.grader_settings is None:
        return RuleBasedReward(RewardModel(source.reward_model, source.batch_size))
    return RuleBasedReward.open(
        source.artifact,
        source.reward_model,
        source.grader,
        source.grader_settings,
        source.batch_size,
        on_refusal=source.on_refusal,
        on_note=on_note,
    )


def _check_any_reward(metrics: pl.DataFrame, job: GrpoJob, reward: "RuleBasedReward") -> None:
    """Checks that a reply got a reward. If none did, the policy is the one before the training."""
    unscored = metrics.filter(pl.col("metric") == "unscored")["value"]
    if (unscored < 1.0).any():
        return
    if job.saved_state is not None:
        # The last state is that of a finished training. To go on from it would never train the policy.
        shutil.rmtree(job.saved_state, ignore_errors=True)
    raise InputError(
        f"no reply got a reward, so the policy has learned nothing: {reward.unscored}",
        where=job.name,
        hint="Find out why the grader or the reward model gives no answer. `rbr run` then trains from the start.",
    )
