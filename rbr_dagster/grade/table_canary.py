"""The canary of a table of grades: the first answers to the fixed questions, in a file beside the table."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rbr.errors import InputError, Location
from rbr.files.file_replacement import whole_file
from rbr.files.grade_table import beside_table
from rbr.grading import Grader, OnProgress, Outcome
from rbr.grading.answers import Answer
from rbr.grading.canary import ModelChanged, check_model, has_canary
from rbr.grading.canary_probes import ProbeAnswers
from rbr.profile import GraderSettings

CANARY_SUFFIX = ".canary.json"


@runtime_checkable
class NamesItsModel(Protocol):
    """A grader that knows which model answered, by the model's own words."""

    answered_by: str


def check_table_canary(
    table: Path, identity: str, settings: GraderSettings, grader: Grader, on_progress: OnProgress
) -> str:
    """Asks a grader behind a server the fixed questions, and compares the answers with those beside the table.

    The first time, the answers are written to the file ``TABLE.canary.json``, with the name of the model that gave them
    if the answers contain it. The answers of a grader with another identity are replaced. A grader in process has no
    canary.

    Args:
        table: The table of grades.
        identity: Identity of the grader.
        settings: Section `grader` of the profile.
        grader: The grader to ask.
        on_progress: See `rbr.grading.OnProgress`.

    Returns:
        How many questions have a readable answer, the noise and the drift in words; empty without a canary.

    Raises:
        InputError: The model behind the server has changed (`rbr.grading.canary.ModelChanged`), another model is named,
            the server is not one judge, some questions got no answer, or the file cannot be used. The file is not
            changed then.
    """
    if not has_canary(settings):
        return ""
    path = beside_table(table, CANARY_SUFFIX)
    stored = _read(path) if path.exists() else {}
    if stored.get("grader") != identity:
        stored = {"grader": identity, "asked_at": datetime.now(UTC).isoformat(timespec="seconds")}
    first, again = _answers(stored, "first"), _answers(stored, "again")
    checked = check_model(grader, settings, first, again, since=stored["asked_at"], on_progress=on_progress)
    name = grader.answered_by if isinstance(grader, NamesItsModel) else ""
    before = stored.get("answered_by", "")
    if name and before and name != before:
        raise ModelChanged(
            f"the model behind the name {settings.model_name!r} has changed: since {stored['asked_at']}, answers name "
            f"{before!r}, and now {name!r}",
            where=settings.base_url or "grader.base_url",
            hint="Nothing was graded. Set grader.model_name to the dated name of the old model. To go on with the new "
            "model, raise grader.model_epoch by 1, and name another table.",
        )
    if checked.new or (name and not before):
        stored |= {
            "first": _as_json({**first, **checked.new}),
            "again": _as_json({**again, **checked.again}),
        }
        if name:
            stored["answered_by"] = name
        with whole_file(path) as stream:
            stream.write(f"{json.dumps(stored, indent=2)}\n".encode())
    return checked.words


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        _ = stored["grader"], stored["asked_at"], stored.get("answered_by", "").strip()
        for name in ("first", "again"):
            _answers(stored, name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = "the file does not contain the canary's answers that `rbr grade` has written"
        hint = "Delete the file. Then it is not known whether the model changed since the table was written."
        raise InputError(what, where=Location(str(path)), hint=hint) from error
    return dict(stored)


def _answers(stored: Mapping[str, Any], name: str) -> dict[str, Answer]:
    return {
        probe: Answer(Outcome(answer["outcome"]), nan if answer["p_yes"] is None else float(answer["p_yes"]))
        for probe, answer in stored.get(name, {}).items()
    }


def _as_json(answers: ProbeAnswers) -> dict[str, dict[str, Any]]:
    return {
        probe: {
            "outcome": answer.outcome.value,
            "p_yes": answer.p_yes if answer.outcome == Outcome.ANSWERED else None,
        }
        for probe, answer in answers.items()
    }
