"""The reward of one reply taken apart, for people and for programs."""

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from rbr.reward.explanation import Explanation
from rbr_dagster.explain.explain import Explained

_SMALL = 0.005


def as_json(explained: Explained) -> str:
    """The explanation as a JSON object."""
    own = explained.explanation
    return json.dumps(
        {
            "prompt": explained.prompt,
            "reply": explained.reply,
            "category": explained.category,
            "p_category": explained.p_category,
            "response_type": explained.response_type,
            "grades": [{**asdict(grade), "holds": grade.holds} for grade in own.grades],
            "class": own.class_name,
            "class_probabilities": own.class_probabilities,
            "r_rm": own.r_rm,
            "terms": [{**asdict(term), "reward": term.reward} for term in own.terms],
            "r_rbr": own.r_rbr,
            "r_tot": own.r_tot,
        },
        indent=2,
        ensure_ascii=False,
    )


def as_text(explained: Explained) -> RenderableType:
    """The explanation as tables: grades, class probabilities, and R_tot as a waterfall."""
    own = explained.explanation
    found = "" if explained.p_category is None else f" (found by the grader, P {explained.p_category:.2f})"
    head = [
        f"[bold]User[/bold]       {escape(explained.prompt[-1]['content'])}",
        f"[bold]Assistant[/bold]  {escape(explained.reply)}",
        f"[bold]Category[/bold]   {explained.category}{found}, to be answered with {explained.response_type}",
        f"[bold]Class[/bold]      {own.class_name or '-'}",
    ]
    if not own.grades:
        return Group(*head, f"No reward was fitted for {explained.response_type}: R_rm alone counts, {own.r_rm:.3f}.")
    return Group(*head, "", _grades(own), _classes(own), _waterfall(own))


def _grades(own: Explanation) -> Table:
    table = _table("Propositions", "P(yes)", "from", "")
    for grade in sorted(own.grades, key=lambda grade: (not grade.holds, grade.proposition)):
        p_yes = "unread" if grade.p_yes is None else f"{grade.p_yes:.3f}"
        table.add_row(grade.proposition, p_yes, f"{grade.threshold:.2f}", "yes" if grade.holds else "")
    return table


def _classes(own: Explanation) -> Table:
    table = _table("Classes", "probability")
    for name, probability in own.class_probabilities.items():
        table.add_row(name, f"{probability:.3f}")
    return table


def _waterfall(own: Explanation) -> Table:
    table = _table("R_tot", "phi", "w", "w * phi", "so far")
    total = own.r_rm
    table.add_row("R_rm", "", "", "", _number(total))
    small = [term for term in own.terms if abs(term.reward) < _SMALL]
    for term in own.terms:
        if term not in small:
            total = None if total is None else total + term.reward
            shown = f"{term.value:.3f}", f"{term.weight:+.3f}", f"{term.reward:+.3f}"
            table.add_row(term.feature, *shown, _number(total))
    if small:
        table.add_row(f"{len(small)} smaller ones", "", "", f"{sum(term.reward for term in small):+.3f}", "")
    table.add_row("R_rm + R_rbr", "", "", "", _number(own.r_tot), style="bold")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column(title)
    for column in columns:
        table.add_column(column, justify="right")
    return table
