"""Renders the explanation of a reward as text or JSON."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rbr.grading import Answer, Outcome
from rbr.reward.explanation import Explanation, PropositionGrade
from rbr.thoughts import Reply
from rbr_dagster.explain.explained_reply import ExplainedReply

_SMALL_TERM = 0.005
_NO_GRADE = {
    Outcome.UNREADABLE: "the answers could not be read",
    Outcome.REFUSED: "a content filter refused",
    Outcome.NOT_ANSWERED: "the grader did not answer",
}
_RULE_SOURCES = {
    "run": "the last run, with its thresholds",
    "files": "the rulebook files, with the threshold 0.5",
}


def as_json(explained: ExplainedReply) -> str:
    """Returns the explanation as a JSON object."""
    explanation = explained.explanation
    return json.dumps(
        {
            "prompt": explained.prompt,
            "reply": explained.reply,
            "thought": None if explained.output is None else explained.output.thought,
            "unclosed_thought": explained.output is not None and explained.output.unclosed,
            "unopened_thought": explained.output is not None and explained.output.unopened,
            "category": explained.category,
            "p_category": explained.p_category,
            "response_type": explained.response_type,
            "rules_from": explained.source,
            "is_fitted": explanation.is_fitted,
            "grades": [_grade_as_json(grade, explained.without_grade) for grade in explanation.grades],
            "unread": explanation.unread,
            "class": explanation.class_name,
            "class_probabilities": explanation.class_probabilities,
            "r_rm": explanation.r_rm,
            "r_rm_problem": explained.r_rm_problem,
            "terms": [
                {**asdict(term), "reward": term.reward, "is_against_sign": term.is_against_sign}
                for term in explanation.terms
            ],
            "r_rbr": explanation.r_rbr,
            "r_tot": explanation.r_tot,
        },
        indent=2,
        ensure_ascii=False,
    )


def _grade_as_json(grade: PropositionGrade, without_grade: Mapping[str, Answer]) -> dict[str, object]:
    answer = without_grade.get(grade.proposition, Answer(Outcome.ANSWERED))
    return {**asdict(grade), "holds": grade.holds, "outcome": answer.outcome.value, "reason": answer.reason or None}


def as_text(explained: ExplainedReply) -> RenderableType:
    """Returns the explanation as tables: grades, class probabilities, and R_tot as a waterfall.

    If no reward was fitted yet, a sentence replaces the waterfall.
    """
    explanation = explained.explanation
    confidence = "" if explained.p_category is None else f" (found by the grader, P {explained.p_category:.2f})"
    thought = None if explained.output is None else explained.output.thought
    summary = [
        _titled("User", explained.prompt[-1]["content"]),
        *([_titled("Thought", thought)] if thought is not None else []),
        _titled("Assistant", explained.reply),
        _titled("Category", f"{explained.category}{confidence}, response type {explained.response_type}"),
        _titled("Class", _class(explanation)),
    ]
    if explained.output is not None:
        summary += _thoughts(explained.output)
    summary += _unread(explained)
    tables = [_grades(explained)]
    if explanation.class_probabilities:
        tables.append(_classes(explanation))
    if explanation.is_fitted:
        return Group(
            *summary, "", *tables, _waterfall(explanation), *_against_signs(explanation), *_missing_terms(explained)
        )
    return Group(*summary, "", *tables, *_without_reward(explained))


def _titled(title: str, text: str) -> Text:
    return Text.assemble((f"{title:<9}", "bold"), f"  {text}")


def _thoughts(output: Reply) -> list[Text]:
    """Returns a line for each thing about thoughts that leads to another reply than the user may expect."""
    lines = []
    if output.unclosed:
        lines.append(_titled("Note", "a thought does not end, so there is no reply after it"))
    if output.unopened:
        lines.append(_titled("Note", "a mark ends a thought that did not begin, so the whole text is the reply"))
    return lines


def _unread(explained: ExplainedReply) -> list[Text]:
    """Returns a line for each outcome of the answers without a grade, with the commonest reason."""
    answers = {name: _without_grade(explained, name) for name in explained.explanation.unread}
    lines = []
    for outcome, words in _NO_GRADE.items():
        names = [name for name, answer in answers.items() if answer.outcome == outcome]
        reasons = Counter(answers[name].reason for name in names if answers[name].reason)
        if reasons:
            words += f": {reasons.most_common(1)[0][0]}"
        if len(reasons) > 1:
            words += f"; {len(reasons) - 1} other reasons, see --json"
        if names:
            lines.append(_titled("Unread", f"{', '.join(names)}: {words}"))
    return lines


def _without_grade(explained: ExplainedReply, name: str) -> Answer:
    return explained.without_grade.get(name, Answer(Outcome.UNREADABLE))


def _class(explanation: Explanation) -> str:
    if explanation.class_name is None:
        return "not certain: it depends on answers that could not be read"
    return (
        f"{explanation.class_name}, whatever the unread answers are" if explanation.unread else explanation.class_name
    )


def _r_rm(explained: ExplainedReply) -> str:
    score = explained.explanation.r_rm
    return f"unknown ({explained.r_rm_problem or ''})" if score is None else f"{score:.3f}"


def _against_signs(explanation: Explanation) -> list[str]:
    """Returns a sentence for each weight that is against the rules."""
    return [
        f"Against the rules: {term.feature} is {term.sign}, but its weight is {term.weight:+.3f}."
        for term in explanation.terms
        if term.is_against_sign
    ]


def _missing_terms(explained: ExplainedReply) -> list[str]:
    """Returns a sentence for each term of R_tot that is missing."""
    lines = []
    if explained.r_rm_problem:
        lines.append(f"R_rm is {_r_rm(explained)}.")
    if not explained.explanation.is_graded:
        lines.append("R_rbr is unknown, because it needs the unread answers.")
    return lines


def _without_reward(explained: ExplainedReply) -> list[str]:
    rules = _RULE_SOURCES[explained.source]
    return [
        f"R_rm is {_r_rm(explained)}.",
        "No reward was fitted yet, so R_rbr and R_tot are unknown. `rbr run --only reward` fits it.",
        f"The rules are those of {rules}.",
    ]


def _grades(explained: ExplainedReply) -> Table:
    table = _table("Propositions", "P(yes)", "threshold", "true")
    for grade in sorted(explained.explanation.grades, key=lambda grade: (not grade.holds, grade.proposition)):
        p_yes = (
            _without_grade(explained, grade.proposition).outcome.value if grade.p_yes is None else f"{grade.p_yes:.3f}"
        )
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
