"""Reads a table that a user brings: CSV, Parquet or JSON Lines, with text columns and number columns."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rbr.errors import InputError, Location, nearest_spelling, printable
from rbr.files.json_document import parse_json
from rbr.files.text_file import read_bytes, read_text

LINE = "line"
"""Column with the number of each row's line, from 1. In a Parquet file: the number of the row, from 1."""

_PARQUET = ".parquet"
_DELIMITERS = (",", ";", "\t")
_FORMATS = "Use a name that ends in .csv, .parquet or .jsonl."


class TableProblems:
    """Collects the problems of a table. Rows with the same problem are reported together, at the first of them.

    Args:
        path: File of the table, as the user named it.

    Example:
        >>> problems = TableProblems("grades.csv")
        >>> problems.add("unknown proposition 'apolgy'", line=2, hint="Did you mean apology?")
        >>> problems.add("unknown proposition 'apolgy'", line=7, hint="Did you mean apology?")
        >>> print(InputError.collect(problems.errors()))
        grades.csv:2: unknown proposition 'apolgy' (in this row and 1 more)
          Did you mean apology?

    Attributes:
        path: File of the table, as the user named it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._lines: dict[tuple[str, str], list[int | None]] = {}

    @property
    def row_word(self) -> str:
        """What the numbers of the rows count: ``line``, or ``row`` in a Parquet file."""
        return "row" if Path(self.path).suffix.lower() == _PARQUET else "line"

    def add(self, what: str, *, line: int | None = None, hint: str = "") -> None:
        """Adds a problem of a row, or of the whole file if `line` is None."""
        self._lines.setdefault((what, hint), []).append(line)

    def errors(self) -> list[InputError]:
        """Returns one error per problem, by the line of its first row. Problems of the whole file come first."""
        by_line = sorted(self._lines.items(), key=lambda item: item[1][0] or 0)
        return [
            InputError(
                what if len(lines) == 1 else f"{what} (in this row and {len(lines) - 1} more)",
                where=Location(self.path, lines[0]),
                hint=hint,
            )
            for (what, hint), lines in by_line
        ]


def read_table(problems: TableProblems, *, text: Sequence[str], numbers: Sequence[str]) -> pl.DataFrame:
    """Reads a table. The end of the file's name decides the format: .csv, .parquet or .jsonl.

    Other columns are ignored. A whole number in a text column is read as text.

    Args:
        problems: Names the file, and collects the problems of its rows. CSV has a header, and commas, semicolons or
            tabs; JSON Lines has one object per line.
        text: Columns that contain text. No field may be empty.
        numbers: Columns that contain numbers. An empty field, null and NaN are missing values.

    Returns:
        Columns line (Int64), then `text` (String) and `numbers` (Float64, null if missing). Rows with a problem are
        left out, so that the caller can check the others. The rows have the order of the file.

    Raises:
        InputError: The file does not exist, cannot be read, or has an unknown format.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("proposition,threshold\\napology,0.4\\njudgement,\\n")
        ...     file.flush()
        ...     read_table(TableProblems(file.name), text=["proposition"], numbers=["threshold"]).rows()
        [(2, 'apology', 0.4), (3, 'judgement', None)]
    """
    rows: list[list[object]] = []
    is_empty = True
    for line, record in _records(problems, [*text, *numbers]):
        is_empty = False
        row: list[object] = [line]
        for name in (*text, *numbers):
            try:
                row.append(_as_text(name, record[name]) if name in text else _as_number(name, record[name]))
            except _UnusableField as error:
                problems.add(error.what, line=line, hint=error.hint)
        if len(row) == 1 + len(text) + len(numbers):
            rows.append(row)
    if is_empty and not problems.errors():
        problems.add("the table has no rows", hint="Add rows.")
    schema = {LINE: pl.Int64(), **dict.fromkeys(text, pl.String()), **dict.fromkeys(numbers, pl.Float64())}
    return pl.DataFrame(rows, schema=schema, orient="row")


class Row(NamedTuple):
    """A row of a table, by column. All fields of a CSV file are text.

    Attributes:
        line: Number of the row's line, from 1. In a Parquet file: the number of the row, from 1.
        record: Value by column.

    Example:
        >>> Row(2, {"proposition": "apology"}).line
        2
    """

    line: int
    record: dict[str, object]


def csv_delimiter(text: str) -> str:
    """Returns the delimiter of a CSV text: comma, semicolon or tab, since spreadsheets save a table in their own way.

    The delimiter is the one that splits the first line with text into the most columns; a comma, if none splits it.

    Example:
        >>> csv_delimiter("id;prompt;reply\\na;Hi, you.;Hello.")
        ';'
    """
    return max(_DELIMITERS, key=lambda delimiter: len(csv_header(text, delimiter)))


def csv_header(text: str, delimiter: str) -> list[str]:
    """Returns the fields of the first line with text; empty if there is none.

    Example:
        >>> csv_header("id,prompt,reply\\na,Hi.,Hello.", ",")
        ['id', 'prompt', 'reply']
    """
    try:
        return next((fields for fields in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if fields), [])
    except csv.Error:
        return []


def read_rows(problems: TableProblems) -> list[Row]:
    """Reads a table with all of its columns. The end of the file's name decides the format, as for `read_table`.

    Args:
        problems: Names the file, and collects the problems of its rows. Rows with a problem are left out.

    Raises:
        InputError: The file does not exist, cannot be read, or has an unknown format.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"prompt": "Hi.", "reply": "Hello."}')
        ...     file.flush()
        ...     read_rows(TableProblems(file.name))
        [Row(line=1, record={'prompt': 'Hi.', 'reply': 'Hello.'})]
    """
    rows = list(_records(problems, ()))
    if not rows and not problems.errors():
        problems.add("the table has no rows", hint="Add rows.")
    return rows


class _UnusableField(Exception):
    """A field does not have the type of its column."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def _records(problems: TableProblems, columns: Sequence[str]) -> Iterator[Row]:
    """Yields the rows that have all of `columns`; a row has its other columns, too."""
    suffix = Path(problems.path).suffix.lower()
    if suffix == ".csv":
        yield from _csv_records(columns, problems)
    elif suffix == ".jsonl":
        yield from _json_records(columns, problems)
    elif suffix == _PARQUET:
        yield from _parquet_records(columns, problems)
    else:
        raise InputError("the format of the table is unknown", where=Location(problems.path), hint=_FORMATS)


def _csv_records(columns: Sequence[str], problems: TableProblems) -> Iterator[Row]:
    # Without newline="", the reader would not see line breaks inside quotes.
    text = read_text(problems.path)
    delimiter = csv_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            if header is None and fields:
                header = fields
                if not _has_columns(header, columns, problems, line):
                    return
            elif fields and header is not None:
                if len(fields) == len(header):
                    yield Row(line, dict(zip(header, fields, strict=True)))
                else:
                    hint = "Put quotes around a field that contains a delimiter."
                    problems.add(f"{len(fields)} fields instead of {len(header)}", line=line, hint=hint)
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(f"not valid CSV: {error}", line=line, hint="Check the quotes of the row.")


def _json_records(columns: Sequence[str], problems: TableProblems) -> Iterator[Row]:
    # Not splitlines(), which also splits at U+2028 and similar characters. JSON allows them inside a string.
    for line, text in enumerate(read_text(problems.path).split("\n"), start=1):
        if not text.strip():
            continue
        hint = "Write one JSON object per line."
        try:
            content = parse_json(text, problems.path, line=line, hint=hint).content
        except InputError as error:
            problems.add(error.what, line=line, hint=hint)
            continue
        if not isinstance(content, dict):
            problems.add("the line is not an object", line=line, hint=hint)
        elif _has_columns(list(content), columns, problems, line):
            yield Row(line, content)


def _parquet_records(columns: Sequence[str], problems: TableProblems) -> Iterator[Row]:
    try:
        frame = pl.read_parquet(io.BytesIO(read_bytes(problems.path)))
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n")[0]
        what = f"the file is not Parquet: {reason}"
        raise InputError(what, where=Location(problems.path), hint=_FORMATS) from error
    if _has_columns(frame.columns, columns, problems, None):
        for row, record in enumerate(frame.iter_rows(named=True), start=1):
            yield Row(row, record)


def _has_columns(header: list[str], columns: Sequence[str], problems: TableProblems, line: int | None) -> bool:
    """Returns whether the header names each column once; otherwise adds the problems."""
    unusable = [name for name in columns if header.count(name) != 1]
    for name in unusable:
        if name in header:
            problems.add(f"two columns have the name `{name}`", line=line, hint="Rename one of the two.")
            continue
        near = nearest_spelling(name, tuple(key for key in header if key not in columns))
        question = f"Did you write {printable(near)}? " if near else ""
        hint = f"{question}The columns of the file: {', '.join(map(printable, header))}."
        problems.add(f"the column `{name}` is missing", line=line, hint=hint)
    return not unusable


def _as_text(name: str, value: object) -> str:
    # A bool is an int, too.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _UnusableField(f"`{name}` is empty", "Write a value.")
    if not isinstance(value, str):
        raise _UnusableField(f"`{name}` is {_shown(value)}, but must be text", "Write text.")
    return value


def _as_number(name: str, value: object) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = None
    # Every field of a CSV file is text. A bool is an int, too.
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if number is None or math.isinf(number):
        hint = "Write a number, or leave the field empty if the value is missing."
        raise _UnusableField(f"`{name}` is {_shown(value)}, but must be a number", hint)
    return None if math.isnan(number) else number


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else printable(str(value))
