"""The model card's figures: a JSON file beside it, and tables between two marks."""

import json
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from rbr_sandbox.measure.figures import Figure, markdown, worst
from rbr_sandbox.measure.pages import write_between

MODELS = Path(__file__).parents[1] / "models"
CARD, FIGURES = MODELS / "README.md", MODELS / "figures.json"


def write_card(figures: Sequence[Figure]) -> None:
    """Writes the figures beside the card and into it."""
    lines = ",\n".join(json.dumps(figure.row()) for figure in figures)
    FIGURES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    write_between(CARD, "figures", tables(read_figures()))


def read_figures(path: Path = FIGURES) -> list[Figure]:
    """The figures as they stand in the file, rounded."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    unknown = {"low": nan, "high": nan}
    return [Figure(**unknown | {key: value for key, value in row.items() if value is not None}) for row in rows]


def tables(figures: Sequence[Figure]) -> str:
    """What the card shows: the grader's worst proposition per kind of reply and wording, and all other figures."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    readings: dict[str, dict[str, str]] = {}
    others: list[str] = []
    for group, members in groups.items():
        if group.count(",") == 2:
            _, source, wording = group.split(", ")
            propositions = [figure for figure in members if figure.must_be == "at least"]
            lowest = worst(propositions)
            mean = sum(figure.value for figure in propositions) / len(propositions)
            readings.setdefault(wording, {})[source] = f"{mean:.3f}; {lowest.value:.3f} {lowest.name}"
            for figure in members:
                if figure.must_be == "at most":
                    readings.setdefault(figure.name, {})[source] = figure.text
        else:
            column = {figure.name: f"{figure.text} | {figure.verdict}" for figure in members}
            others.append(f"**{group[0].upper()}{group[1:]}**\n\n{markdown({'figure | bar': column}, '')}")
    head = "**Grader: balanced accuracy over the 21 propositions, mean; and the worst**"
    return "\n\n".join([f"{head}\n\n{markdown(readings, '')}", *others])
