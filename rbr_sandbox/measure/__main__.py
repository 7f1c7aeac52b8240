"""Measures the sandbox models and prints every figure of the model card: ``python -m rbr_sandbox.measure``.

The exit status is 1 if a figure does not meet its bar. ``--write`` also writes the figures into the card.
"""

import argparse
import sys
from pathlib import Path

from rbr_sandbox.measure.figures import Figure
from rbr_sandbox.measure.measure_models import evaluation_prompts, measure_models
from rbr_sandbox.measure.model_card import CARD, write_card
from rbr_sandbox.measure.page_sections import read_section
from rbr_sandbox.measure.tuned_replies import write_tuned_replies


def format_figures(figures: list[Figure]) -> str:
    """Returns the figures as text: one line per figure, under the name of its group."""
    lines: list[str] = []
    for i, figure in enumerate(figures):
        if i == 0 or figures[i - 1].group != figure.group:
            lines += ["", figure.group]
        lines.append(f"  {figure.name:58s} {figure.text:22s} n {figure.n:6d}  {figure.verdict}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Measures the models and prints the figures. Returns 0 if all bars hold, otherwise 1."""
    parser = argparse.ArgumentParser(
        "python -m rbr_sandbox.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="profiles/sandbox.yaml", help="YAML file of the profile with the models")
    parser.add_argument("--rulebook", default="rulebook", help="directory of the rulebook")
    parser.add_argument(
        "--tuned",
        nargs="*",
        default=[],
        metavar="VARIANT=DIR",
        help="directory of each policy after RL; newly sampled replies replace the shipped replies",
    )
    parser.add_argument("--write", action="store_true", help="write the figures into the model card")
    options = parser.parse_args()
    if options.tuned:
        checkpoints = {
            variant: Path(directory) for variant, directory in (text.split("=", 1) for text in options.tuned)
        }
        write_tuned_replies(checkpoints, evaluation_prompts("test"))
    figures = measure_models(options.profile, options.rulebook)
    print(format_figures(figures))
    print(f"\nannotator bias, as measured by `make annotator-bias`\n{read_section(CARD, 'annotator bias')}")
    failed = [figure for figure in figures if not figure.holds]
    print(f"\n{sum(figure.bar is not None for figure in figures)} bars, {len(failed)} not met")
    for figure in failed:
        print(f"  {figure.group}: {figure.name} is {figure.text}, must be {figure.must_be} {figure.bar:g}")
    if options.write:
        write_card(figures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
