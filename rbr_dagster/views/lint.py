"""What `rbr lint` found, for people and for programs."""

import json
from typing import Any

from rbr.errors import InputError, Location
from rbr.rulebook.lint import LintReport


def as_json(report: LintReport) -> str:
    """Errors and warnings, each with file, line, column, key, what and hint, as a JSON object."""
    return json.dumps(
        {"errors": list(map(_entry, report.errors)), "warnings": list(map(_entry, report.warnings))},
        indent=2,
        ensure_ascii=False,
    )


def as_text(report: LintReport) -> str:
    """A paragraph for each, and how many there are."""
    errors, warnings = len(report.errors), len(report.warnings)
    return "\n".join(
        [
            *(f"error    {error}" for error in report.errors),
            *(f"warning  {warning}" for warning in report.warnings),
            f"{errors or 'no'} error{'s' * (errors != 1)}, {warnings or 'no'} warning{'s' * (warnings != 1)}",
        ]
    )


def _entry(problem: InputError) -> dict[str, Any]:
    place = problem.where if isinstance(problem.where, Location) else Location(problem.where)
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "key": place.key,
        "what": problem.what,
        "hint": problem.hint,
    }
