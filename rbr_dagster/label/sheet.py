"""The file format of a sheet of labels: CSV for spreadsheets, or JSON Lines.

A spreadsheet runs a cell that begins with ``=`` as a formula, and replies of a model are text of a stranger. In CSV,
such a text gets an apostrophe in front, so that it is shown as text. `unescape` takes the apostrophe away.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import InputError, Location
from rbr.files.json_document import parse_json
from rbr.files.table_file import csv_delimiter, csv_header
from rbr.files.text_file import read_text

ID, CATEGORY, PROMPT, REPLY = "id", "category", "prompt", "reply"
TEXT_COLUMNS = (ID, CATEGORY, PROMPT, REPLY)
"""The columns that are no proposition."""

REMARK = "remark"
"""A column for the words of a labeler. It is ignored when a sheet is read."""

GRADE_PREFIX = "grade: "
"""Beginning of the name of a column with grades. Such columns are ignored when a sheet is read."""

# The last four are full-width forms, which some spreadsheets read like the first four.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_APOSTROPHE = "'"


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet.

    Attributes:
        line: Line number in the file, from 1. A row of a CSV file can have several lines; it is the first.
        fields: Values by column. All values of a CSV file are text.

    Example:
        >>> SheetRow(2, {"id": "c", "apology": "yes"}).fields["apology"]
        'yes'
    """

    line: int
    fields: Mapping[str, object]


def check_suffix(path: Path) -> None:
    """Checks that the name of a sheet says its format.

    Raises:
        InputError: The name does not end in .csv or .jsonl.
    """
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise InputError("unknown format of a sheet", where=str(path), hint="Use a name that ends in .csv or .jsonl.")


def write_sheet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Writes a new sheet. A value of None is an empty cell.

    Raises:
        InputError: The file exists, cannot be written, or its name does not say its format.
    """
    check_suffix(path)
    if path.suffix.lower() == ".jsonl":
        text = "".join(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n" for row in rows)
        data = text.encode()
    else:
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if row[name] is None else escape(str(row[name])) for name in columns])
        # Without the byte order mark, Excel reads the file in the encoding of the computer.
        data = stream.getvalue().encode("utf-8-sig")
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        hint = "Choose another name. The file may contain labels."
        raise InputError("the sheet exists", where=str(path), hint=hint) from error
    except OSError as error:
        what = f"the sheet cannot be written: {error.strerror}"
        raise InputError(what, where=str(path), hint="Choose another directory.") from error


def read_sheet(path: Path) -> tuple[list[str], list[SheetRow], list[InputError]]:
    """Reads a sheet. A CSV file may use commas, semicolons or tabs, since spreadsheets save it in their own way.

    Returns:
        The columns, the rows that can be used, and the problems of the others.

    Raises:
        InputError: The file cannot be read, or has no header.
    """
    check_suffix(path)
    return _read_json_lines(path) if path.suffix.lower() == ".jsonl" else _read_csv(path)


def escape(text: str) -> str:
    """Makes text safe to open in a spreadsheet: it never begins like a formula.

    Example:
        >>> escape("=1+1"), escape("'Tis"), escape("Hello")
        ("'=1+1", "''Tis", 'Hello')
    """
    return _APOSTROPHE + text if text.startswith((*_FORMULA_STARTS, _APOSTROPHE)) else text


def unescape(text: str) -> str:
    """Returns the text that was escaped.

    Example:
        >>> unescape("'=1+1"), unescape("''Tis"), unescape("Hello")
        ('=1+1', "'Tis", 'Hello')
    """
    return text.removeprefix(_APOSTROPHE)


def _read_csv(path: Path) -> tuple[list[str], list[SheetRow], list[InputError]]:
    text = read_text(path)
    delimiter = csv_delimiter(text)
    header = csv_header(text, delimiter)
    if ID not in header:
        hint = "The first line names the columns: id, category, prompt, reply and the propositions."
        raise InputError("the sheet has no column `id`", where=Location(str(path), 1), hint=hint)
    rows: list[SheetRow] = []
    problems: list[InputError] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    # A single reply can be longer than the default limit of the module.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    line = 1
    try:
        for number, fields in enumerate(reader):
            where = Location(str(path), line)
            line = reader.line_num + 1
            if number == 0 or not any(fields):
                continue
            if len(fields) != len(header):
                what = f"{len(fields)} fields instead of {len(header)}"
                problems.append(InputError(what, where=where, hint="Put quotes around a text with a delimiter in it."))
                continue
            rows.append(SheetRow(where.line or 1, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        where = Location(str(path), line)
        problems.append(InputError(f"not valid CSV: {error}", where=where, hint="Check the quotes of the row."))
    return header, rows, problems


def _read_json_lines(path: Path) -> tuple[list[str], list[SheetRow], list[InputError]]:
    columns: dict[str, None] = {}
    rows: list[SheetRow] = []
    problems: list[InputError] = []
    # Not splitlines(), which also splits at U+2028 and similar characters. JSON allows them inside a string.
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        hint = "Write one JSON object per line."
        try:
            content = parse_json(text, str(path), line=line, hint=hint).content
        except InputError as error:
            problems.append(error)
            continue
        if not isinstance(content, dict):
            problems.append(InputError("the line is not an object", where=Location(str(path), line), hint=hint))
            continue
        columns |= dict.fromkeys(content)
        rows.append(SheetRow(line, content))
    return list(columns), rows, problems
