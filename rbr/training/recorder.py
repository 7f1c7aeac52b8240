"""What a training run tells while it runs: metrics for later, progress and messages for now."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from transformers import TrainerCallback

_RENAMED = {
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "cut_short",
    "frac_reward_zero_std": "prompts_without_signal",
}
# Times and throughputs would make equal runs differ; the others repeat what a kept metric says.
_LEFT_OUT = (
    "profiling/",
    "sampling/",
    "clip_ratio/",
    "completions/",
    "rewards/",
    "train_",
    "epoch",
    "step_time",
    "total_flos",
    "num_tokens",
)
_SHOWN = ("reward", "kl", "loss")


class Recorder(TrainerCallback):
    """Collects the numbers of every step, and reports progress.

    Args:
        on_step: Called with the number of finished steps after each step; None if nobody watches.
        on_message: Called with a line of text about ten times per run.
    """

    def __init__(self, on_step: Callable[[int], None] | None, on_message: Callable[[str], None]) -> None:
        self._on_step = on_step
        self.on_message = on_message
        self._rows: list[tuple[int, str, float]] = []

    @property
    def metrics(self) -> pl.DataFrame:
        """Columns step (from 1), metric, value, in the order of the steps and, within one, of the names."""
        return pl.DataFrame(
            sorted(self._rows),
            schema={"step": pl.Int64, "metric": pl.String, "value": pl.Float64},
            orient="row",
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Keeps the numbers of a step."""
        numbers = {
            _RENAMED.get(name, name): float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float) and (name in _RENAMED or not name.startswith(_LEFT_OUT))
        }
        self._rows += [(state.global_step, name, value) for name, value in numbers.items()]
        if numbers and state.global_step % max(1, state.max_steps // 10) == 0:
            shown = ", ".join(f"{name} {numbers[name]:.3f}" for name in _SHOWN if name in numbers)
            self.on_message(f"step {state.global_step} of {state.max_steps}: {shown}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reports the finished step."""
        if self._on_step:
            self._on_step(state.global_step)
