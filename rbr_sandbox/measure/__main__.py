"""Prints every figure of the model card with its bar: ``python -m rbr_sandbox.measure``. Status 1 where one fails.

``--write`` puts the figures into the card. ``--tuned rbr=DIR human=DIR ...`` takes replies of policies after RL from
their checkpoints in place of those that ship.
"""

import argparse
import sys
from pathlib import Path

from rbr_sandbox.measure.card import CARD, write_card
from rbr_sandbox.measure.figures import Figure
from rbr_sandbox.measure.measure import evaluation_prompts, measure
from rbr_sandbox.measure.pages import read_between
from rbr_sandbox.measure.tuned import write_tuned_replies


def printed(figures: list[Figure]) -> str:
    """One line a figure, under its group."""
    lines: list[str] = []
    for i, figure in enumerate(figures):
        if i == 0 or figures[i - 1].group != figure.group:
            lines += ["", figure.group]
        lines.append(f"  {figure.name:58s} {figure.text:22s} n {figure.n:6d}  {figure.verdict}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, and says by its status whether all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="profiles/sandbox.yaml")
    parser.add_argument("--rulebook", default="rulebook")
    parser.add_argument("--tuned", nargs="*", default=[], metavar="VARIANT=DIR")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.tuned:
        checkpoints = {name: Path(place) for name, place in (text.split("=", 1) for text in asked.tuned)}
        write_tuned_replies(checkpoints, evaluation_prompts("test"))
    figures = measure(asked.profile, asked.rulebook)
    print(printed(figures))
    print(f"\nannotators of other bias, as `make annotator-bias` measured them\n{read_between(CARD, 'annotator bias')}")
    failed = [figure for figure in figures if not figure.holds]
    print(f"\n{sum(figure.bar is not None for figure in figures)} bars, {len(failed)} fail")
    for figure in failed:
        print(f"  {figure.group}: {figure.name} {figure.text}, {figure.must_be} {figure.bar:g}")
    if asked.write:
        write_card(figures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
