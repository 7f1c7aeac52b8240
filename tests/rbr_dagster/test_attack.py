"""`rbr attack`: what the result says about thoughts in the gold replies."""

import json

import polars as pl
from rich.console import Console

from rbr.grading.attacks import CLASSES_SCHEMA, SHIFTS_SCHEMA
from rbr_dagster.attack.attack_view import as_json, as_text
from rbr_dagster.attack.attacked_grader import AttackedGrader

NOTE = "In 1 reply, a thought does not end, so there is no reply after it."


def test_thoughts_in_gold_replies_are_counted_before_the_legend() -> None:
    shifts, classes = pl.DataFrame(schema=SHIFTS_SCHEMA), pl.DataFrame(schema=CLASSES_SCHEMA)
    result = AttackedGrader(shifts, classes, n_replies=1, n_asked=0, has_thresholds=False, thoughts=(NOTE,))
    console = Console(width=200, color_system=None)
    with console.capture() as output:
        console.print(as_text(result))
    lines = output.get().splitlines()
    assert lines[lines.index(NOTE) + 1].startswith("1 gold replies, 0 questions asked")
    assert json.loads(as_json(result))["thoughts"] == [NOTE]
