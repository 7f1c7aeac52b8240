"""A training that was stopped goes on from its last saved state, and ends with the same weights."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rbr.errors import InputError
from rbr.hashing import directory_digest
from rbr.profile import ModelRef
from rbr.training import train_grpo
from rbr.training.saved_state import SavedState
from tests.rl_settings import rl_settings
from tests.tiny_models import save_policy

pytestmark = pytest.mark.slow

ROWS = pl.DataFrame({"prompt": [[{"role": "user", "content": text}] for text in ("Why?", "Hi", "I feel low today.")]})
SETTINGS = rl_settings(steps=5, max_completion_length=8)


class JudgeIsAwayError(Exception):
    pass


class Judge:
    """Rewards long replies; goes away at a call."""

    __name__ = "judge"

    def __init__(self, away_at: int | None = None) -> None:
        self.calls = 0
        self._away_at = away_at

    def __call__(self, completions: list[Any], **_: Any) -> list[float | None]:
        self.calls += 1
        if self.calls == self._away_at:
            raise JudgeIsAwayError
        return [float(len(messages[0]["content"])) for messages in completions]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def expected(policy: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the checkpoint of a training that was not stopped and saved no state."""
    directory = tmp_path_factory.mktemp("expected") / "checkpoint"
    train_grpo(ROWS, policy, SETTINGS, Judge()).save(directory)
    return directory_digest(directory)


@pytest.mark.parametrize(("away_at", "kept", "calls"), [(2, None, 5), (3, 2, 3), (4, 2, 3), (5, 4, 1)])
def test_a_training_whose_judge_goes_away_goes_on_from_the_last_state(
    policy: ModelRef, tmp_path: Path, expected: str, away_at: int, kept: int | None, calls: int
) -> None:
    state = tmp_path / "state"
    with pytest.raises(JudgeIsAwayError):
        train_grpo(ROWS, policy, SETTINGS, Judge(away_at), state_directory=state)
    assert [path.name for path in state.glob("checkpoint-*")] == ([f"checkpoint-{kept}"] if kept else [])
    judge, steps = Judge(), list[int]()
    trained = train_grpo(ROWS, policy, SETTINGS, judge, state_directory=state, on_step=steps.append)
    assert judge.calls == calls
    assert steps == list(range((kept or 0) + 1, 6))
    assert trained.metrics.filter(pl.col("metric") == "loss")["step"].to_list() == [1, 2, 3, 4, 5]
    # The state is kept until the checkpoint is written.
    assert state.is_dir()
    trained.save(tmp_path / "checkpoint")
    assert not state.exists()
    assert directory_digest(tmp_path / "checkpoint") == expected


def test_a_training_that_stopped_after_its_last_step_only_returns_the_policy(
    policy: ModelRef, tmp_path: Path, expected: str
) -> None:
    state = tmp_path / "state"
    train_grpo(ROWS, policy, SETTINGS, Judge(), state_directory=state)
    judge = Judge()
    train_grpo(ROWS, policy, SETTINGS, judge, state_directory=state).save(tmp_path / "checkpoint")
    assert judge.calls == 0
    assert directory_digest(tmp_path / "checkpoint") == expected


def test_a_state_that_was_cut_while_it_was_written_is_passed_over(
    policy: ModelRef, tmp_path: Path, expected: str
) -> None:
    state = tmp_path / "state"
    with pytest.raises(JudgeIsAwayError):
        train_grpo(ROWS, policy, SETTINGS, Judge(5), state_directory=state)
    (state / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4')
    judge = Judge()
    train_grpo(ROWS, policy, SETTINGS, judge, state_directory=state).save(tmp_path / "checkpoint")
    assert judge.calls == 5
    assert directory_digest(tmp_path / "checkpoint") == expected


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 1e-3}, {"steps": 4}])
def test_the_state_of_another_training_is_deleted(policy: ModelRef, tmp_path: Path, change: dict[str, Any]) -> None:
    state = tmp_path / "state"
    with pytest.raises(JudgeIsAwayError):
        train_grpo(ROWS, policy, SETTINGS, Judge(3), state_directory=state)
    judge = Judge()
    settings = SETTINGS.model_copy(update=change)
    train_grpo(ROWS, policy, settings, judge, state_directory=state)
    assert judge.calls == settings.steps


def test_the_last_complete_state_counts(tmp_path: Path) -> None:
    saved = SavedState(tmp_path / "state", "a1")
    assert saved.latest() is None
    for step in (9, 10, 11):
        (saved.directory / f"checkpoint-{step}").mkdir()
    for step in (9, 10):
        (saved.directory / f"checkpoint-{step}" / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    assert saved.latest() == str(saved.directory / "checkpoint-10")
    assert SavedState(saved.directory, "a1").latest() == saved.latest()
    assert SavedState(saved.directory, "b2").latest() is None


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("My only copy.")
    with pytest.raises(InputError, match="contains other files"):
        SavedState(tmp_path, "a1")
    assert (tmp_path / "thesis.txt").read_text() == "My only copy."
