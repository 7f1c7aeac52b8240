"""Records the metrics of a training run, and reports progress and messages to callbacks."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from transformers import TrainerCallback

_RENAMED = {
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "cut_short",
    "frac_reward_zero_std": "prompts_without_signal",
}
# Left out: times and throughputs, because they differ between equal runs, and metrics that repeat another metric.
_LEFT_OUT_PREFIXES = (
    "profiling/",
    "sampling/",
    "clip_ratio/",
    "completions/",
    "rewards/",
    "train_",
    "epoch",
    "total_flos",
    "num_tokens",
    "step",
)
_METRICS_IN_MESSAGES = ("reward", "kl", "loss")


class Recorder(TrainerCallback):
    """A callback of a Hugging Face trainer that collects the metrics of every step.

    Args:
        on_step: Called after each step with the number of finished steps.
        on_message: Called about ten times per run with a line of text.

    Example:
        >>> from transformers import TrainerState
        >>> recorder = Recorder(on_message=print)
        >>> recorder.on_log(None, TrainerState(global_step=1, max_steps=3), None, logs={"loss": 0.5, "epoch": 1})
        step 1 of 3: loss 0.500
        >>> recorder.metrics.rows()
        [(1, 'loss', 0.5)]
    """

    def __init__(
        self, on_step: Callable[[int], None] | None = None, on_message: Callable[[str], None] | None = None
    ) -> None:
        self._on_step = on_step
        self._on_message = on_message
        self._rows: list[tuple[int, str, float]] = []

    @property
    def metrics(self) -> pl.DataFrame:
        """Metrics so far: columns step (from 1), metric and value, sorted by step and metric."""
        return pl.DataFrame(
            sorted(self._rows),
            schema={"step": pl.Int64, "metric": pl.String, "value": pl.Float64},
            orient="row",
        )

    def send(self, message: str) -> None:
        """Sends a line of text to `on_message`."""
        if self._on_message:
            self._on_message(message)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Takes the metrics of the steps before a saved state, if the training goes on from one."""
        for logs in state.log_history:
            self._rows += [(logs["step"], name, value) for name, value in _metrics(logs).items()]

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Keeps the metrics of a step, and sends a message after every tenth of the run."""
        metrics = _metrics(logs or {})
        self._rows += [(state.global_step, name, value) for name, value in metrics.items()]
        if metrics and state.global_step % max(1, state.max_steps // 10) == 0:
            shown = ", ".join(f"{name} {metrics[name]:.3f}" for name in _METRICS_IN_MESSAGES if name in metrics)
            self.send(f"step {state.global_step} of {state.max_steps}: {shown}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reports a finished step."""
        if self._on_step:
            self._on_step(state.global_step)


def _metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    return {
        _RENAMED.get(name, name): float(value)
        for name, value in logs.items()
        if isinstance(value, int | float) and (name in _RENAMED or not name.startswith(_LEFT_OUT_PREFIXES))
    }
