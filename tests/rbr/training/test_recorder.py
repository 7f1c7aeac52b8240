"""The recorder of a training run: which metrics it keeps, and when it calls back."""

from types import SimpleNamespace

from rbr.training.recorder import Recorder


def state(step: int, max_steps: int = 20) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=max_steps)


def test_metrics_are_renamed_filtered_and_sorted() -> None:
    recorder = Recorder()
    recorder.on_log(None, state(2), None, logs={"reward": 1, "kl": 0.5, "step_time": 9.0})
    recorder.on_log(None, state(1), None, logs={"completions/mean_length": 7.0, "epoch": 0.1, "note": "text"})
    assert recorder.metrics.rows() == [(1, "completion_length", 7.0), (2, "kl", 0.5), (2, "reward", 1.0)]


def test_a_log_without_metrics_is_ignored() -> None:
    messages: list[str] = []
    recorder = Recorder(on_message=messages.append)
    recorder.on_log(None, state(20), None, logs={"train_runtime": 3.0})
    recorder.on_log(None, state(20), None)
    assert recorder.metrics.is_empty() and messages == []


def test_about_ten_messages_are_sent_per_run() -> None:
    messages: list[str] = []
    recorder = Recorder(on_message=messages.append)
    for step in range(1, 21):
        recorder.on_log(None, state(step), None, logs={"loss": 0.25, "reward": 1.0})
    assert len(messages) == 10
    assert messages[0] == "step 2 of 20: reward 1.000, loss 0.250"


def test_every_finished_step_is_reported() -> None:
    steps: list[int] = []
    recorder = Recorder(on_step=steps.append)
    for step in (1, 2, 3):
        recorder.on_step_end(None, state(step), None)
    assert steps == [1, 2, 3]
