"""Writes measured figures into the tables of the model card, and into a JSON file beside the card."""

import json
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from rbr_sandbox.measure.figures import Figure, lowest, table_of_columns
from rbr_sandbox.measure.page_sections import write_section

MODELS = Path(__file__).parents[1] / "models"
CARD, FIGURES = MODELS / "README.md", MODELS / "figures.json"


def write_card(figures: Sequence[Figure]) -> None:
    """Writes the figures into ``figures.json`` and into the card."""
    lines = ",\n".join(json.dumps(figure.as_json()) for figure in figures)
    FIGURES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    write_section(CARD, "figures", card_tables(read_figures()))


def read_figures(path: Path = FIGURES) -> list[Figure]:
    """Reads the figures, whose values are rounded, from the JSON file."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    unknown = {"low": nan, "high": nan}
    return [Figure(**unknown | {key: value for key, value in row.items() if value is not None}) for row in rows]


def card_tables(figures: Sequence[Figure]) -> str:
    """Returns the tables of the card, in Markdown.

    The first table shows how well the grader reads each kind of reply, in each wording: the mean over the propositions,
    and the worst proposition. Each other group of figures gets a table of its own.
    """
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    # Wording -> kind of reply -> cell.
    grader_columns: dict[str, dict[str, str]] = {}
    other_tables: list[str] = []
    for group, members in groups.items():
        if group.count(",") == 2:  # "grader, kind of reply, wording"
            _, source, wording = group.split(", ")
            propositions = [figure for figure in members if figure.must_be == "at least"]
            worst = lowest(propositions)
            mean = sum(figure.value for figure in propositions) / len(propositions)
            grader_columns.setdefault(wording, {})[source] = f"{mean:.3f}; {worst.value:.3f} {worst.name}"
            for figure in members:
                if figure.must_be == "at most":
                    grader_columns.setdefault(figure.name, {})[source] = figure.text
        else:
            column = {figure.name: f"{figure.text} | {figure.verdict}" for figure in members}
            table = table_of_columns({"figure | bar": column}, "")
            other_tables.append(f"**{group[0].upper()}{group[1:]}**\n\n{table}")
    heading = "**Grader: balanced accuracy, mean over the 21 propositions; lowest proposition**"
    return "\n\n".join([f"{heading}\n\n{table_of_columns(grader_columns, '')}", *other_tables])
