"""Does an edit of the rulebook move the trained policy where it should? Judged by the sandbox oracle.

    python -m bench.rule_effects [--home var/rule_effects] [--only no_apology] [--write docs/results.md]

Brings a baseline up to date with the default rulebook; then, for every edit of `bench.rule_edits`, a copy of it with
the edited one. Compares the replies of the policy `rbr` to the test prompts. The exit status is 1 where a share that
should move does not: its interval after the edit must lie beyond the one before.
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
    SANDBOX,
    PipelineRun,
    markdown_table,
    policy_replies,
    run_baseline,
    run_changed,
    with_interval,
)
from bench.rule_edits import EDITS, Measure, RuleEdit, changed_lines
from rbr.errors import InputError
from rbr.grading.agreement import wilson
from rbr.rulebook import CONTENT_POLICY_FILE, load_content_policy
from rbr_sandbox.measure.pages import write_between
from rbr_sandbox.oracle import truths

HEADER = ["share of replies", "intended", "n", "before, %", "after, %", "moved, points"]


@dataclass(frozen=True)
class Share:
    """`count` of `n` replies, with the 95 % interval of Wilson; without replies, nothing is known."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1]."""
        return self.count / self.n if self.n else None

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, in [0, 1]."""
        if not self.n:
            return 0.0, 1.0
        return wilson(self.count / self.n, self.n)

    def __str__(self) -> str:
        return with_interval(self.value, *self.ends)


@dataclass(frozen=True)
class Effect:
    """A measure before and after an edit."""

    measure: Measure
    before: Share
    after: Share

    @property
    def as_intended(self) -> bool:
        """Whether the intervals lie apart, in the intended order; a share that should stay is not judged."""
        (before_low, before_high), (after_low, after_high) = self.before.ends, self.after.ends
        match self.measure.intended:
            case "up":
                return after_low > before_high
            case "down":
                return after_high < before_low
        return True

    @property
    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        before, after = self.before.value, self.after.value
        moved = "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
        return [
            self.measure.label,
            self.measure.intended,
            str(self.after.n),
            str(self.before),
            str(self.after),
            moved,
        ]


def share(replies: pl.DataFrame, measure: Measure) -> Share:
    """What a measure says of replies.

    Args:
        replies: Columns messages (JSON), category and text.
        measure: Which replies, and what is counted among them.
    """
    # An edited content policy must not change which prompts are compared.
    categories = load_content_policy(RULEBOOK / CONTENT_POLICY_FILE).categories
    chosen = {
        code
        for code, category in categories.items()
        if code in measure.prompts or category.response_type in measure.prompts
    }
    own = replies.filter(pl.col("category").is_in(sorted(chosen))).select("messages", "text")
    holds = [truths(json.loads(messages), text)[measure.proposition] for messages, text in own.iter_rows()]
    return Share(sum(holds), len(holds))


def run_edit(edit: RuleEdit, baseline: Path, directory: Path, profile: Path) -> tuple[PipelineRun, str]:
    """Brings a copy of the baseline up to date with an edited copy of the default rulebook.

    Args:
        edit: The edit.
        baseline: State directory of the baseline.
        directory: Where the two copies go, as ``state`` and ``rulebook``.
        profile: YAML file of the profile.

    Returns:
        The run, and the lines of the rulebook that differ.
    """
    rulebook = directory / "rulebook"
    if rulebook.exists():
        shutil.rmtree(rulebook)
    shutil.copytree(RULEBOOK, rulebook)
    edit.apply(rulebook)
    return run_changed(baseline, directory / "state", profile, rulebook), changed_lines(RULEBOOK, rulebook)


def section(edit: RuleEdit, effects: Sequence[Effect], run: PipelineRun, diff: str) -> str:
    """What happened, in Markdown."""
    table = markdown_table(HEADER, [effect.row for effect in effects])
    return f"### {edit.name}\n\n{edit.intention} {run.cost}\n\n{table}\n\n```diff\n{diff}\n```\n"


def main() -> int:
    """Runs, prints, and says by its status whether every edit had its effect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("var/rule_effects"))
    parser.add_argument("--profile", type=Path, default=SANDBOX)
    parser.add_argument("--only", nargs="+", choices=EDITS, default=list(EDITS))
    parser.add_argument("--write", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    baseline = run_baseline(arguments.home, arguments.profile)
    before = policy_replies(baseline)
    sections, failed = [], []
    for name in arguments.only:
        edit = EDITS[name]
        run, diff = run_edit(edit, baseline, arguments.home / name, arguments.profile)
        after = policy_replies(run.state)
        effects = [Effect(measure, share(before, measure), share(after, measure)) for measure in edit.measures]
        sections.append(section(edit, effects, run, diff))
        print(sections[-1], flush=True)
        failed += [f"{name}: {effect.measure.label}" for effect in effects if not effect.as_intended]
    if arguments.write:
        write_between(arguments.write, "rule effects", "\n".join(sections))
    for missed in failed:
        sys.stderr.write(f"did not move as intended: {missed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
