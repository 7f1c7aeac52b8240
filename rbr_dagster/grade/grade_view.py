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
    counts = f"{_number(graded.n_replies, 'reply', 'replies')}, {_number(n_grades, 'grade', 'grades')}"
    return f"{table}: {counts}: {n_grades - graded.n_kept:,} new, {graded.n_kept:,} already in the table"


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def notes(graded: GradedFile) -> Iterator[str]:
    """Yields the lines about what is missing and what is unusual."""
    if graded.n_repeated:
        rows = _number(graded.n_repeated, "row repeats", "rows repeat")
        yield f"{rows} an earlier conversation, which is graded once."
    if graded.n_replaced:
        what = "about another conversation or wording"
        yield _number(graded.n_replaced, f"answer {what} was replaced.", f"answers {what} were replaced.")
    if graded.n_neutralized:
        tokens = _number(graded.n_neutralized, "control token", "control tokens")
        yield f"{tokens} that the conversations spell out: neutralized for the server."
    yield from graded.thoughts
    yield from graded.warnings
    if graded.canary:
        yield f"The fixed questions to the server: {graded.canary}."
    if graded.n_missing:
        has = "has" if graded.n_missing == 1 else "have"
        yield f"{graded.n_missing:,} of {_number(graded.n_cells, 'question', 'questions')} {has} no grade:"
    for outcome, reasons in graded.without_grade.items():
        yield f"  {reasons.total():,} {outcome}"
        for reason, count in reasons.most_common(_SHOWN_REASONS):
            yield f"    {count:,}: {reason or _NO_REASON.get(outcome, 'no reason given')}"
        if len(reasons) > _SHOWN_REASONS:
            others = _number(len(reasons) - _SHOWN_REASONS, "other reason", "other reasons")
            yield f"    and {others}; see the column `reason`"
    if graded.stopped is not None:
        yield str(graded.stopped)
    if Outcome.NOT_ANSWERED in graded.without_grade:
        yield "Run the command again: it asks only the questions that got no answer."
