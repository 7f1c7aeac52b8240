"""A pipeline on the `tiny` profile that tests edit and bring up to date again.

Runs, plans and ticks happen in a driver process that keeps running between edits. So its imports, and the start of the
server that steps are forked from, happen once.
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

from rbr_dagster.environment import Environment
from rbr_dagster.run.staleness import AssetGraph
from tests.rbr_dagster.state_content import RunEffect, StateContent

ROOT = Path(__file__).resolve().parents[2]
UP_TO_DATE = "Everything is up to date."
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# The driver keeps its connections to the MLflow database open. No asset reads MLflow.
_KEPT_OPEN = {"mlflow.db", "mlflow.lock", "mlartifacts"}


@dataclass(frozen=True)
class Pipeline:
    """A state directory with its own profile, rulebook and data files.

    Attributes:
        root: Directory with home/, profiles/edited.yaml, rulebook/, prompts.jsonl and gold_labels.jsonl.
        driver: Process in which runs, plans and ticks happen.
    """

    root: Path
    driver: ProcessPoolExecutor

    @property
    def home(self) -> Path:
        """The state directory."""
        return self.root / "home"

    def restore(self, up_to_date: Path, keep: Collection[str] = ()) -> None:
        """Replaces this root by a copy of another root. Keeps the parts of the state directory that `keep` names."""
        self.root.mkdir(exist_ok=True)
        for part in self.root.iterdir():
            if part.name != "home":
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        write_inputs(self.root)
        self.home.mkdir(exist_ok=True)
        for part in self.home.iterdir():
            if part.name not in {*_KEPT_OPEN, *keep}:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        for part in (up_to_date / "home").iterdir():
            copy = self.home / part.name
            if not copy.exists():
                shutil.copytree(part, copy) if part.is_dir() else shutil.copy(part, copy)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the first occurrence of `old` in a file."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def set(self, section: str, **values: Any) -> None:
        """Adds a section with values to the profile."""
        lines = [f"  {name}: {json.dumps(value)}" for name, value in values.items()]
        profile = self.root / "profiles" / "edited.yaml"
        profile.write_text("\n".join([profile.read_text(encoding="utf-8"), f"{section}:", *lines, ""]))

    def plan(self) -> dict[str, Any]:
        """Returns the output of `rbr plan --json`."""
        return self.driver.submit(_plan).result()

    def run(self) -> RunEffect:
        """Runs waves as `rbr run` does. Checks before each wave that the sensor requests the same wave."""
        return self._effect(lambda: self.driver.submit(_run).result())

    def run_by_sensor(self) -> RunEffect:
        """Runs waves as the sensor requests them, tick by tick."""
        return self._effect(lambda: self.driver.submit(_run_by_sensor).result())

    def failed_run(self, only: str | None = None) -> tuple[str, list[str]]:
        """Runs waves as `rbr run --only` does. Returns the message of the failure, and the assets made."""
        before = StateContent.of(self.home)
        message = self.driver.submit(_failed_run, only).result()
        return message, StateContent.of(self.home).since(before).assets

    def run_requested_waves(self, waves: int) -> list[list[str]]:
        """Runs the next waves of the sensor. Returns the assets of each, and of the wave requested after them."""
        return self.driver.submit(_run_requested_waves, waves).result()

    def skip_reason(self) -> str | None:
        """Returns why the sensor requests nothing; None if it requests a wave."""
        return self.driver.submit(_skip_reason).result()

    def materialize(self, *assets: str) -> None:
        """Materializes assets in one run, as the button in the UI does."""
        self.driver.submit(_materialize, assets).result()

    def _effect(self, work: Callable[[], None]) -> RunEffect:
        before = StateContent.of(self.home)
        work()
        after = StateContent.of(self.home)
        assert after.unneeded(before, self.home) == set()
        return after.since(before)


def write_inputs(root: Path) -> None:
    """Copies the files that a user edits: rulebook, profiles and the data files of `tiny`."""
    for directory in ("rulebook", "profiles"):
        shutil.copytree(ROOT / directory, root / directory)
    data = {name: root / f"{name}.jsonl" for name in ("prompts", "gold_labels")}
    for name, path in data.items():
        shutil.copy(ROOT / "rbr_sandbox" / "data" / f"tiny_{name}.jsonl", path)
    lines = ["extends: tiny", *(f"{name}: {path}" for name, path in data.items()), ""]
    (root / "profiles" / "edited.yaml").write_text("\n".join(lines), encoding="utf-8")


def pipeline_variables(root: Path) -> dict[str, str]:
    """Returns the environment variables of a process that works on the pipeline in a root."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RBR_", "DAGSTER_"))}
    return {
        **inherited,
        "RBR_HOME": str(root / "home"),
        "RBR_PROFILE": str(root / "profiles" / "edited.yaml"),
        "RBR_RULEBOOK": str(root / "rulebook"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def rbr(root: Path, *arguments: str, expect: int = 0, errors: bool | None = None) -> str:
    """Runs `rbr` and returns its output.

    Args:
        root: Root of the pipeline.
        arguments: Arguments of the command.
        expect: Expected exit status.
        errors: True returns stderr, False stdout; None returns stderr if the command should fail.
    """
    process = subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", *arguments],
        cwd=ROOT,
        env=pipeline_variables(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == expect, process.stdout + process.stderr
    return process.stderr if (bool(expect) if errors is None else errors) else process.stdout


def open_driver(root: Path, before_loading: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Starts a driver process for the pipeline in a root.

    Args:
        root: Root of the pipeline.
        before_loading: Called in the new process before the definitions are built.
    """
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _initialize_driver, (root, before_loading))


def _initialize_driver(root: Path, before_loading: Callable[[], None] | None) -> None:
    variables = pipeline_variables(root)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    if before_loading is not None:
        before_loading()


def _plan() -> dict[str, Any]:
    from rbr_dagster.plan.plan import make_plan
    from rbr_dagster.plan.plan_view import as_json

    return json.loads(as_json(make_plan(Environment.from_variables())))


def _run() -> None:
    from rbr_dagster.run import waves
    from rbr_dagster.run.driver import bring_up_to_date, read_valid_sources, select_assets
    from rbr_dagster.run.terminal import Terminal

    def run_checked_wave(
        keys: Sequence[dg.AssetKey], graph: AssetGraph, instance: dg.DagsterInstance
    ) -> waves.WaveResult:
        (request,) = _tick(instance).run_requests or []
        assert sorted(request.asset_selection or []) == sorted(keys), "the sensor requests another wave"
        return run_wave(keys, graph, instance)

    environment = Environment.from_variables()
    terminal = Terminal(Path(environment.progress.directory), environment.run_log)
    run_wave, waves.run_wave = waves.run_wave, run_checked_wave
    try:
        with terminal.quiet():
            contents, graph = read_valid_sources(environment), select_assets(environment, None)
            bring_up_to_date(environment, contents, graph, terminal)
    finally:
        waves.run_wave = run_wave
    assert _skip_reason() == UP_TO_DATE


def _run_by_sensor() -> None:
    job = _everything()
    with Environment.from_variables().open_instance() as instance:
        while requests := _tick(instance).run_requests:
            for request in requests:
                job.execute_in_process(
                    SILENT, instance=instance, asset_selection=request.asset_selection, tags=request.tags
                )
    assert _skip_reason() == UP_TO_DATE


def _failed_run(only: str | None) -> str:
    from rbr_dagster.run.driver import RunFailed, bring_up_to_date, read_valid_sources, select_assets
    from rbr_dagster.run.terminal import Terminal

    environment = Environment.from_variables()
    terminal = Terminal(Path(environment.progress.directory), environment.run_log)
    try:
        with terminal.quiet():
            contents, graph = read_valid_sources(environment), select_assets(environment, only)
            bring_up_to_date(environment, contents, graph, terminal)
    except RunFailed as error:
        return str(error)
    return ""


def _run_requested_waves(waves: int) -> list[list[str]]:
    job, requested = _everything(), []
    with Environment.from_variables().open_instance() as instance:
        for _ in range(waves):
            for request in _tick(instance).run_requests or []:
                requested.append([key.to_user_string() for key in request.asset_selection or []])
                job.execute_in_process(
                    SILENT,
                    instance=instance,
                    asset_selection=request.asset_selection,
                    tags=request.tags,
                    raise_on_error=False,
                )
        for request in _tick(instance).run_requests or []:
            requested.append([key.to_user_string() for key in request.asset_selection or []])
    return requested


def _skip_reason() -> str | None:
    with Environment.from_variables().open_instance() as instance:
        return _tick(instance).skip_message


def _materialize(assets: Collection[str]) -> None:
    keys = [dg.AssetKey(asset.split("/")) for asset in assets]
    job = _everything()
    with Environment.from_variables().open_instance() as instance:
        job.execute_in_process(SILENT, instance=instance, asset_selection=keys)


def _definitions() -> dg.Definitions:
    # Imported here, so that `before_loading` can change an asset before other modules import it.
    from rbr_dagster.definitions import build_definitions

    return build_definitions(Environment.from_variables())


def _everything() -> dg.JobDefinition:
    from rbr_dagster.definitions import EVERYTHING

    return _definitions().resolve_job_def(EVERYTHING)


def _tick(instance: dg.DagsterInstance) -> Any:
    definitions = _definitions()
    with dg.build_sensor_context(instance=instance, resources=definitions.resources) as context:
        return definitions.resolve_sensor_def("rulebook_sensor").evaluate_tick(context)
