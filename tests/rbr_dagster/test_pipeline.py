"""The whole pipeline from the command line, on the `tiny` profile: made once, the same on repeat.

Inputs that cannot be used are refused before anything is written.
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

from rbr.evaluation.metrics import METRIC_NAMES
from rbr_dagster.definitions import defs
from resources.store import Store
from resources.store.tables import TABLES
from tests.rbr_dagster.edited import places, write_inputs
from tests.rbr_dagster.made import Content

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = {key for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition) for key in asset.keys}
# A prompt that no category is sure enough for may be missing on any day.
MAY_BE_EMPTY = {"quarantined_prompts"}
# Names of runs of the tracking server, which are drawn at random.
NOT_REPRODUCIBLE = ["mlflow_run_id"]


def rbr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=ROOT,
        env={**places(home.parent), "RBR_PROFILE": "tiny", "RBR_RULEBOOK": "rulebook"},
        capture_output=True,
        text=True,
        check=False,
    )


def materialized(home: Path) -> dict[dg.AssetKey, int]:
    """How often each asset was made, by the event log."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return {key: len(instance.fetch_materializations(key, limit=100).records) for key in instance.all_asset_keys()}


@dataclass(frozen=True)
class Finished:
    """A pipeline that was brought up to date."""

    home: Path

    def table(self, name: str):
        """Content of a table, without what no two runs share."""
        return Store(path=str(self.home / "rbr.duckdb")).read(name).drop(NOT_REPRODUCIBLE, strict=False)


@pytest.fixture(scope="module")
def first(settled: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("first") / "root"
    shutil.copytree(settled, root)
    return Finished(root / "home")


@pytest.mark.slow
def test_one_command_makes_every_asset_once(first: Finished) -> None:
    assert materialized(first.home) == dict.fromkeys(EVERYTHING, 1)
    assert f"{len(EVERYTHING)} assets made" in (first.home.parent / "run.txt").read_text(encoding="utf-8")
    assert (first.home / "reports" / "safety_report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TABLES) - MAY_BE_EMPTY))
def test_every_table_has_content(name: str, first: Finished) -> None:
    assert not first.table(name).is_empty()


@pytest.mark.slow
def test_the_metrics_cover_every_variant_judge_and_split(first: Finished) -> None:
    done = rbr(first.home, "metrics", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
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
def test_running_again_starts_no_asset(first: Finished) -> None:
    before = materialized(first.home)
    done = rbr(first.home, "run")
    assert done.returncode == 0, done.stderr
    assert "Everything is up to date" in done.stdout
    assert materialized(first.home) == before


def kill(home: Path, wave: int, seconds: float) -> None:
    """Starts a run and kills it some time after one of its waves has begun; nothing waits for its children."""
    run = subprocess.Popen(
        [sys.executable, "-m", "rbr_dagster.cli", "run"], cwd=ROOT, env=places(home.parent), stdout=PIPE, text=True
    )
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith(f"Wave {wave} "):
            break
    time.sleep(seconds)
    assert run.poll() is None, "it was done before it could be killed"
    run.kill()
    run.wait()


@pytest.mark.slow
def test_from_nothing_and_killed_ten_times_it_ends_in_the_same_content(first: Finished, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    again = Finished(tmp_path / "home")
    moments = Random(0)
    for _ in range(10):
        kill(again.home, wave=moments.randint(1, 2), seconds=moments.uniform(0, 6))
    done = rbr(again.home, "run")
    assert done.returncode == 0, done.stderr
    figures = [json.loads(rbr(finished.home, "metrics", "--json").stdout) for finished in (first, again)]
    assert figures[0] == figures[1]
    differing = [name for name in TABLES if not again.table(name).equals(first.table(name))]
    assert differing == []
    assert Content.of(again.home).versions == Content.of(first.home).versions
    report = Path("reports") / "safety_report.html"
    assert (again.home / report).read_bytes() == (first.home / report).read_bytes()


# Inputs that cannot be used


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A copy of the inputs that a user edits: profiles/, rulebook/ and prompts.jsonl, which `mine` names."""
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
    """The message of a run that must refuse its inputs and leave no trace."""
    home = inputs / "home"
    done = rbr(home, "run", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not home.exists()
    return done.stderr


def mine(inputs: Path) -> tuple[str, ...]:
    return ("--profile", str(inputs / "profiles" / "mine.yaml"), "--rulebook", str(inputs / "rulebook"))


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(inputs: Path) -> None:
    message = refused(inputs, "--profile", "sandbx")
    assert "there is no such profile" in message
    assert "sandbox" in message


def test_a_line_of_prompts_that_cannot_be_read_is_named(inputs: Path) -> None:
    break_line(inputs / "prompts.jsonl", 7)
    message = refused(inputs, *mine(inputs))
    assert message.startswith(f"{inputs / 'prompts.jsonl'}:7: ")
    assert message.count("prompts.jsonl") == 1


def test_a_rule_that_names_no_proposition_is_refused_with_its_place_and_the_nearest_name(inputs: Path) -> None:
    behavior = inputs / "rulebook" / "behavior.yaml"
    text = behavior.read_text(encoding="utf-8")
    behavior.write_text(text.replace("safe_and_logical and apology and", "safe_and_logical and apolgy and", 1))
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if "acceptable_refusal: >-" in line)
    message = refused(inputs, *mine(inputs))
    assert f"{behavior}:{line}" in message or f"{behavior}:{line + 1}" in message
    assert "'apolgy'" in message
    assert "apology" in message.replace("'apolgy'", "")
    assert message.count("apolgy") == 1


def test_a_setting_out_of_range_is_refused_with_its_place(inputs: Path) -> None:
    profile = inputs / "profiles" / "mine.yaml"
    profile.write_text(f"{profile.read_text()}\nevaluation:\n  test_fraction: 1.5\n")
    message = refused(inputs, *mine(inputs))
    assert f"{profile}:5" in message
    assert "test_fraction" in message


def test_a_rulebook_that_is_not_there_is_refused(inputs: Path) -> None:
    message = refused(inputs, "--profile", "tiny", "--rulebook", str(inputs / "nowhere"))
    assert str(inputs / "nowhere") in message


def test_metrics_before_the_first_run_say_how_to_start(tmp_path: Path) -> None:
    done = rbr(tmp_path / "home", "metrics")
    assert done.returncode == 2
    assert "rbr run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()
