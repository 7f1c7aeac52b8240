"""The trainer process with a judge behind a real HTTP server that goes away: it waits, stops, and goes on."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rbr.grading.canary_probes import CONVERSATIONS, QUESTIONS
from rbr.grading.identity import identify_grader
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import GraderSettings, ModelRef
from rbr.reward import RewardArtifact
from resources.trainer_process.job import GrpoJob, RewardSource
from tests.rbr.grading.judge_server import JudgeServer, good_answer
from tests.resources.test_reinforcement import PROMPTS, RL, artifact, weights
from tests.tiny_models import save_policy, save_reward_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STEP = RL.prompts_per_step * RL.num_generations
CANARY = 2 * len(CONVERSATIONS) * len(QUESTIONS)  # requests before the first step
"""Number of replies of a step, each with one question."""


def grpo_job(directory: Path, settings: GraderSettings, policy: ModelRef, reward_model: ModelRef) -> GrpoJob:
    directory.mkdir(exist_ok=True)
    rows = {"prompt": [[{"role": "user", "content": text}] for text in PROMPTS], "category": ["None"] * len(PROMPTS)}
    pl.DataFrame(rows).write_parquet(directory / "prompts.parquet")
    reward: RewardArtifact = artifact(identify_grader(None, settings), model_fingerprint(reward_model))
    reward.save(directory / "reward")
    return GrpoJob(
        name="rl_checkpoint/rbr",
        model=policy,
        data=str(directory / "prompts.parquet"),
        output=str(directory / "checkpoint"),
        progress=str(directory / "progress.json"),
        settings=RL,
        reward=RewardSource(reward_model=reward_model, artifact=str(directory / "reward"), grader_settings=settings),
        saved_state=str(directory / "saved_state"),
    )


def start(job: GrpoJob, directory: Path) -> subprocess.Popen[str]:
    (directory / "job.json").write_text(job.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "resources.trainer_process", str(directory / "job.json"), str(os.getpid())],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def when(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    """Acts in another thread as soon as the condition is true."""

    def watch() -> None:
        while not condition():
            time.sleep(0.002)
        act()

    threading.Thread(target=watch, daemon=True).start()


def note(directory: Path) -> str:
    """Returns the note of the progress file."""
    try:
        return json.loads((directory / "progress.json").read_text())["note"]
    except FileNotFoundError:
        return ""


def test_a_judge_that_goes_away_costs_waiting_and_if_it_stays_away_the_training_goes_on_at_the_next_start(
    tmp_path: Path,
) -> None:
    policy, reward_model = save_policy(tmp_path / "policy"), save_reward_model(tmp_path / "reward_model")
    server = JudgeServer(lambda request: good_answer(request.prompt))
    in_second_step = CANARY + STEP + 2

    # 1. The server comes back while the training waits.
    waits = grpo_job(tmp_path / "waits", server.settings(wait_s=120.0), policy, reward_model)
    notes: list[str] = []

    def come_back() -> None:
        server.kill()
        while not note(tmp_path / "waits"):
            time.sleep(0.05)
        notes.append(note(tmp_path / "waits"))
        server.start_again()

    when(lambda: len(server.asked) >= in_second_step, come_back)
    process = start(waits, tmp_path / "waits")
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "has not answered for" in notes[0]
    assert note(tmp_path / "waits") == ""

    # 2. The server stays away for longer than the training waits.
    server.requests.clear()
    stops = grpo_job(tmp_path / "stops", server.settings(wait_s=1.0), policy, reward_model)
    when(lambda: len(server.asked) >= in_second_step, server.kill)
    process = start(stops, tmp_path / "stops")
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 2, errors
    assert "Raise grader.wait_s" in errors
    assert "The next `rbr run` goes on from the last saved state." in errors
    assert not Path(stops.output).exists()

    # 3. The next start goes on after the first step, and ends with the same weights.
    server.start_again()
    server.requests.clear()
    process = start(stops, tmp_path / "stops")
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert f"The training goes on at step 1 of {RL.steps}." in output
    assert weights(stops.output) == weights(waits.output)
    assert not Path(stops.saved_state or "").exists()
    server.kill()
