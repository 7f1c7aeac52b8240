"""`rbr plan` with a grader behind a server: a server that is away, another model, and the calls of the canary."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbr_dagster.environment import Environment
from rbr_dagster.plan.plan import Plan, make_plan
from rbr_dagster.plan.plan_view import as_json, as_text
from resources.asset_testing import fill_table, save_snapshots
from resources.models import grader_in_use
from resources.sources import read_sources
from tests.rbr.grading.judge_server import JudgeServer, good_answer, listing
from tests.rbr_dagster.edited_pipeline import ROOT, write_inputs

AWAY = "models/grader  counts as unchanged, because the server is away"


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    server = JudgeServer(lambda request: good_answer(request.prompt), listing("a"))
    yield server
    server.kill()


@pytest.fixture
def environment(server: JudgeServer, tmp_path: Path) -> Environment:
    """The profile `tiny` with the grader behind the server. The state directory does not exist."""
    write_inputs(tmp_path)
    profile = tmp_path / "profiles" / "edited.yaml"
    grader = {"backend": "openai", "base_url": f"http://127.0.0.1:{server.port}/v1", "model_name": "grader"}
    profile.write_text(f"{profile.read_text(encoding='utf-8')}\ngrader: {json.dumps(grader)}\n")
    return Environment(tmp_path / "home", profile, tmp_path / "rulebook")


def store_snapshots(environment: Environment) -> None:
    environment.prepare()
    save_snapshots(environment.store, read_sources(environment.profile, environment.rulebook))


def n_graded(plan: Plan) -> int:
    """Returns the number of processes that use the grader: assets that make grades, and the training with the rules."""
    graded = {"labeled_prompts", "grader_agreement", "category_agreement", "grader_attacks", "proposition_grades"}
    return sum(
        (bool(asset.cells) and asset.name in graded | {"evaluation_grades"}) or asset.name == "rl_checkpoint/rbr"
        for asset in plan.assets
    )


@pytest.mark.parametrize("command", [("plan",), ("plan", "--json"), ("run", "--dry-run")], ids=" ".join)
def test_a_server_that_was_never_asked_and_is_away_ends_the_plan_with_status_1(
    command: tuple[str, ...], server: JudgeServer, environment: Environment
) -> None:
    server.kill()
    process = subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *command],
        cwd=ROOT,
        env={**os.environ, **environment.variables(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1 and process.stdout == ""
    assert "GET /models: no connection" in process.stderr and "Traceback" not in process.stderr
    assert not environment.home.exists()


def test_a_server_that_is_away_counts_as_unchanged_if_an_earlier_run_asked_it(
    server: JudgeServer, environment: Environment
) -> None:
    store_snapshots(environment)
    known = make_plan(environment)
    assert known.unchecked == [] and AWAY not in as_text(known)
    server.kill()
    plan = make_plan(environment)
    assert AWAY in as_text(plan) and json.loads(as_json(plan))["unchecked"] == ["models/grader"]
    assert plan.changes == [] and plan.cells_missing == known.cells_missing


def test_another_model_behind_the_name_is_told_in_words(server: JudgeServer, environment: Environment) -> None:
    store_snapshots(environment)
    server.models = listing("b")
    plan = make_plan(environment)
    assert [(change.part, *change.lines) for change in plan.changes] == [
        ("models/grader", 'the server reports another model: root: "/models/a" -> "/models/b"')
    ]


def test_the_canary_is_counted_once_per_process_and_twice_the_first_time(environment: Environment) -> None:
    store_snapshots(environment)
    first = make_plan(environment)
    assert first.estimate.canary_calls == 40 * (n_graded(first) + 1) > 80
    assert f"and {first.estimate.canary_calls} calls of the canary" in as_text(first)
    grader = grader_in_use(environment.store).version
    answer = {"grader": grader, "probe": "p", "p_yes": 0.5, "outcome": "answered", "asked_at": "now"}
    fill_table(environment.store, "canary_answers", [{**answer, "p_yes_again": 0.5, "outcome_again": "answered"}])
    assert make_plan(environment).estimate.canary_calls == first.estimate.canary_calls - 40
