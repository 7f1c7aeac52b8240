"""The whole pipeline from the command line, on the `tiny` profile.

A second run with the same inputs gives equal results. Broken inputs are refused before anything is written.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from subprocess import PIPE

import dagster as dg
import pytest

from rbr.evaluation.estimates import METRIC_NAMES
from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.run.staleness import AssetGraph
from resources.state.state_format import STORE_FILE
from resources.store import Store
from resources.store.tables import TABLES
from tests.rbr_dagster.edited_pipeline import pipeline_variables, write_inputs
from tests.rbr_dagster.state_content import StateContent

ROOT = Path(__file__).resolve().parents[2]
ASSETS = set(AssetGraph.from_definitions(build_definitions(Environment.from_variables())).specs)
# Empty if the grader finds a category for every prompt.
# Only a grader behind a server has a canary.
MAY_BE_EMPTY = {"canary_answers", "quarantined_prompts", "wrongly_ordered_pairs"}
# MLflow draws the ids of its runs at random.
NOT_REPRODUCIBLE = ["mlflow_run_id"]


def rbr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=ROOT,
        env={**pipeline_variables(home.parent), "RBR_PROFILE": "tiny", "RBR_RULEBOOK": "rulebook"},
        capture_output=True,
        text=True,
        check=False,
    )


def materialized(home: Path) -> dict[dg.AssetKey, int]:
    """Returns how often each asset was materialized, by the event log."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return {key: len(instance.fetch_materializations(key, limit=100).records) for key in instance.all_asset_keys()}


@dataclass(frozen=True)
class FinishedRun:
    """The state directory of a pipeline that is up to date."""

    home: Path

    def table(self, name: str):
        """Returns a table without the columns that differ between two equal runs."""
        return Store(path=str(self.home / STORE_FILE)).read(name).drop(NOT_REPRODUCIBLE, strict=False)


@pytest.fixture(scope="module")
def first(up_to_date: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    root = tmp_path_factory.mktemp("first") / "root"
    shutil.copytree(up_to_date, root)
    return FinishedRun(root / "home")


@pytest.mark.slow
def test_one_command_makes_every_asset_once(first: FinishedRun) -> None:
    assert materialized(first.home) == dict.fromkeys(ASSETS, 1)
    assert f"{len(ASSETS)} assets made" in (first.home.parent / "run.txt").read_text(encoding="utf-8")
    assert (first.home / "reports" / "safety_report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TABLES) - MAY_BE_EMPTY))
def test_every_table_has_content(name: str, first: FinishedRun) -> None:
    assert not first.table(name).is_empty()


@pytest.mark.slow
def test_the_metrics_cover_every_variant_judge_and_split(first: FinishedRun) -> None:
    process = rbr(first.home, "metrics", "--json")
    assert process.returncode == 0, process.stderr
    rows = json.loads(process.stdout)
    assert {(row["variant"], row["judge"], row["split"]) for row in rows} == {
        (variant, judge, split)
        for variant in ("rbr", "helpful", "human")
        for judge in ("grader", "oracle")
        for split in ("test", "unseen_topics")
    }
    assert len(rows) == 12
    for row in rows:
        assert row["n_prompts"] > 0
        for name in METRIC_NAMES:
            value, low, high = (row[name + end] for end in ("", "_low", "_high"))
            assert (value is None) == (low is None) == (high is None)
            assert value is None or 0.0 <= low <= value <= high <= 1.0
        assert row["not_unsafe"] is not None


@pytest.mark.slow
def test_running_again_starts_no_asset(first: FinishedRun) -> None:
    before = materialized(first.home)
    process = rbr(first.home, "run")
    assert process.returncode == 0, process.stderr
    assert "Everything is up to date" in process.stdout
    assert materialized(first.home) == before


def kill(home: Path, wave: int, seconds: float) -> None:
    """Starts a run and kills it some seconds after the start of a wave. Does not wait for the run's child processes."""
    run = subprocess.Popen(
        [sys.executable, "-m", "rbr_dagster.cli", "run"],
        cwd=ROOT,
        env=pipeline_variables(home.parent),
        stdout=PIPE,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith(f"Wave {wave} "):
            break
    time.sleep(seconds)
    assert run.poll() is None, "the run ended before it could be killed"
    run.kill()
    run.wait()


@pytest.mark.slow
def test_a_run_that_was_killed_ten_times_ends_with_the_same_content(first: FinishedRun, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    again = FinishedRun(tmp_path / "home")
    moments = Random(0)
    for _ in range(10):
        kill(again.home, wave=moments.randint(1, 2), seconds=moments.uniform(0, 6))
    process = rbr(again.home, "run")
    assert process.returncode == 0, process.stderr
    metrics = [json.loads(rbr(run.home, "metrics", "--json").stdout) for run in (first, again)]
    assert metrics[0] == metrics[1]
    differing = [name for name in TABLES if not again.table(name).equals(first.table(name))]
    assert differing == []
    assert StateContent.of(again.home).versions == StateContent.of(first.home).versions
    report = Path("reports") / "safety_report.html"
    assert (again.home / report).read_bytes() == (first.home / report).read_bytes()


# Broken inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A directory with copies of profiles/, rulebook/ and prompts.jsonl. The profile `mine` names these prompts."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copytree(ROOT / "rulebook", tmp_path / "rulebook")
    data = ROOT / "rbr_sandbox" / "data" / "tiny_prompts.jsonl"
    shutil.copy(data, tmp_path / "prompts.jsonl")
    (tmp_path / "profiles" / "mine.yaml").write_text(f"extends: tiny\nprompts: {tmp_path / 'prompts.jsonl'}\n")
    return tmp_path


def break_line(path: Path, number: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = lines[number - 1][:-1]
    path.write_text("\n".join(lines), encoding="utf-8")


def refused(inputs: Path, *arguments: str) -> str:
    """Runs `rbr run`, checks that it refuses its inputs and writes nothing, and returns its message."""
    home = inputs / "home"
    process = rbr(home, "run", *arguments)
    assert process.returncode == 2, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout == ""
    assert not home.exists()
    return process.stderr


def mine(inputs: Path) -> tuple[str, ...]:
    return ("--profile", str(inputs / "profiles" / "mine.yaml"), "--rulebook", str(inputs / "rulebook"))


def test_an_unknown_profile_is_refused_with_a_list_of_profiles(inputs: Path) -> None:
    message = refused(inputs, "--profile", "sandbx")
    assert "the profile does not exist" in message
    assert "sandbox" in message


def test_an_unreadable_line_of_prompts_is_reported_with_its_number(inputs: Path) -> None:
    break_line(inputs / "prompts.jsonl", 7)
    message = refused(inputs, *mine(inputs))
    assert message.startswith(f"{inputs / 'prompts.jsonl'}:7:")
    assert message.count("prompts.jsonl") == 1


def test_an_unknown_proposition_in_a_rule_is_reported_with_its_location_and_the_nearest_name(inputs: Path) -> None:
    behavior = inputs / "rulebook" / "behavior.yaml"
    text = behavior.read_text(encoding="utf-8")
    behavior.write_text(text.replace("safe_and_logical and apology and", "safe_and_logical and apolgy and", 1))
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if "acceptable_refusal: >-" in line)
    message = refused(inputs, *mine(inputs))
    assert f"{behavior}:{line}" in message or f"{behavior}:{line + 1}" in message
    assert "'apolgy'" in message
    assert "apology" in message.replace("'apolgy'", "")
    assert message.count("apolgy") == 1


def test_a_setting_out_of_range_is_reported_with_its_location(inputs: Path) -> None:
    profile = inputs / "profiles" / "mine.yaml"
    profile.write_text(f"{profile.read_text()}\nevaluation:\n  test_fraction: 1.5\n")
    message = refused(inputs, *mine(inputs))
    assert f"{profile}:5" in message
    assert "test_fraction" in message


def test_a_missing_rulebook_is_reported(inputs: Path) -> None:
    message = refused(inputs, "--profile", "tiny", "--rulebook", str(inputs / "nowhere"))
    assert str(inputs / "nowhere") in message


def test_metrics_before_the_first_run_suggest_rbr_run(tmp_path: Path) -> None:
    process = rbr(tmp_path / "home", "metrics")
    assert process.returncode == 2
    assert "rbr run" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "home").exists()
