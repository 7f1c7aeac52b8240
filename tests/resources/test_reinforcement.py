"""Reinforcement learning with a judge that is away, refuses or cannot be read: what is kept, said and refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Answer, Answers, OnProgress, Outcome, Question
from rbr.grading.identity import identify_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef
from rbr.reward import RewardArtifact
from resources.trainer_process.job import GrpoJob, RewardSource
from resources.trainer_process.reinforcement import reinforce
from tests.rbr.grading.grader_settings import grader_settings
from tests.rl_settings import rl_settings
from tests.tiny_models import save_policy, save_reward_model

pytestmark = pytest.mark.slow

STEPS = 4
PROMPTS = ["How do I boil an egg?", "I feel low today.", "Tell me a story.", "Hi"]
RL = rl_settings(steps=STEPS, max_unscored=0.5, save_steps=1)


class Judge:
    """A grader whose grades depend on the length of the reply, or that gives one outcome in some of its calls.

    Args:
        outcome: What it gives instead of grades.
        calls: The calls, from 0, in which it does so.
        note: What it says it waits for.
    """

    def __init__(self, outcome: Outcome | None = None, calls: Sequence[int] = (), note: str = "") -> None:
        self.outcome = outcome
        self.calls = calls
        self.note = note
        self.n_calls = 0

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        is_off, self.n_calls = self.n_calls in self.calls, self.n_calls + 1
        if on_progress and self.note:
            on_progress(0, self.note)
        answers = Answers.none(len(conversations), len(questions))
        for row, messages in enumerate(conversations):
            p_yes = len(messages[-1]["content"]) % 7 / 7
            answer = Answer(self.outcome, reason="it says") if is_off and self.outcome else None
            for column in range(len(questions)):
                answers[row, column] = answer or Answer(Outcome.ANSWERED, p_yes)
        return answers


def artifact(grader: str, reward_model: str) -> RewardArtifact:
    """Returns a reward for rude replies, fitted with the models of these identities."""
    return RewardArtifact.model_validate(
        {
            "propositions": {"polite": {"question": "Is the reply polite?"}},
            "rules": {
                "comply": {
                    "classes": ["good", "bad"],
                    "rule_propositions": ["polite"],
                    "tests": [[0, 1, 2]],
                    "root": 0,
                    "feature_propositions": [],
                    "thresholds": {},
                    "weights": [-2.0, 2.0],
                }
            },
            "response_types": {"None": "comply"},
            "few_shot": 0,
            "grader": grader,
            "reward_model": reward_model,
        }
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelRef, ModelRef]:
    return save_policy(tmp_path_factory.mktemp("policy")), save_reward_model(tmp_path_factory.mktemp("reward_model"))


@pytest.fixture
def job(models: tuple[ModelRef, ModelRef], tmp_path: Path) -> GrpoJob:
    policy, reward_model = models
    settings = grader_settings()
    artifact(identify_grader(policy, settings), model_fingerprint(reward_model)).save(tmp_path / "reward")
    return GrpoJob(
        name="rl_checkpoint/rbr",
        model=policy,
        data="",
        output=str(tmp_path / "checkpoint"),
        settings=RL,
        reward=RewardSource(
            reward_model=reward_model, artifact=str(tmp_path / "reward"), grader=policy, grader_settings=settings
        ),
        saved_state=str(tmp_path / "saved_state"),
    )


class Training:
    """Runs a job with a judge, and records what it reports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.reports: list[tuple[int, str]] = []
        self.messages: list[str] = []

    def run(self, job: GrpoJob, judge: Judge, **settings: Any) -> pl.DataFrame:
        """Trains and saves the checkpoint; returns the training metrics."""
        self._monkeypatch.setattr("rbr.reward.trl.open_grader", lambda *_: judge)
        rows = pl.DataFrame({"prompt": [[{"role": "user", "content": text}] for text in PROMPTS], "category": "None"})
        changed = job.model_copy(update={"settings": job.settings.model_copy(update=settings)})
        policy = reinforce(changed, rows, self._report, self.messages.append)
        policy.save(job.output)
        return policy.metrics

    def _report(self, done: int, note: str = "") -> None:
        self.reports.append((done, note))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(monkeypatch)


def weights(checkpoint: str) -> bytes:
    return (Path(checkpoint) / "model.safetensors").read_bytes()


def test_a_training_that_the_judge_has_stopped_goes_on_from_the_last_state_to_the_same_weights(
    job: GrpoJob, training: Training, tmp_path: Path
) -> None:
    whole = training.run(job.model_copy(update={"output": str(tmp_path / "whole"), "saved_state": None}), Judge())
    with pytest.raises(InputError, match="the grader gave no answer about 8 of 8 replies: it says") as caught:
        training.run(job, Judge(Outcome.NOT_ANSWERED, calls=[2]))
    assert caught.value.hint.endswith("The next `rbr run` goes on from the last saved state.")
    assert not Path(job.output).exists()
    training.reports.clear()
    judge = Judge()
    metrics = training.run(job, judge)
    assert judge.n_calls == 2  # Only the steps that were left.
    assert f"The training goes on at step 2 of {STEPS}." in training.messages
    assert (2, f"goes on at step 2 of {STEPS}") in training.reports
    assert weights(job.output) == weights(str(tmp_path / "whole"))
    assert metrics.equals(whole)
    assert not Path(job.saved_state or "").exists()


def test_a_note_of_the_judge_is_reported_with_the_step_and_taken_back(job: GrpoJob, training: Training) -> None:
    away = "the server has not answered for 40 s"
    training.run(job, Judge(note=away))
    assert [report for report in training.reports if report[1]] == [(step, away) for step in range(STEPS)]
    assert training.reports[-1] == (STEPS, "")


@pytest.mark.parametrize(
    ("outcome", "settings", "cause"),
    [
        (Outcome.UNREADABLE, {}, "had an unreadable answer"),
        (Outcome.REFUSED, {"on_refusal": "mask"}, "were refused by the grader's content filter"),
    ],
)
def test_too_many_replies_without_a_reward_fail_the_training_with_the_share_and_the_causes(
    outcome: Outcome, settings: dict[str, Any], cause: str, job: GrpoJob, training: Training
) -> None:
    source = job.reward.model_copy(update=settings)
    with pytest.raises(InputError) as caught:
        training.run(job.model_copy(update={"reward": source}), Judge(outcome, calls=[0, 1, 2]))
    (problem,) = caught.value.problems
    assert problem.where == "rl.max_unscored"
    assert "100.0% of the replies of the first 3 steps have no reward" in problem.what
    assert problem.what.endswith(f"24 {cause} (the first: it says)")
    assert not Path(job.output).exists()


def test_refused_replies_get_a_reward_by_default(job: GrpoJob, training: Training) -> None:
    metrics = training.run(job, Judge(Outcome.REFUSED, calls=range(STEPS)))
    by_name = {name: rows["value"].to_list() for (name,), rows in metrics.group_by("metric")}
    assert by_name["unscored"] == [0.0] * STEPS
    assert by_name["refused"] == [1.0] * STEPS
    assert by_name["r_rbr"] == [-2.0] * STEPS


def test_a_training_without_any_reward_is_no_success_and_starts_again(job: GrpoJob, training: Training) -> None:
    with pytest.raises(InputError, match="no reply got a reward, so the policy has learned nothing: 32 had an unread"):
        training.run(job, Judge(Outcome.UNREADABLE, calls=range(STEPS)), max_unscored=1.0)
    assert not Path(job.output).exists()
    judge = Judge()
    training.run(job, judge, max_unscored=1.0)
    assert judge.n_calls == STEPS
    assert Path(job.output).exists()
