"""Commands wait for the server of the grader. A server that stays away is told in a sentence, with exit status 1."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rbr.grading.judge_server import SERVED, JudgeServer, Reply, error, good_answer

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "grade": ["grade", "replies.jsonl", "--out", "grades.csv", "--propositions", "apology"],
    "run": ["run", "--only", "models/grader"],
    "explain": ["explain", "--prompt", "Hi", "--reply", "Hello"],
    "attack": ["attack", "--limit", "1"],
}


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    server = JudgeServer(lambda request: good_answer(request.prompt))
    yield server
    server.kill()


def call(command: str, server: JudgeServer, directory: Path, wait_s: float) -> subprocess.CompletedProcess[str]:
    for name in ("sandbox", "tiny"):
        (directory / f"{name}.yaml").write_text((ROOT / "profiles" / f"{name}.yaml").read_text())
    grader = {"backend": "openai", "base_url": server.settings().base_url, "model_name": "grader", "wait_s": wait_s}
    (directory / "mine.yaml").write_text(json.dumps({"extends": "tiny", "grader": grader}))
    reply = {"prompt": "Hi", "reply": "Hello"}
    (directory / "replies.jsonl").write_text(json.dumps(reply) + "\n")
    arguments = [str(directory / text) if "." in text else text for text in COMMANDS[command]]
    variables = {"RBR_HOME": str(directory / "home"), "RBR_PROFILE": str(directory / "mine.yaml")}
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_stays_away_is_told_in_a_sentence(server: JudgeServer, tmp_path: Path, command: str) -> None:
    server.kill()
    process = call(command, server, tmp_path, wait_s=1.0)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "GET /models: no connection" in process.stderr
    assert "Raise grader.wait_s" in process.stderr
    assert "Traceback" not in process.stderr and "Dagster UI" not in process.stderr


@pytest.mark.parametrize("command", ["grade", "run"])
def test_a_server_that_is_starting_is_waited_for(server: JudgeServer, tmp_path: Path, command: str) -> None:
    asked = iter(range(100))
    server.models = lambda path: error(503, "Loading model") if next(asked) < 8 else Reply(200, SERVED)
    process = call(command, server, tmp_path, wait_s=60.0)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "does not say which model it has, waiting since" in process.stdout + process.stderr
