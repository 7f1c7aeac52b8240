"""The table that `rbr grade` writes: one row per reply and question. A second call continues it."""

import json
import os
from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rbr.errors import InputError, Location
from rbr.files.file_replacement import whole_file
from rbr.files.locked_journal import LockedJournal
from rbr.files.table_file import TableProblems, read_rows

GRADE_SCHEMA = pl.Schema(
    {
        "completion_id": pl.String,
        "proposition": pl.String,
        "p_yes": pl.Float64,
        "outcome": pl.String,
        "bound": pl.Float64,
        "mass": pl.Float64,
        "reason": pl.String,
        "conversation": pl.String,
        "question": pl.String,
        "grader": pl.String,
    }
)
"""Columns of the table. `completion_id`, `proposition` and `p_yes` are what `rbr fit` reads."""

SUFFIXES = (".csv", ".jsonl", ".parquet")
JOURNAL_SUFFIX = ".partial"

_OTHER_FILE = "Choose another file with --out."


class GradeRow(NamedTuple):
    """A row of the table.

    Attributes:
        completion_id: Id of the reply.
        proposition: Name of the proposition.
        p_yes: The grade in [0, 1]; None unless the question was answered.
        outcome: ``answered``, ``unreadable`` or ``refused``. A question that got no answer has no row.
        bound: Largest possible error of the grade, in [0, 1].
        mass: P(yes) + P(no) that was seen, in [0, 1]; None if no probability was seen.
        reason: Why there is no grade; None if it was answered.
        conversation: Hash of the conversation.
        question: Hash of the question with its examples.
        grader: Identity of the grader.

    Example:
        >>> GradeRow("a", "apology", 0.9, "answered", 0.0, 0.99, None, "c", "q", "g").key
        ('a', 'apology')
    """

    completion_id: str
    proposition: str
    p_yes: float | None
    outcome: str
    bound: float
    mass: float | None
    reason: str | None
    conversation: str
    question: str
    grader: str

    @property
    def key(self) -> tuple[str, str]:
        """Id of the reply and name of the proposition. No two rows of a table have the same."""
        return self.completion_id, self.proposition


class GradeTable:
    """A table of grades on disk, with all answers of one grader.

    New answers go to a journal beside the table, chunk by chunk, so that an interruption loses at most one chunk.
    `save` replaces the table as a whole. Use the object as a context manager: it locks the table for other processes.

    Args:
        path: File of the table; the end of its name is .csv, .jsonl or .parquet. It need not exist.
        grader: Identity of the grader.
        grader_name: The grader in words, for errors.

    Raises:
        InputError: The format is unknown, the directory does not exist, the file is not such a table, its answers are
            those of another grader, another process works on it, or the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "grades.csv"
        >>> with GradeTable(path, grader="g") as table:
        ...     table.add([GradeRow("a", "apology", 0.9, "answered", 0.0, 0.99, None, "c", "q", "g")])
        ...     table.save(first=[])
        >>> GradeTable(path, grader="g").has(("a", "apology"), conversation="c", question="q")
        True

    Attributes:
        rows: The rows by key.
    """

    def __init__(self, path: str | Path, grader: str, grader_name: str = "") -> None:
        self._path = Path(path)
        self._grader = grader
        self._grader_name = grader_name or "this one"
        # Two links to a table have one journal, and so one lock.
        self._journal_path = beside_table(self._path, JOURNAL_SUFFIX)
        self._journal: LockedJournal | None = None
        self._n_kept = 0  # Length of the journal of earlier calls, in bytes.
        check_table_path(self._path)
        self.rows = self._load()

    def __enter__(self) -> "GradeTable":
        busy = "another `rbr grade` writes this table"
        self._journal = journal = LockedJournal(self._journal_path, busy, where=self._path)
        try:
            # Another process may have added rows before this one got the lock.
            self.rows = self._load()
        except BaseException:
            self.__exit__()
            raise
        self._n_kept = journal.size
        return self

    def __exit__(self, *error: object) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def has(self, key: tuple[str, str], *, conversation: str, question: str) -> bool:
        """Returns whether the table has the answer to this question about this conversation.

        Args:
            key: Id of the reply and name of the proposition.
            conversation: Hash of the conversation. If the file has another one under the same id, the answer is old.
            question: Hash of the question. If the question was reworded, the answer is old.
        """
        row = self.rows.get(key)
        return row is not None and (row.conversation, row.question) == (conversation, question)

    def add(self, rows: Iterable[GradeRow]) -> None:
        """Adds rows, or replaces old ones, and writes them to the journal."""
        assert self._journal is not None, "use the table as a context manager"
        added = [row._replace(p_yes=_known(row.p_yes), mass=_known(row.mass)) for row in rows]
        # A process that was killed may have left half a line, so a chunk begins with a line end.
        self._journal.append("\n" + "".join(json.dumps(row) + "\n" for row in added))
        self.rows |= {row.key: row for row in added}

    def forget_added(self) -> None:
        """Forgets the rows that were added since the table was locked, because another grader may have given them."""
        assert self._journal is not None, "use the table as a context manager"
        self._journal.truncate(self._n_kept)
        self.rows = self._load()

    def _load(self) -> dict[tuple[str, str], GradeRow]:
        rows: dict[tuple[str, str], GradeRow] = {}
        for path, read in ((self._path, _read_table), (self._journal_path, _read_journal)):
            stored = read(path) if path.exists() else []
            if others := sorted({row.grader for row in stored} - {self._grader}):
                raise InputError(
                    f"the file has answers of another grader ({others[0]}) than {self._grader_name} ({self._grader})",
                    where=Location(str(path)),
                    hint=f"Two graders never share a table. {_OTHER_FILE}",
                )
            rows |= {row.key: row for row in stored}
        return rows

    def save(self, first: Sequence[tuple[str, str]]) -> None:
        """Replaces the table by all rows, and empties the journal.

        Args:
            first: Keys of the first rows, in order. Other rows follow in the order in which they were added.
        """
        keys = [key for key in dict.fromkeys([*first, *self.rows]) if key in self.rows]
        frame = pl.DataFrame([self.rows[key] for key in keys], schema=GRADE_SCHEMA, orient="row")
        with whole_file(self._path) as stream:
            match self._path.suffix.lower():
                case ".csv":
                    frame.write_csv(stream)
                case ".jsonl":
                    frame.write_ndjson(stream)
                case _:
                    frame.write_parquet(stream)
        if self._journal is not None:
            self._journal.truncate()


def beside_table(path: Path, suffix: str) -> Path:
    """Returns the path of a file beside a table. If the table is a link, the file is beside the target.

    Raises:
        InputError: The links form a loop.

    Example:
        >>> beside_table(Path("grades.csv"), ".partial").name
        'grades.csv.partial'
    """
    target = _target(path)
    return target.with_name(target.name + suffix)


def _target(path: Path) -> Path:
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError("the links form a loop", where=Location(str(path)), hint=_OTHER_FILE) from error


def check_table_path(path: Path) -> None:
    """Checks that a table can be written to a path.

    Raises:
        InputError: The format is unknown, the path is a directory, or its directory does not exist or is not writable.

    Example:
        >>> check_table_path(Path("grades.csv"))
    """
    where = Location(str(path))
    if path.suffix.lower() not in SUFFIXES:
        hint = f"Use a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        raise InputError("the format of the table is unknown", where=where, hint=hint)
    if path.is_dir():
        raise InputError("the table cannot be written: it is a directory", where=where, hint=_OTHER_FILE)
    directory = _target(path).parent
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        reason = "you may not write to its directory" if directory.is_dir() else "its directory does not exist"
        raise InputError(f"the table cannot be written: {reason}", where=where, hint=_OTHER_FILE)


def _read_table(path: Path) -> list[GradeRow]:
    problems = TableProblems(path)
    rows = []
    for line, record in read_rows(problems):
        try:
            rows.append(
                GradeRow(
                    completion_id=_text(record, "completion_id"),
                    proposition=_text(record, "proposition"),
                    p_yes=_number(record, "p_yes"),
                    outcome=_text(record, "outcome"),
                    bound=_number(record, "bound") or 0.0,
                    # Tables of the first versions have no such column.
                    mass=_number(record, "mass") if "mass" in record else None,
                    reason=_optional_text(record, "reason"),
                    conversation=_text(record, "conversation"),
                    question=_text(record, "question"),
                    grader=_text(record, "grader"),
                )
            )
        except (LookupError, TypeError, ValueError):
            what = "the file exists and is not a table that `rbr grade` has written"
            raise InputError(what, where=Location(str(path), line), hint=_OTHER_FILE) from None
    if errors := problems.errors():
        raise InputError.collect(errors)
    return rows


def _read_journal(path: Path) -> list[GradeRow]:
    """Reads the journal of a call that was interrupted. A line that was cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(GradeRow(*json.loads(line)))
        except (ValueError, TypeError):
            continue
    return rows


def _text(record: dict[str, object], name: str) -> str:
    value = record[name]
    if not isinstance(value, str) or not value:
        raise TypeError(name)
    return value


def _optional_text(record: dict[str, object], name: str) -> str | None:
    value = record[name]
    return value if isinstance(value, str) and value else None


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value


def _number(record: dict[str, object], name: str) -> float | None:
    value = record[name]
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(name)
    return float(value)
