"""Renders the counts of `rbr grade` as text."""

from collections.abc import Iterator
from pathlib import Path

from rbr.grading import Outcome
from rbr_dagster.grade.graded_file import GradedFile

_SHOWN_REASONS = 3
_NO_REASON = {Outcome.NOT_ANSWERED: "not asked, because the grader stopped answering"}


def summary(graded: GradedFile, table: Path) -> str:
    """Returns what was graded, in one line."""
    n_grades = graded.n_cells - graded.n_missing
    return f"{table}: {n_grades:,} grades of {graded.n_replies:,} replies, {graded.n_kept:,} of them from before"


def notes(graded: GradedFile) -> Iterator[str]:
    """Yields the lines about what is missing and what is unusual."""
    if graded.n_repeated:
        yield f"{graded.n_repeated:,} rows repeat an earlier conversation and share its grades."
    if graded.n_replaced:
        yield f"{graded.n_replaced:,} answers about another conversation or wording were replaced."
    if graded.n_neutralized:
        yield f"{graded.n_neutralized:,} control tokens that the conversations spell out were neutralized."
    yield from graded.thoughts
    yield from graded.warnings
    if graded.n_missing:
        yield f"{graded.n_missing:,} of {graded.n_cells:,} questions have no grade:"
    for outcome, reasons in graded.without_grade.items():
        yield f"  {reasons.total():,} {outcome}"
        for reason, count in reasons.most_common(_SHOWN_REASONS):
            yield f"    {count:,}: {reason or _NO_REASON.get(outcome, 'no reason given')}"
        if len(reasons) > _SHOWN_REASONS:
            yield f"    and {len(reasons) - _SHOWN_REASONS:,} other reasons; see the column `reason`"
    if graded.stopped is not None:
        yield str(graded.stopped)
    if Outcome.NOT_ANSWERED in graded.without_grade:
        yield "Run the command again: it asks only the questions that got no answer."
