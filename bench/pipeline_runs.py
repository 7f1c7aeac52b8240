"""Pipelines in state directories of their own: a baseline, and copies of it with other rules or settings."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rbr.evaluation.html_report import interval
from resources.store import Store

ROOT = Path(__file__).resolve().parents[1]
RULEBOOK = ROOT / "rulebook"
SANDBOX = ROOT / "profiles" / "sandbox.yaml"


@dataclass(frozen=True)
class PipelineRun:
    """A state directory that is up to date.

    Attributes:
        state: The directory.
        trainings: Variants whose checkpoint it has and the baseline has not, sorted.
        minutes: What it took to bring it up to date.
    """

    state: Path
    trainings: tuple[str, ...]
    minutes: float

    @property
    def cost(self) -> str:
        """Trainings and time, in words."""
        sft = self.trainings.count("sft")
        return f"Trainings: {sft} SFT, {len(self.trainings) - sft} RL. The run took {self.minutes:.1f} min."


def run_baseline(home: Path, profile: Path) -> Path:
    """Brings the pipeline of the default rulebook up to date.

    Args:
        home: Holds its state directory as ``baseline``.
        profile: YAML file of the profile.

    Returns:
        The state directory.
    """
    state = home / "baseline"
    _bring_up_to_date(state, profile, RULEBOOK)
    return state


def run_changed(baseline: Path, state: Path, profile: Path, rulebook: Path) -> PipelineRun:
    """Copies a baseline, so that nothing it made is made again, and brings the copy up to date.

    Args:
        baseline: State directory of the baseline.
        state: Where the copy goes; an earlier one is removed, so that the minutes are those of a whole run.
        profile: YAML file of the profile.
        rulebook: Directory of the rulebook.
    """
    if state.exists():
        shutil.rmtree(state)
    shutil.copytree(baseline, state)
    started = time.monotonic()
    _bring_up_to_date(state, profile, rulebook)
    minutes = (time.monotonic() - started) / 60
    before, after = (store_of(place).read("checkpoints").select("variant", "checkpoint") for place in (baseline, state))
    trained = after.join(before, on=["variant", "checkpoint"], how="anti")
    return PipelineRun(state, tuple(sorted(trained["variant"])), minutes)


def store_of(state: Path) -> Store:
    """The tables of a state directory."""
    return Store(path=str(state / "rbr.duckdb"))


def policy_replies(state: Path) -> pl.DataFrame:
    """Replies of the policy `rbr` to the prompts of the split `test`.

    Returns:
        Columns prompt_id, messages (JSON), category and text; one row per reply.
    """
    store = store_of(state)
    prompts = store.read("test_prompts", "split = ?", ["test"]).select("prompt_id", "messages", "category")
    replies = store.read("evaluation_completions", "variant = ? AND split = ?", ["rbr", "test"])
    return prompts.join(replies.select("prompt_id", "text"), on="prompt_id", how="inner", maintain_order="left_right")


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share in percent with its interval."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} ({interval(low, high)})" if low is not None else f"{100 * value:.1f}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def _bring_up_to_date(state: Path, profile: Path, rulebook: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RBR_", "DAGSTER_"))}
    state.mkdir(parents=True, exist_ok=True)
    options = ["--profile", str(profile.absolute()), "--rulebook", str(rulebook.absolute())]
    subprocess.run(
        [sys.executable, "-m", "rbr_dagster.cli", "run", *options],
        # Paths in a profile are relative to the working directory.
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", **kept, "RBR_HOME": str(state.absolute())},
        # The output of a benchmark is its tables.
        stdout=sys.stderr,
        check=True,
    )
