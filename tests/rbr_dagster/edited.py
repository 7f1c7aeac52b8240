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
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from tests.rbr_dagster.made import Content, Made

ROOT = Path(__file__).resolve().parents[2]
UP_TO_DATE = "Everything is up to date."
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# The driver keeps its connections to MLflow's file open; a run of MLflow is never read to make anything.
_OF_DRIVER = {"mlflow.db", "mlflow.lock", "mlartifacts"}


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

    def materialize(self, *assets: str) -> None:
        """Makes assets as the button of the UI does."""
        self.driver.submit(_materialize, assets).result()

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
        shutil.copy(ROOT / "rbr_sandbox" / "data" / f"tiny_{name}.jsonl", path)
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


def _enter(root: Path, before_loading: Callable[[], None] | None) -> None:
    variables = places(root)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    if before_loading is not None:
        before_loading()


def _plan() -> dict[str, Any]:
    from rbr_dagster.environment import from_environment
    from rbr_dagster.plan.plan import make_plan
    from rbr_dagster.plan.view import as_json

    return json.loads(as_json(make_plan(from_environment())))


def _run() -> None:
    from rbr_dagster import waves
    from rbr_dagster.environment import from_environment
    from rbr_dagster.run.driver import bring_up_to_date, select
    from rbr_dagster.run.terminal import Terminal

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


def _materialize(assets: Collection[str]) -> None:
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
