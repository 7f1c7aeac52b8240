"""Runs pipelines for the benchmarks: a baseline, and copies of the baseline with other rules or settings."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rbr.evaluation.html_report import interval
from rbr_dagster.environment import HOME_VARIABLE, Environment
from resources.store import Store

ROOT = Path(__file__).resolve().parents[1]
RULEBOOK = ROOT / "rulebook"
SANDBOX_PROFILE = ROOT / "profiles" / "sandbox.yaml"


@dataclass(frozen=True)
class PipelineRun:
    """A copy of the baseline after a run with other rules or settings.

    Attributes:
        state: State directory of the copy.
        trainings: Variants whose checkpoint was trained in this run, sorted.
        minutes: Duration of the run that brought the copy up to date.
    """

    state: Path
    trainings: tuple[str, ...]
    minutes: float

    @property
    def cost(self) -> str:
        """The number of trainings and the duration, as text."""
        sft = self.trainings.count("sft")
        return f"Trainings: {sft} SFT, {len(self.trainings) - sft} RL. The run took {self.minutes:.1f} min."


def run_baseline(home: Path, profile: Path) -> Path:
    """Brings a pipeline with the default rulebook up to date.

    Args:
        home: Parent directory. The state directory is its folder ``baseline``.
        profile: YAML file of the profile.

    Returns:
        The state directory.
    """
    state = home / "baseline"
    _bring_up_to_date(state, profile, RULEBOOK)
    return state


def run_changed(baseline: Path, state: Path, profile: Path, rulebook: Path) -> PipelineRun:
    """Copies a baseline and brings the copy up to date, so that only stale assets run.

    Args:
        baseline: State directory of the baseline.
        state: State directory of the copy. An existing directory is removed, so that the duration covers the whole run.
        profile: YAML file of the profile.
        rulebook: Directory of the rulebook.
    """
    if state.exists():
        shutil.rmtree(state)
    shutil.copytree(baseline, state)
    started = time.monotonic()
    _bring_up_to_date(state, profile, rulebook)
    minutes = (time.monotonic() - started) / 60
    before, after = (
        open_store(directory).read("checkpoints").select("variant", "checkpoint") for directory in (baseline, state)
    )
    trained = after.join(before, on=["variant", "checkpoint"], how="anti")
    return PipelineRun(state, tuple(sorted(trained["variant"])), minutes)


def open_store(state: Path) -> Store:
    """Opens the tables of a state directory."""
    # The store depends on the state directory only.
    return Environment(state, SANDBOX_PROFILE, RULEBOOK).store


def policy_replies(state: Path) -> pl.DataFrame:
    """Reads the replies of the policy `rbr` to the prompts of the split `test`.

    Returns:
        Columns prompt_id, messages (JSON), category and text; one row per reply.
    """
    store = open_store(state)
    prompts = store.read("test_prompts", "split = ?", ["test"]).select("prompt_id", "messages", "category")
    replies = store.read("evaluation_completions", "variant = ? AND split = ?", ["rbr", "test"])
    return prompts.join(replies.select("prompt_id", "text"), on="prompt_id", how="inner", maintain_order="left_right")


def format_percent(value: float | None, low: float | None, high: float | None) -> str:
    """Formats a share in [0, 1] as percent with its interval, or as "-" if the share is unknown."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} ({interval(low, high)})" if low is not None else f"{100 * value:.1f}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def _bring_up_to_date(state: Path, profile: Path, rulebook: Path) -> None:
    # Variables of the caller must not change the run.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RBR_", "DAGSTER_"))}
    state.mkdir(parents=True, exist_ok=True)
    options = ["--profile", str(profile.absolute()), "--rulebook", str(rulebook.absolute())]
    subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", "run", *options],
        # Paths in a profile are relative to the working directory.
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", **environment, HOME_VARIABLE: str(state.absolute())},
        # Standard output is for the tables of the benchmark.
        stdout=sys.stderr,
        check=True,
    )
