"""The `rbr` command without a finished run: init, metrics, environment, plan and refused state directories."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES
from rbr.hashing import directory_digest
from rbr_dagster.environment import Environment
from rbr_dagster.plain_console import plain_console
from rbr_dagster.views.metrics_view import as_json, as_tables, current_metrics
from resources.state.state_format import STORE_FILE
from resources.store import Store
from resources.store.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]


def rbr(*arguments: str, cwd: Path = ROOT, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    state = {"RBR_HOME": str(home)} if home else {}
    return subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **state, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_init_copies_the_default_rulebook(tmp_path: Path) -> None:
    process = rbr("init", str(tmp_path / "mine"))
    assert process.returncode == 0, process.stderr
    assert directory_digest(tmp_path / "mine") == directory_digest(ROOT / "rulebook")
    assert f"rbr run --rulebook {tmp_path / 'mine'}" in process.stdout


def test_init_refuses_a_directory_with_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    process = rbr("init", str(tmp_path))
    assert process.returncode == 2
    assert process.stderr.startswith(f"{tmp_path}: already exists")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("place", ["file/new", "file/new/deep", "link", "x" * 300])
def test_a_directory_that_cannot_be_created_is_an_input_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    process = rbr("init", str(tmp_path / place))
    assert process.returncode == 2
    assert process.stderr.startswith(f"{tmp_path / place}: ")
    assert "Traceback" not in process.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import sys; from rbr_dagster.cli import app\n"
        "print(sorted({'dagster', 'torch', 'mlflow', 'duckdb', 'polars'} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def row(**values: object) -> dict[str, object]:
    nulls: dict[str, object] = dict.fromkeys(TABLES["evaluation_metrics"].dtypes)
    counts = {"n_prompts": 10, "n_completions": 10, "n_compared": 10, "n_without_class": 0, "n_refused": 0}
    return {**nulls, "checkpoint": "c", "rulebook": "r", **counts, **values}


@pytest.fixture
def evaluated(tmp_path: Path) -> Store:
    store = Store(path=str(tmp_path / STORE_FILE))
    interval = {"f1": 0.955, "f1_low": 0.9, "f1_high": 0.975}
    rows = [
        row(variant="rbr", split="far", judge="grader", **interval),
        row(variant="rbr", split="test", judge="oracle"),
        row(variant="human", split="test", judge="oracle", **interval),
    ]
    frame = pl.DataFrame(rows, schema=TABLES["evaluation_metrics"].dtypes)
    store.replace("evaluation_metrics", frame)
    evaluate_current_checkpoints(store)
    return store


def evaluate_current_checkpoints(store: Store, **others: str) -> None:
    """Makes the evaluated checkpoint the current one of each variant, or another one by variant."""
    checkpoints = [{"variant": name, "checkpoint": others.get(name, "c")} for name in ("rbr", "human", "helpful")]
    store.replace("current_checkpoints", pl.DataFrame(checkpoints))


def test_metrics_show_the_test_split_first(evaluated: Store) -> None:
    order = current_metrics(evaluated).select("split", "variant").rows()
    assert order == [("test", "human"), ("test", "rbr"), ("far", "rbr")]


def test_metrics_json_is_a_list_of_objects_with_every_metric(evaluated: Store) -> None:
    rows = json.loads(as_json(current_metrics(evaluated)))
    expected = {"variant", "judge", "split", *COUNT_NAMES}
    expected |= {name + end for name in METRIC_NAMES for end in ENDS}
    assert all(expected <= set(entry) for entry in rows)
    assert (rows[0]["f1"], rows[1]["f1"]) == (0.955, None)


def test_metrics_table_shows_percent_with_intervals_and_a_dash_for_null(evaluated: Store) -> None:
    console = plain_console(width=80, record=True, file=io.StringIO())
    console.print(as_tables(current_metrics(evaluated)))
    text = console.export_text()
    assert "…" not in text
    judged_by_oracle = text.partition("far (10)")[0]
    assert "95.5 (90.0-97.5)" in judged_by_oracle
    unknown = next(line for line in judged_by_oracle.splitlines() if line.startswith("rbr"))
    assert unknown.split() == ["rbr"] + ["-"] * 6


def test_metrics_of_an_earlier_checkpoint_are_marked_as_stale(evaluated: Store) -> None:
    evaluate_current_checkpoints(evaluated, human="trained later")
    metrics = current_metrics(evaluated)
    assert [(row["variant"], row["stale"]) for row in json.loads(as_json(metrics))] == [
        ("human", True), ("rbr", False), ("rbr", False),
    ]  # fmt: skip
    console = plain_console(width=80, record=True, file=io.StringIO())
    console.print(as_tables(metrics))
    text = console.export_text()
    assert "…" not in text and "\nhuman *" in text and "\nrbr *" not in text
    assert "* of an earlier checkpoint; `rbr run` evaluates the current one." in text


def test_metrics_of_the_current_checkpoints_are_not_marked(evaluated: Store) -> None:
    assert not current_metrics(evaluated)["stale"].any()


def test_a_run_without_the_evaluation_prints_no_metrics(tmp_path: Path, evaluated: Store) -> None:
    process = rbr("run", "--profile", "tiny", "--only", "rulebook/propositions", home=tmp_path)
    assert "1 asset made" in process.stdout, process.stderr
    assert "95.5" not in process.stdout
    assert "`--only rulebook/propositions`. `rbr metrics` shows the last one." in " ".join(process.stdout.split())


def test_metrics_table_counts_the_replies_without_a_class_and_shows_what_they_leave_open(tmp_path: Path) -> None:
    store = Store(path=str(tmp_path / STORE_FILE))
    ranges = {"not_unsafe_least": 0.25, "not_unsafe_most": 1.0, "f1_least": 0.4, "f1_most": 1.0}
    ranges |= {"hard_refusal_style_least": 0.1, "hard_refusal_style_most": 0.2}
    ranges |= {"illogical_least": 0.0, "illogical_most": 0.5}
    counts = {"n_completions": 12, "n_without_class": 9, "n_refused": 8, "n_compared": 10, "n_prompts": 12}
    rows = [row(variant="helpful", split="test", judge="grader", **ranges, **counts)]
    store.replace("evaluation_metrics", pl.DataFrame(rows, schema=TABLES["evaluation_metrics"].dtypes))
    evaluate_current_checkpoints(store)
    console = plain_console(width=120, record=True, file=io.StringIO())
    console.print(as_tables(current_metrics(store)))
    text = console.export_text()
    assert "Test prompts (10 of 12), judged by the grader" in text
    assert (
        "helpful: 9 of 12 replies have no class (8 refused by a content filter): "
        "Not-Unsafe between 25.0 and 100, F1 between 40.0 and 100, hard style between 10.0 and 20.0, "
        "illogical between 0.0 and 50.0" in " ".join(text.split())
    )


def test_metrics_of_a_split_with_brackets_in_its_name_keep_the_name(tmp_path: Path) -> None:
    store = Store(path=str(tmp_path / STORE_FILE))
    rows = [row(variant="rbr", split="[bold]", judge="[/INST]")]
    store.replace("evaluation_metrics", pl.DataFrame(rows, schema=TABLES["evaluation_metrics"].dtypes))
    console = plain_console(record=True, file=io.StringIO())
    console.print(as_tables(current_metrics(store)))
    assert "[bold] (10), judged by the [/INST]" in console.export_text()


def test_a_run_names_the_report_only_if_there_is_one(tmp_path: Path) -> None:
    run = ("run", "--profile", "tiny", "--only", "rulebook/behavior")
    first = rbr(*run, home=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "1 asset made" in first.stdout
    assert "Report" not in first.stdout
    report = tmp_path / "reports" / "safety_report.html"
    report.parent.mkdir(exist_ok=True)
    report.write_text("A report.", encoding="utf-8")
    assert f"Report   {report}\n" in rbr(*run, home=tmp_path).stdout


def test_profiles_of_the_clone_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RBR_HOME", "RBR_PROFILE", "RBR_RULEBOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    environment = Environment.from_variables("tiny")
    assert environment == Environment(Path("var"), ROOT / "profiles" / "tiny.yaml", ROOT / "rulebook")
    monkeypatch.setenv("RBR_PROFILE", str(tmp_path / "mine.yaml"))
    monkeypatch.setenv("RBR_HOME", str(tmp_path / "state"))
    assert Environment.from_variables().profile == tmp_path / "mine.yaml"
    assert Environment.from_variables().variables()["DAGSTER_HOME"] == str(tmp_path / "state" / "dagster")


def test_the_instance_sends_no_usage_reports_and_keeps_settings_of_the_user(tmp_path: Path) -> None:
    environment = Environment(tmp_path, tmp_path / "profile.yaml", tmp_path)
    environment.prepare()
    settings = tmp_path / "dagster" / "dagster.yaml"
    assert settings.read_text().startswith("telemetry:\n  enabled: false")
    settings.write_text("telemetry:\n  enabled: false\nretention: {}\n")
    environment.prepare()
    assert "retention" in settings.read_text()


def test_a_plan_before_the_first_run_lists_every_asset_and_writes_nothing(tmp_path: Path) -> None:
    process = rbr("plan", "--profile", "tiny", "--json", home=tmp_path / "home")
    assert process.returncode == 0, process.stderr
    plan = json.loads(process.stdout)
    assert {"changed", "stale", "downstream", "cells_missing", "estimate"} <= set(plan)
    assert "safety_report" in {entry["asset"] for entry in plan["stale"]}
    assert plan["cells_missing"]["grades"] > 0
    assert plan["cells_expected"]["completions"] > 0
    assert {entry["asset"] for entry in plan["trainings"]} == {
        "sft_checkpoint",
        *(f"rl_checkpoint/{variant}" for variant in ("rbr", "helpful", "human")),
    }
    assert plan["estimate"]["seconds"] is None
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("run", "--dry-run"),
        ("plan",),
        ("metrics",),
        ("diff", "rulebook"),
        ("explain", "--prompt", "Hello.", "--reply", "Hello."),
        ("ui",),
    ],
)
def test_a_state_directory_of_an_older_version_is_refused_and_not_changed(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / STORE_FILE).touch()
    process = rbr(*arguments, home=tmp_path)
    assert process.returncode == 2
    assert process.stderr.startswith(f"{tmp_path}: the state directory was written by an earlier version")
    assert [path.name for path in tmp_path.iterdir()] == [STORE_FILE]


def test_an_unknown_asset_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    process = rbr("run", "--profile", "tiny", "--only", "fitted_weight", home=tmp_path / "home")
    assert process.returncode == 2
    assert "Did you mean fitted_weights" in process.stderr
    assert not (tmp_path / "home").exists()
