"""Renders the report of `rbr lint` as text or JSON."""

import json
from typing import Any

from rbr.errors import InputError, Location
from rbr.rulebook.lint import LintReport


def as_json(report: LintReport) -> str:
    """Returns errors and warnings as a JSON object, each with file, line, column, key, what and hint."""
    return json.dumps(
        {"errors": list(map(_entry, report.errors)), "warnings": list(map(_entry, report.warnings))},
        indent=2,
        ensure_ascii=False,
    )


def as_text(report: LintReport) -> str:
    """Returns each error and warning as a paragraph, and a last line with their numbers."""
    errors, warnings = len(report.errors), len(report.warnings)
    return "\n".join(
        [
            *(f"error    {error}" for error in report.errors),
            *(f"warning  {warning}" for warning in report.warnings),
            f"{errors or 'no'} error{'s' * (errors != 1)}, {warnings or 'no'} warning{'s' * (warnings != 1)}",
        ]
    )


def _entry(problem: InputError) -> dict[str, Any]:
    where = problem.where if isinstance(problem.where, Location) else Location(problem.where)
    return {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "key": where.key,
        "what": problem.what,
        "hint": problem.hint,
    }
