"""A pipeline that is up to date on the `tiny` profile, to edit and to bring up to date again.

The driver is a process of its own that stays between edits: what it imports, and the server that steps are forked
from, are paid once.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.cells import grader_version
from assets.inputs import proposition_questions, read_model, read_snapshot
from rbr.grading import Question, question_hash
from rbr.hashing import content_hash
from rbr.profile import GraderSettings
from rbr.rulebook import ContentPolicy
from rbr_dagster.staleness import DATA_VERSION
from resources.store import Store
from resources.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("completions", "grades", "scores")
UP_TO_DATE = "Everything is up to date."
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# The driver keeps its connections to MLflow's file open; a run of MLflow is never read to make anything.
_OF_DRIVER = {"mlflow.db", "mlflow.lock", "mlartifacts"}


@dataclass(frozen=True)
class Made:
    """What a run made.

    Attributes:
        assets: Names, sorted.
        trained: Those of them whose trainer ran.
        cells: Number of completions, grades and scores.
    """

    assets: list[str]
    trained: list[str]
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Content:
    """What a state directory holds.

    Attributes:
        versions: Data version of each asset.
        events: Latest materialisation of each asset, and whether a trainer ran for it.
        cells: Names of the completions, grades and scores that are stored.
    """

    versions: Mapping[str, str]
    events: Mapping[str, tuple[int, bool]]
    cells: Mapping[str, frozenset[tuple[str, ...]]]

    @classmethod
    def of(cls, home: Path) -> "Content":
        """Content of a state directory."""
        versions, events = {}, {}
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            for record in instance.get_asset_records(list(instance.all_asset_keys())):
                event = record.asset_entry.last_materialization_record
                made = event.asset_materialization if event else None
                if event is None or made is None:
                    continue
                name = record.asset_entry.asset_key.to_user_string()
                trained = made.metadata.get("trained")
                versions[name] = (made.tags or {})[DATA_VERSION]
                events[name] = event.storage_id, trained is not None and trained.value is True
        store = Store(path=str(home / "rbr.duckdb"))
        cells = {kind: frozenset(store.read(kind).select(TABLES[kind].key).iter_rows()) for kind in CELLS}
        return cls(versions, events, cells)

    def unneeded(self, before: "Content", home: Path) -> set[tuple[str, ...]]:
        """Cells that are newer than `before` and that no table of `home` refers to."""
        needed = _needed(Store(path=str(home / "rbr.duckdb")))
        return {cell for kind in CELLS for cell in self.cells[kind] - before.cells[kind] - needed[kind]}

    def since(self, before: "Content") -> Made:
        """What was made after `before`."""
        made = sorted(name for name, event in self.events.items() if event != before.events.get(name))
        return Made(
            assets=made,
            trained=[name for name in made if self.events[name][1]],
            cells={kind: len(names - before.cells[kind]) for kind, names in self.cells.items()},
        )


@dataclass(frozen=True)
class Pipeline:
    """A state directory with a profile, a rulebook and data files of its own.

    Attributes:
        root: Holds them: home/, profiles/edited.yaml, rulebook/, prompts.jsonl, gold_labels.jsonl.
        driver: Where runs, plans and ticks happen.
    """

    root: Path
    driver: ProcessPoolExecutor

    @property
    def home(self) -> Path:
        """The state directory."""
        return self.root / "home"

    def restore(self, settled: Path, keep: Collection[str] = ()) -> None:
        """Makes everything what it is in another root, but for what is named of the state directory."""
        self.root.mkdir(exist_ok=True)
        for part in self.root.iterdir():
            if part.name != "home":
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        write_inputs(self.root)
        self.home.mkdir(exist_ok=True)
        for part in self.home.iterdir():
            if part.name not in {*_OF_DRIVER, *keep}:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        for part in (settled / "home").iterdir():
            copy = self.home / part.name
            if not copy.exists():
                shutil.copytree(part, copy) if part.is_dir() else shutil.copy(part, copy)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the first place where `old` stands."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def set(self, section: str, **values: Any) -> None:
        """Sets values of a section of the profile."""
        lines = [f"  {name}: {json.dumps(value)}" for name, value in values.items()]
        profile = self.root / "profiles" / "edited.yaml"
        profile.write_text("\n".join([profile.read_text(encoding="utf-8"), f"{section}:", *lines, ""]))

    def plan(self) -> dict[str, Any]:
        """What `rbr plan --json` says."""
        return self.driver.submit(_plan).result()

    def run(self) -> Made:
        """Brings everything up to date as `rbr run` does; before each wave the sensor has to ask for the same one."""
        return self._made(lambda: self.driver.submit(_run).result())

    def sync(self) -> Made:
        """Brings everything up to date as the sensor does, tick by tick."""
        return self._made(lambda: self.driver.submit(_sync).result())

    def look(self) -> str | None:
        """Why the sensor asks for nothing; None where it asks for something."""
        return self.driver.submit(_look).result()

    def materialise(self, *assets: str) -> None:
        """Makes assets as the button of the UI does."""
        self.driver.submit(_materialise, assets).result()

    def _made(self, work: Callable[[], None]) -> Made:
        before = Content.of(self.home)
        work()
        after = Content.of(self.home)
        assert after.unneeded(before, self.home) == set()
        return after.since(before)


def write_inputs(root: Path) -> None:
    """Copies what a user edits: rulebook, profiles and the data files of `tiny`."""
    for directory in ("rulebook", "profiles"):
        shutil.copytree(ROOT / directory, root / directory)
    data = {name: root / f"{name}.jsonl" for name in ("prompts", "gold_labels")}
    for name, path in data.items():
        shutil.copy(ROOT / "rbr" / "sandbox" / "data" / f"tiny_{name}.jsonl", path)
    lines = ["extends: tiny", *(f"{name}: {path}" for name, path in data.items()), ""]
    (root / "profiles" / "edited.yaml").write_text("\n".join(lines), encoding="utf-8")


def places(root: Path) -> dict[str, str]:
    """Environment variables of a process that works on the pipeline below a root, and on no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RBR_", "DAGSTER_"))}
    return {
        **kept,
        "RBR_HOME": str(root / "home"),
        "RBR_PROFILE": str(root / "profiles" / "edited.yaml"),
        "RBR_RULEBOOK": str(root / "rulebook"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def rbr(root: Path, *arguments: str, expect: int = 0, errors: bool | None = None) -> str:
    """What a command prints, by default on the error stream where it is to fail."""
    done = subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=ROOT,
        env=places(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stderr if (bool(expect) if errors is None else errors) else done.stdout


def open_driver(root: Path, before_loading: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Starts a driver of the pipeline below a root.

    Args:
        root: The root.
        before_loading: Called in the new process before the definitions are loaded.
    """
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _enter, (root, before_loading))


def _needed(store: Store) -> dict[str, set[tuple[str, ...]]]:
    """Names of the cells that the tables, the gold labels and the prompts without a category refer to."""
    candidates = set(store.read("synthetic_comparisons")["completion_id"])
    settings = read_snapshot(store, GraderSettings)
    questions = {name: question_hash(asked, settings.few_shot) for name, asked in proposition_questions(store).items()}
    categories = [
        question_hash(Question(code, category.question), settings.few_shot)
        for code, category in read_snapshot(store, ContentPolicy).categories.items()
    ]
    graded = [
        (cell, questions[name])
        for table in ("proposition_grades", "evaluation_grades")
        for cell, name in store.read(table).select("completion_id", "proposition").iter_rows()
    ]
    gold = [
        (content_hash([row["messages"], row["reply"]]), questions[name])
        for row in store.snapshot("data/gold_labels")
        for name in row["labels"]
        if name in questions
    ]
    prompts = [
        (row["prompt_id"], asked)
        for row in store.snapshot("data/prompts")
        for asked in categories
        if row["category"] is None
    ]
    grader = grader_version(read_model(store, "grader").fingerprint, settings)
    reward_model = read_model(store, "helpful_reward_model").fingerprint
    return {
        "completions": {(cell,) for cell in candidates | set(store.read("evaluation_completions")["completion_id"])},
        "grades": {(*cell, grader) for cell in [*graded, *gold, *prompts]},
        "scores": {(cell, reward_model) for cell in candidates},
    }


def _enter(root: Path, before_loading: Callable[[], None] | None) -> None:
    variables = places(root)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    if before_loading is not None:
        before_loading()


def _plan() -> dict[str, Any]:
    from rbr_dagster.environment import from_environment
    from rbr_dagster.plan import make_plan
    from rbr_dagster.plan_view import as_json

    return json.loads(as_json(make_plan(from_environment())))


def _run() -> None:
    from rbr_dagster import waves
    from rbr_dagster.driver import bring_up_to_date, select
    from rbr_dagster.environment import from_environment
    from rbr_dagster.terminal import Terminal

    def make(keys: Sequence[dg.AssetKey], instance: dg.DagsterInstance) -> waves.WaveResult:
        (request,) = _tick(instance).run_requests or []
        assert sorted(request.asset_selection or []) == sorted(keys), "the sensor asks for another wave"
        return unwatched(keys, instance)

    environment = from_environment()
    terminal = Terminal(environment.home / "progress", environment.home / "logs" / "run.log")
    unwatched, waves.make = waves.make, make
    try:
        with terminal.quiet():
            bring_up_to_date(environment, select(environment, None), terminal)
    finally:
        waves.make = unwatched
    assert _look() == UP_TO_DATE


def _sync() -> None:
    from rbr_dagster.definitions import EVERYTHING, defs

    job = defs.resolve_job_def(EVERYTHING)
    with _instance() as instance:
        while requests := _tick(instance).run_requests:
            for request in requests:
                job.execute_in_process(
                    SILENT, instance=instance, asset_selection=request.asset_selection, tags=request.tags
                )
    assert _look() == UP_TO_DATE


def _look() -> str | None:
    with _instance() as instance:
        return _tick(instance).skip_message


def _materialise(assets: Collection[str]) -> None:
    from rbr_dagster.definitions import EVERYTHING, defs

    keys = [dg.AssetKey(asset.split("/")) for asset in assets]
    with _instance() as instance:
        defs.resolve_job_def(EVERYTHING).execute_in_process(SILENT, instance=instance, asset_selection=keys)


def _instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(Path(os.environ["RBR_HOME"]) / "dagster"))


def _tick(instance: dg.DagsterInstance) -> Any:
    from rbr_dagster.definitions import defs

    with dg.build_sensor_context(instance=instance, resources=defs.resources) as context:
        return defs.resolve_sensor_def("rulebook_sensor").evaluate_tick(context)
