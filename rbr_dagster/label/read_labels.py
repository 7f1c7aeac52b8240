"""Reads a filled-in sheet, and finds everything that is wrong with it before anything is written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import InputError, Location, printable, spelling_hint
from rbr.files.schema_errors import sorted_by_line
from rbr.rulebook import load_rulebook
from rbr_dagster.environment import Environment
from rbr_dagster.label.gold_file import AddedLabels, LabeledReply, add_labels
from rbr_dagster.label.new_sheet import as_plain_text
from rbr_dagster.label.sheet import CATEGORY, GRADE_PREFIX, ID, PROMPT, REMARK, REPLY, SheetRow, read_sheet, unescape
from rbr_dagster.label.stored_replies import StoredReply, read_stored_replies

_ANSWERS: Mapping[str, bool] = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_EMPTY = frozenset({"", "-"})


@dataclass(frozen=True)
class ReadSheet:
    """A sheet whose labels were added to a gold file.

    Attributes:
        added: What was added.
        without_label: Number of rows in which nobody has written a label.
    """

    added: AddedLabels
    without_label: int


def read_labels(environment: Environment, sheet: Path, gold: Path) -> ReadSheet:
    """Adds the labels of a sheet to a gold file, all of them or none.

    Args:
        environment: State directory with the replies, and rulebook.
        sheet: A sheet that `make_sheet` has written, with labels.
        gold: The gold file, created if it does not exist.

    Raises:
        InputError: Something is wrong with the sheet, or its labels contradict the gold file. All problems are
            reported, each with file and line, and nothing is written.
    """
    rulebook = load_rulebook(environment.rulebook)
    columns, rows, problems = read_sheet(sheet)
    propositions = [name for name in columns if name not in (ID, CATEGORY, PROMPT, REPLY, REMARK)]
    propositions = [name for name in propositions if not name.startswith(GRADE_PREFIX)]
    problems += _column_problems(sheet, columns, propositions, rulebook.propositions)
    # The cells of an unknown column are no further problems.
    propositions = [name for name in propositions if name in rulebook.propositions]
    stored = read_stored_replies(environment.store)
    first_lines: dict[str, int] = {}
    labeled: list[LabeledReply] = []
    without_label = 0
    for row in rows:
        where = Location(str(sheet), row.line)
        found = list(_row_problems(where, row, stored, first_lines, rulebook.content_policy.categories))
        labels: dict[str, bool] = {}
        for name in propositions:
            try:
                answer = _answer(row.fields.get(name))
            except ValueError as error:
                at = Location(str(sheet), row.line, key_path=(name,))
                found.append(InputError(str(error), where=at, hint="Write yes, no, true, false, 1 or 0, or nothing."))
            else:
                if answer is not None:
                    labels[name] = answer
        problems += found
        if not labels and not found:
            without_label += 1
        elif not found:
            reply = stored[str(row.fields[ID])]
            labeled.append(LabeledReply(where, reply.messages, reply.text, _text(row, CATEGORY), labels))
    if problems:
        raise InputError.collect(sorted_by_line(problems))
    if not labeled:
        hint = "Write yes or no into the columns of the propositions."
        raise InputError("the sheet has no label", where=Location(str(sheet)), hint=hint)
    return ReadSheet(add_labels(gold, labeled), without_label)


def _column_problems(
    sheet: Path, columns: Collection[str], propositions: Collection[str], known: Collection[str]
) -> list[InputError]:
    """Returns a problem for each column that is missing, doubled or no proposition."""
    where = Location(str(sheet), 1)
    problems = [
        InputError(f"the column `{name}` is missing", where=where, hint="`rbr label new` writes it. Do not remove it.")
        for name in (ID, CATEGORY, PROMPT, REPLY)
        if name not in columns
    ]
    problems += [
        InputError(f"two columns have the name `{printable(name)}`", where=where, hint="Remove one of the two.")
        for name in sorted({name for name in columns if list(columns).count(name) > 1})
    ]
    return problems + [
        InputError(f"unknown proposition {printable(name)!r}", where=where, hint=spelling_hint(name, known))
        for name in propositions
        if name not in known
    ]


def _row_problems(
    where: Location,
    row: SheetRow,
    stored: Mapping[str, StoredReply],
    first_lines: dict[str, int],
    categories: Collection[str],
) -> list[InputError]:
    """Returns the problems of the columns that are no proposition."""

    def problem(column: str, what: str, hint: str) -> InputError:
        return InputError(what, where=Location(where.file, where.line, key_path=(column,)), hint=hint)

    name = _text(row, ID)
    reply = stored.get(name)
    if reply is None:
        hint = (
            "Copy the id from the original sheet. RBR_HOME and the prompts file must be the ones that it was made from."
        )
        return [problem(ID, f"no stored reply has the id {printable(name)!r}", hint)]
    problems = []
    if (first := first_lines.setdefault(name, where.line or 0)) != where.line:
        problems.append(problem(ID, f"the reply is the same as in line {first}", "Remove one of the two rows."))
    for column, expected in ((PROMPT, as_plain_text(reply.messages)), (REPLY, reply.text)):
        if column in row.fields and not _is_same_text(_text(row, column), expected):
            hint = "Labels count only for the original text. Copy it from the original sheet."
            problems.append(problem(column, f"the text of the {column} was changed", hint))
    category = _text(row, CATEGORY)
    if category not in categories and CATEGORY in row.fields:
        what = f"the category {printable(category)!r} is not in the content policy"
        problems.append(problem(CATEGORY, what, spelling_hint(category, categories)))
    return problems


def _answer(value: object) -> bool | None:
    """Returns a label, or None for an empty cell. Raises a ValueError for any other value."""
    # In JSON, 1 and 0 may be numbers.
    text = "" if value is None else str(value).strip().lower()
    if text in _EMPTY:
        return None
    if text not in _ANSWERS or isinstance(value, float):
        raise ValueError(f"{printable(str(value))!r} is no answer")
    return _ANSWERS[text]


def _text(row: SheetRow, column: str) -> str:
    value = row.fields.get(column)
    return "" if value is None else str(value)


def _is_same_text(cell: str, original: str) -> bool:
    """Compares texts. Spreadsheets may change line breaks, or drop the apostrophe in front of a formula."""
    texts = (_unified(cell), _unified(unescape(cell)))
    return _unified(original) in texts


def _unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
