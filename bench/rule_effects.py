"""Measures whether an edit of the rulebook changes the trained policy as intended, with the oracle as the judge.

    python -m bench.rule_effects [--home var/rule_effects] [--only no_apology] [--write docs/results.md]

The benchmark runs a baseline pipeline with the default rulebook. For each edit in `bench.rule_edits`, it runs a copy of
the baseline with the edited rulebook, and compares the replies of the policy `rbr` to the test prompts. The exit status
is 1 if a share that should go up or down does not: its intervals before and after the edit must not overlap.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.pipeline_runs import (
    RULEBOOK,
    SANDBOX_PROFILE,
    PipelineRun,
    format_percent,
    markdown_table,
    policy_replies,
    run_baseline,
    run_changed,
)
from bench.rule_edits import EDITS, Measure, RuleEdit, changed_lines
from rbr.agreement.intervals import wilson_interval
from rbr.errors import InputError
from rbr.rulebook import CONTENT_POLICY_FILE, load_content_policy
from rbr_sandbox.measure.page_sections import write_section
from rbr_sandbox.oracle import truths

HEADER = ["share of replies", "intended", "n", "before, %", "after, %", "change, points"]


@dataclass(frozen=True)
class CountedShare:
    """A share of replies, with its 95 % Wilson interval.

    Attributes:
        count: Number of replies for which the proposition is true.
        n: Number of replies; if 0, the share is unknown.
    """

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None if unknown."""
        return self.count / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and upper end of the interval, in [0, 1]; the whole range if the share is unknown."""
        if not self.n:
            return 0.0, 1.0
        return wilson_interval(self.count / self.n, self.n)

    def __str__(self) -> str:
        return format_percent(self.value, *self.interval)


@dataclass(frozen=True)
class Effect:
    """A measure before and after an edit.

    Attributes:
        measure: Definition of the share.
        before: The share before the edit.
        after: The share after the edit.
    """

    measure: Measure
    before: CountedShare
    after: CountedShare

    @property
    def as_intended(self) -> bool:
        """Whether the intervals show the intended move; true for a share that should stay."""
        (before_low, before_high), (after_low, after_high) = self.before.interval, self.after.interval
        match self.measure.intended:
            case "up":
                return after_low > before_high
            case "down":
                return after_high < before_low
        return True

    @property
    def row(self) -> list[str]:
        """The cells of the row below `HEADER`."""
        before, after = self.before.value, self.after.value
        change = "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
        return [
            self.measure.label,
            self.measure.intended,
            str(self.after.n),
            str(self.before),
            str(self.after),
            change,
        ]


def measure_share(replies: pl.DataFrame, measure: Measure) -> CountedShare:
    """Counts the replies for which the proposition of a measure is true.

    Args:
        replies: Columns messages (JSON), category and text.
        measure: Proposition to count, and the prompts whose replies count.
    """
    # An edited content policy must not change which prompts are compared.
    categories = load_content_policy(RULEBOOK / CONTENT_POLICY_FILE).categories
    selected_codes = {
        code
        for code, category in categories.items()
        if code in measure.prompts or category.response_type in measure.prompts
    }
    selected = replies.filter(pl.col("category").is_in(sorted(selected_codes))).select("messages", "text")
    holds = [truths(json.loads(messages), text)[measure.proposition] for messages, text in selected.iter_rows()]
    return CountedShare(sum(holds), len(holds))


def run_edit(edit: RuleEdit, baseline: Path, directory: Path, profile: Path) -> tuple[PipelineRun, str]:
    """Runs a copy of the baseline with an edited copy of the default rulebook.

    Args:
        edit: The edit of the rulebook.
        baseline: State directory of the baseline.
        directory: Parent directory of the two copies, ``state`` and ``rulebook``.
        profile: YAML file of the profile.

    Returns:
        The run, and the changed lines of the rulebook.
    """
    rulebook = directory / "rulebook"
    if rulebook.exists():
        shutil.rmtree(rulebook)
    shutil.copytree(RULEBOOK, rulebook)
    edit.apply(rulebook)
    return run_changed(baseline, directory / "state", profile, rulebook), changed_lines(RULEBOOK, rulebook)


def effects_section(edit: RuleEdit, effects: Sequence[Effect], run: PipelineRun, diff: str) -> str:
    """Returns the results of an edit in Markdown."""
    table = markdown_table(HEADER, [effect.row for effect in effects])
    return f"### {edit.name}\n\n{edit.intention} {run.cost}\n\n{table}\n\n```diff\n{diff}\n```\n"


def main() -> int:
    """Runs all edits and prints their effects. Returns 0 if every edit had its effect, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var/rule_effects"), help="directory of all runs")
    parser.add_argument("--profile", type=Path, default=SANDBOX_PROFILE, help="YAML file of the profile")
    parser.add_argument("--only", nargs="+", choices=EDITS, default=list(EDITS), help="edits to run")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page to write the effects into")
    options = parser.parse_args()
    baseline = run_baseline(options.home, options.profile)
    before = policy_replies(baseline)
    sections, failed = [], []
    for name in options.only:
        edit = EDITS[name]
        run, diff = run_edit(edit, baseline, options.home / name, options.profile)
        after = policy_replies(run.state)
        effects = [
            Effect(measure, measure_share(before, measure), measure_share(after, measure)) for measure in edit.measures
        ]
        sections.append(effects_section(edit, effects, run, diff))
        print(sections[-1], flush=True)
        failed += [f"{name}: {effect.measure.label}" for effect in effects if not effect.as_intended]
    if options.write:
        write_section(options.write, "rule effects", "\n".join(sections))
    for measure in failed:
        sys.stderr.write(f"not as intended: {measure}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
