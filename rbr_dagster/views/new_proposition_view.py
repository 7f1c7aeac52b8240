"""Renders the steps that `rbr new proposition` leaves to the author."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rbr.rulebook.proposition_scaffold import AuthoringStep

_WIDTH = 100


def as_text(steps: Sequence[AuthoringStep], rulebook: Path) -> str:
    """Returns each step with its lines, and how to see what is left.

    Args:
        steps: Result of `rbr.rulebook.new_proposition.add_proposition`.
        rulebook: Directory of the rulebook.
    """
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. {step.title}")
        lines += textwrap.wrap(step.what, _WIDTH, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False)
        lines += [f"     {place.file}:{place.line}  {place.key}" for place in step.places]
    lines.append(f"Nothing runs until the empty values are filled in. To see what is left: rbr lint {rulebook}")
    return "\n".join(lines)
