"""How strong must the simulated annotators' bias be for rules to beat a reward model of their preferences?

    python -m bench.annotator_bias [--home var/annotator_bias] [--write rbr_sandbox/models/README.md]

Trains a human reward model for every strength of the bias, from the base that does not ship (``python -m
rbr_sandbox.train --only base`` makes it), and brings a copy of a baseline up to date with it. Only the policy
`human` and its evaluation change. With the `--home` of `bench.rule_effects` the baseline is run once for both.
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
    SANDBOX,
    markdown_table,
    run_baseline,
    run_changed,
    store_of,
    with_interval,
)
from rbr.errors import InputError
from rbr.files.yaml_file import read_document
from rbr.profile import load_profile
from rbr_sandbox.measure.pages import write_between

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
METRICS = {"not_unsafe": "Not-Unsafe", "not_overrefuse": "Not-Overrefuse", "f1": "F1"}
ROLE = "human_reward_model"

Estimate = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Comparison:
    """Metrics of the policies `human` and `rbr` at one strength of the bias, by the oracle, on the split `test`.

    Attributes:
        strength: Of the bias, in [0, 1].
        human: By metric: value and ends of the interval, shares in [0, 1].
        rbr: The same of the other policy.
    """

    strength: float
    human: dict[str, Estimate]
    rbr: dict[str, Estimate]

    @classmethod
    def read(cls, strength: float, state: Path) -> "Comparison":
        """The current evaluation of a state directory.

        Raises:
            InputError: The oracle did not judge it.
        """
        rows = store_of(state).read("evaluation_metrics", "judge = 'oracle' AND split = 'test'")
        found = {
            row["variant"]: {name: (row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in METRICS}
            for row in rows.filter(pl.col("variant").is_in(["human", "rbr"])).iter_rows(named=True)
        }
        if len(found) != 2:
            raise InputError("no oracle has judged it", where=str(state), hint="Use a profile with models.oracle.")
        return cls(strength, found["human"], found["rbr"])

    @property
    def gain(self) -> Estimate:
        """F1 of `rbr` minus that of `human`; its interval is that of any two values of theirs: rather too wide."""
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
        """Cells of the table."""
        value, low, high = self.gain
        gain = "-" if value is None else f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        return [
            f"{self.strength:g}",
            *(with_interval(*self.human[name]) for name in METRICS),
            with_interval(*self.rbr["f1"]),
            gain,
        ]


def shipped_strength() -> float | None:
    """The bias that the shipped human reward model was trained with; None where its config does not tell."""
    config = ROOT / "rbr_sandbox" / "models" / ROLE / "config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("annotator_bias")


def trained_reward_model(strength: float, directory: Path) -> Path:
    """Trains a human reward model, unless the directory holds it.

    Args:
        strength: Of the annotators' bias, in [0, 1].
        directory: Where the model goes, as ``human_reward_model``.
    """
    model = directory / ROLE
    if not model.is_dir():
        options = ["--only", ROLE, "--annotator-bias", f"{strength:g}", "--output", str(directory.absolute())]
        training = [sys.executable, "-m", "rbr_sandbox.train", *options]
        subprocess.run(training, cwd=ROOT, stdout=sys.stderr, check=True)
    return model


def write_profile(base: Path, directory: Path, model: Path) -> Path:
    """Writes a profile that differs in the human reward model, with what it extends beside it.

    Args:
        base: YAML file of the profile it extends.
        directory: Where it goes.
        model: Directory of the reward model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    part: str | None = base.stem
    while part is not None:
        shutil.copy(base.parent / f"{part}.yaml", directory)
        part = read_document(directory / f"{part}.yaml").content.get("extends")
    profile = directory / "annotator_bias.yaml"
    reference = json.dumps({"path": str(model.absolute()), "revision": None})
    profile.write_text(f"extends: {base.stem}\nmodels:\n  {ROLE}: {reference}\n", encoding="utf-8")
    load_profile(profile)
    return profile


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """From which strength on the gain is certain, in one sentence."""
    certain = [f"{each.strength:g}" for each in comparisons if each.is_certain]
    others = [f"{each.strength:g}" for each in comparisons if not each.is_certain]
    if not certain:
        return "At no strength of the bias does the interval of the gain lie above 0."
    vanishes = f"it vanishes into its interval at {', '.join(others)}" if others else "it vanishes at none"
    return f"The smallest strength at which the interval of the gain lies above 0 is {certain[0]}; {vanishes}."


def main() -> int:
    """Trains, runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var/annotator_bias"))
    parser.add_argument("--profile", type=Path, default=SANDBOX)
    parser.add_argument("--strengths", nargs="+", type=float, default=STRENGTHS)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    baseline = run_baseline(arguments.home, arguments.profile)
    comparisons = []
    for strength in sorted(arguments.strengths):
        state = baseline
        if strength != shipped_strength():
            directory = arguments.home / f"bias_{strength:g}"
            model = trained_reward_model(strength, directory / "models")
            profile = write_profile(arguments.profile, directory / "profiles", model)
            state = run_changed(baseline, directory / "state", profile, RULEBOOK).state
        comparisons.append(Comparison.read(strength, state))
    header = ["strength", *(f"human {name}" for name in METRICS.values()), "rbr F1", "gain of rbr, points of F1"]
    text = f"{markdown_table(header, [each.row for each in comparisons])}\n\n{conclusion(comparisons)}\n"
    print(text)
    if arguments.write:
        write_between(arguments.write, "annotator bias", text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
