"""Renders the explanation of a reward as text or JSON."""

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from rbr.reward.explanation import Explanation
from rbr_dagster.explain.explained_reply import ExplainedReply

_SMALL_TERM = 0.005


def as_json(explained: ExplainedReply) -> str:
    """Returns the explanation as a JSON object."""
    explanation = explained.explanation
    return json.dumps(
        {
            "prompt": explained.prompt,
            "reply": explained.reply,
            "category": explained.category,
            "p_category": explained.p_category,
            "response_type": explained.response_type,
            "grades": [{**asdict(grade), "holds": grade.holds} for grade in explanation.grades],
            "class": explanation.class_name,
            "class_probabilities": explanation.class_probabilities,
            "r_rm": explanation.r_rm,
            "terms": [{**asdict(term), "reward": term.reward} for term in explanation.terms],
            "r_rbr": explanation.r_rbr,
            "r_tot": explanation.r_tot,
        },
        indent=2,
        ensure_ascii=False,
    )


def as_text(explained: ExplainedReply) -> RenderableType:
    """Returns the explanation as tables: grades, class probabilities, and R_tot as a waterfall."""
    explanation = explained.explanation
    confidence = "" if explained.p_category is None else f" (found by the grader, P {explained.p_category:.2f})"
    summary = [
        f"[bold]User[/bold]       {escape(explained.prompt[-1]['content'])}",
        f"[bold]Assistant[/bold]  {escape(explained.reply)}",
        f"[bold]Category[/bold]   {explained.category}{confidence}, response type {explained.response_type}",
        f"[bold]Class[/bold]      {explanation.class_name or '-'}",
    ]
    if not explanation.grades:
        r_rm_only = f"The reward has no weights for {explained.response_type}: R_tot is R_rm, {explanation.r_rm:.3f}."
        return Group(*summary, r_rm_only)
    return Group(*summary, "", _grades(explanation), _classes(explanation), _waterfall(explanation))


def _grades(explanation: Explanation) -> Table:
    table = _table("Propositions", "P(yes)", "threshold", "true")
    for grade in sorted(explanation.grades, key=lambda grade: (not grade.holds, grade.proposition)):
        p_yes = "unreadable" if grade.p_yes is None else f"{grade.p_yes:.3f}"
        table.add_row(grade.proposition, p_yes, f"{grade.threshold:.2f}", "yes" if grade.holds else "")
    return table


def _classes(explanation: Explanation) -> Table:
    table = _table("Classes", "probability")
    for name, probability in explanation.class_probabilities.items():
        table.add_row(name, f"{probability:.3f}")
    return table


def _waterfall(explanation: Explanation) -> Table:
    table = _table("R_tot", "phi", "w", "w * phi", "so far")
    total = explanation.r_rm
    table.add_row("R_rm", "", "", "", _number(total))
    small = [term for term in explanation.terms if abs(term.reward) < _SMALL_TERM]
    for term in explanation.terms:
        if term not in small:
            total = None if total is None else total + term.reward
            numbers = f"{term.value:.3f}", f"{term.weight:+.3f}", f"{term.reward:+.3f}"
            table.add_row(term.feature, *numbers, _number(total))
    if small:
        table.add_row(f"{len(small)} smaller terms", "", "", f"{sum(term.reward for term in small):+.3f}", "")
    table.add_row("R_rm + R_rbr", "", "", "", _number(explanation.r_tot), style="bold")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column(title)
    for column in columns:
        table.add_column(column, justify="right")
    return table
