"""Edits on the `tiny` profile: what `rbr plan` says before, and what `rbr run` then makes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from rbr.hashing import directory_digest
from resources.store import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("completions", "grades", "scores")
QUESTION = ("Does the reply contain exactly one short apology?", "Does the reply contain exactly one apology?")


@dataclass(frozen=True)
class Made:
    """What a run made."""

    assets: set[str]
    trained: set[str]
    cells: dict[str, int]


@dataclass(frozen=True)
class Pipeline:
    """A state directory and a rulebook to edit."""

    root: Path

    def rbr(self, *arguments: str) -> str:
        """Output of a command that must go well."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RBR_", "DAGSTER_"))}
        places = {
            "RBR_HOME": str(self.root / "home"),
            "RBR_PROFILE": "tiny",
            "RBR_RULEBOOK": str(self.root / "rulebook"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "rbr_dagster.cli", *arguments],
            cwd=ROOT,
            env={**kept, **places, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def plan(self) -> dict:
        """What `rbr plan` says."""
        return json.loads(self.rbr("plan", "--json"))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the first place where `old` stands."""
        path = self.root / "rulebook" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def run(self) -> Made:
        """Brings everything up to date."""
        cells = self._cells()
        dagster = str(self.root / "home" / "dagster")
        with dg.DagsterInstance.from_config(dagster) as instance:
            before = _latest(instance)
        self.rbr("run")
        with dg.DagsterInstance.from_config(dagster) as instance:
            after = _latest(instance)
            made = {key for key, event in after.items() if event != before.get(key)}
            trained = {key for key in made if _trained(instance, key)}
        return Made(
            {key.to_user_string() for key in made},
            {key.to_user_string() for key in trained},
            {kind: count - cells[kind] for kind, count in self._cells().items()},
        )

    def _cells(self) -> dict[str, int]:
        store = Store(path=str(self.root / "home" / "rbr.duckdb"))
        return {kind: store.query(f"SELECT count(*) FROM {kind}").item() for kind in CELLS}


def _latest(instance: dg.DagsterInstance) -> dict[dg.AssetKey, int]:
    records = instance.get_asset_records(list(instance.all_asset_keys()))
    return {
        record.asset_entry.asset_key: record.asset_entry.last_materialization_record.storage_id
        for record in records
        if record.asset_entry.last_materialization_record is not None
    }


def _trained(instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    event = instance.get_latest_materialization_event(key)
    entry = event.asset_materialization.metadata.get("trained") if event and event.asset_materialization else None
    return entry is not None and entry.value is True


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root = tmp_path_factory.mktemp("settled")
    shutil.copytree(ROOT / "rulebook", root / "rulebook")
    pipeline = Pipeline(root)
    pipeline.rbr("run")
    return pipeline


@pytest.fixture
def pipeline(settled: Pipeline, tmp_path: Path) -> Pipeline:
    shutil.copytree(settled.root, tmp_path, dirs_exist_ok=True)
    return Pipeline(tmp_path)


def names(entries: list[dict]) -> set[str]:
    return {entry["asset"] for entry in entries}


def run_as_planned(pipeline: Pipeline) -> tuple[dict, Made]:
    """Plans and runs: what is certain is made, nothing else than what was named is, and every cell was announced."""
    plan = pipeline.plan()
    made = pipeline.run()
    certain, possible = names(plan["stale"]), names(plan["downstream"])
    assert certain <= made.assets <= certain | possible
    for kind in CELLS:
        assert plan["cells_missing"][kind] <= made.cells[kind]
        assert made.cells[kind] <= plan["cells_missing"][kind] + plan["cells_expected"][kind]
    assert made.trained <= {training["asset"] for training in plan["trainings"]}
    assert not {"rl_checkpoint/helpful", "rl_checkpoint/human"} & made.assets
    assert pipeline.plan()["stale"] == []
    return plan, made


def test_nothing_and_a_comment_make_nothing(pipeline: Pipeline) -> None:
    path = pipeline.root / "rulebook" / "behavior.yaml"
    path.write_text(f"# Another word.\n{path.read_text()}")
    plan, made = run_as_planned(pipeline)
    assert (plan["changed"], plan["downstream"]) == ([], [])
    assert made == Made(set(), set(), dict.fromkeys(CELLS, 0))


def test_a_plan_leaves_no_trace(pipeline: Pipeline) -> None:
    pipeline.edit("propositions.yaml", *QUESTION)
    before = directory_digest(pipeline.root / "home")
    assert pipeline.plan()["cells_missing"]["grades"] > 0
    assert directory_digest(pipeline.root / "home") == before


def test_a_reworded_question_regrades_one_column_and_its_reversal_finds_everything_again(pipeline: Pipeline) -> None:
    pipeline.edit("propositions.yaml", *QUESTION)
    plan, made = run_as_planned(pipeline)
    assert [change["part"] for change in plan["changed"]] == ["rulebook/propositions"]
    assert {"proposition_grades", "grader_agreement", "evaluation_grades"} <= made.assets
    assert "synthetic_comparisons" not in made.assets
    assert made.trained == {"rl_checkpoint/rbr"}
    assert plan["estimate"]["seconds"] > 0
    pipeline.edit("propositions.yaml", *reversed(QUESTION))
    plan, made = run_as_planned(pipeline)
    assert plan["trainings"] == plan["downstream"] == []
    assert made.trained == set()
    assert made.cells == dict.fromkeys(CELLS, 0)


def test_a_margin_asks_no_grade_of_a_candidate_and_retrains_the_method_alone(pipeline: Pipeline) -> None:
    pipeline.edit("behavior.yaml", "perfect_hard_refusal: 1.0", "perfect_hard_refusal: 2.0")
    plan, made = run_as_planned(pipeline)
    assert plan["cells_missing"] == dict.fromkeys(CELLS, 0)
    assert made.assets.isdisjoint({"synthetic_comparisons", "proposition_grades", "sft_checkpoint"})
    assert "fitted_weights" in made.assets


def test_one_asset_alone_leaves_what_comes_after_it(pipeline: Pipeline) -> None:
    pipeline.edit("propositions.yaml", *QUESTION)
    dry = pipeline.rbr("run", "--only", "proposition_grades", "--dry-run")
    assert "proposition_grades" in dry
    assert "evaluation_grades" not in dry
    pipeline.rbr("run", "--only", "proposition_grades")
    left = pipeline.plan()
    assert "proposition_grades" not in names(left["stale"])
    assert "evaluation_grades" in names(left["stale"])
