"""Measures how biased the simulated annotators must be before rules beat a reward model of their preferences.

    python -m bench.annotator_bias [--home var/annotator_bias] [--write rbr_sandbox/models/README.md]

For each strength of the bias, the benchmark trains a human reward model from the base, and runs a copy of a baseline
pipeline with this reward model. Only the policy `human` and its evaluation change. The base does not ship:
``python -m rbr_sandbox.train --only base`` trains it first. If `bench.rule_effects` gets the same `--home`, both
benchmarks share one baseline.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.pipeline_runs import (
    ROOT,
    RULEBOOK,
    SANDBOX_PROFILE,
    format_percent,
    markdown_table,
    open_store,
    run_baseline,
    run_changed,
)
from rbr.errors import InputError
from rbr.files.yaml_file import read_yaml
from rbr.profile import load_profile
from rbr_sandbox.measure.page_sections import write_section

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
METRICS = {"not_unsafe": "Not-Unsafe", "not_overrefuse": "Not-Overrefuse", "f1": "F1"}
MODEL = "human_reward_model"

ValueWithInterval = tuple[float | None, float | None, float | None]
"""A value in [0, 1], and the lower and upper end of its 95 % interval; None if unknown."""


@dataclass(frozen=True)
class PolicyComparison:
    """Metrics of the policies `human` and `rbr` at one strength of the bias, judged by the oracle on the split `test`.

    Attributes:
        strength: Strength of the bias in [0, 1].
        human: Metric -> value and interval of the policy `human`, in [0, 1].
        rbr: Metric -> value and interval of the policy `rbr`, in [0, 1].
    """

    strength: float
    human: dict[str, ValueWithInterval]
    rbr: dict[str, ValueWithInterval]

    @classmethod
    def read(cls, strength: float, state: Path) -> "PolicyComparison":
        """Reads the current evaluation of a state directory.

        Raises:
            InputError: The evaluation has no metrics of the oracle.
        """
        rows = open_store(state).read("evaluation_metrics", "judge = 'oracle' AND split = 'test'")
        metrics = {
            row["variant"]: {name: (row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in METRICS}
            for row in rows.filter(pl.col("variant").is_in(["human", "rbr"])).iter_rows(named=True)
        }
        if len(metrics) != 2:
            raise InputError(
                "the evaluation has no metrics of the oracle",
                where=str(state),
                hint="Use a profile that sets models.oracle.",
            )
        return cls(strength, metrics["human"], metrics["rbr"])

    @property
    def gain(self) -> ValueWithInterval:
        """F1 of `rbr` minus F1 of `human`, with a wide interval: it subtracts opposite ends of the two intervals."""
        (human, human_low, human_high), (rbr, rbr_low, rbr_high) = self.human["f1"], self.rbr["f1"]
        if None in (human, human_low, human_high, rbr, rbr_low, rbr_high):
            return None, None, None
        return rbr - human, rbr_low - human_high, rbr_high - human_low

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the gain lies above 0."""
        _, low, _ = self.gain
        return low is not None and low > 0

    @property
    def row(self) -> list[str]:
        """The cells of the strength's row in the table."""
        value, low, high = self.gain
        gain = "-" if value is None else f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        return [
            f"{self.strength:g}",
            *(format_percent(*self.human[name]) for name in METRICS),
            format_percent(*self.rbr["f1"]),
            gain,
        ]


def shipped_strength() -> float | None:
    """Returns the bias of the annotators of the shipped human reward model, or None if its configuration has none."""
    config = ROOT / "rbr_sandbox" / "models" / MODEL / "config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("annotator_bias")


def ensure_reward_model(strength: float, directory: Path) -> Path:
    """Trains a human reward model if the directory does not contain it yet.

    Args:
        strength: Strength of the annotators' bias in [0, 1].
        directory: Parent directory. The model goes into its folder ``human_reward_model``.

    Returns:
        The directory of the model.
    """
    model = directory / MODEL
    if not model.is_dir():
        options = ["--only", MODEL, "--annotator-bias", f"{strength:g}", "--output", str(directory.absolute())]
        command = [sys.executable, "-m", "rbr_sandbox.train", *options]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
    return model


def write_profile(base: Path, directory: Path, model: Path) -> Path:
    """Writes a profile with another human reward model, and copies the profiles that the new profile extends.

    Args:
        base: YAML file of the profile that the new profile extends.
        directory: Directory for the new profile and the copies.
        model: Directory of the reward model.

    Returns:
        The YAML file of the new profile.
    """
    directory.mkdir(parents=True, exist_ok=True)
    name: str | None = base.stem
    while name is not None:
        shutil.copy(base.parent / f"{name}.yaml", directory)
        name = read_yaml(directory / f"{name}.yaml").content.get("extends")
    profile = directory / "annotator_bias.yaml"
    reference = json.dumps({"path": str(model.absolute()), "revision": None})
    profile.write_text(f"extends: {base.stem}\nmodels:\n  {MODEL}: {reference}\n", encoding="utf-8")
    load_profile(profile)
    return profile


def conclusion(comparisons: Sequence[PolicyComparison]) -> str:
    """Returns a sentence that names the strengths at which the gain is certain."""
    certain = ", ".join(f"{comparison.strength:g}" for comparison in comparisons if comparison.is_certain)
    uncertain = ", ".join(f"{comparison.strength:g}" for comparison in comparisons if not comparison.is_certain)
    if not certain:
        return "The interval of the gain lies above 0 at no strength of the bias."
    if not uncertain:
        return "The interval of the gain lies above 0 at every strength of the bias."
    return f"The interval of the gain lies above 0 at strength {certain}, but not at strength {uncertain}."


def main() -> int:
    """Trains the reward models, runs the pipelines and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var/annotator_bias"), help="directory of all runs")
    parser.add_argument("--profile", type=Path, default=SANDBOX_PROFILE, help="YAML file of the profile")
    parser.add_argument("--strengths", nargs="+", type=float, default=STRENGTHS, help="strengths of the bias, 0 to 1")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page to write the table into")
    options = parser.parse_args()
    baseline = run_baseline(options.home, options.profile)
    comparisons = []
    for strength in sorted(options.strengths):
        state = baseline
        if strength != shipped_strength():
            directory = options.home / f"bias_{strength:g}"
            model = ensure_reward_model(strength, directory / "models")
            profile = write_profile(options.profile, directory / "profiles", model)
            state = run_changed(baseline, directory / "state", profile, RULEBOOK).state
        comparisons.append(PolicyComparison.read(strength, state))
    header = ["strength", *(f"human {name}" for name in METRICS.values()), "rbr F1", "gain of rbr, points of F1"]
    text = f"{markdown_table(header, [comparison.row for comparison in comparisons])}\n\n{conclusion(comparisons)}\n"
    print(text)
    if options.write:
        write_section(options.write, "annotator bias", text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
