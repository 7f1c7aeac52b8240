"""Reads the tables that weights are fitted from: grades and scores of replies that were graded elsewhere."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rbr.errors import InputError, printable, spelling_hint
from rbr.files.table_file import LINE, TableProblems, read_table

_UNREAD_HINT = "Add the row. If the answer could not be read, leave p_yes empty."


@dataclass(frozen=True)
class FitTables:
    """The graded and scored replies that weights are fitted from.

    Attributes:
        verified: One row per reply: completion_id, prompt_id, response_type and label.
        grades: One row per reply and proposition: completion_id, proposition and p_yes (null if the answer could not
            be read). Grades of other replies are left out.
        scores: One row per reply: completion_id and score (R_rm; null if it is missing).
        n_other_replies: Number of graded replies that the table of scores does not contain.

    Example:
        >>> tables = FitTables(pl.DataFrame(), pl.DataFrame(), pl.DataFrame(), n_other_replies=3)
        >>> tables.n_other_replies
        3
    """

    verified: pl.DataFrame
    grades: pl.DataFrame
    scores: pl.DataFrame
    n_other_replies: int


def load_fit_tables(
    grades: str | Path,
    scores: str | Path,
    *,
    propositions: Collection[str],
    needed: Mapping[str, Collection[str]],
    labels: Mapping[str, Collection[str]],
) -> FitTables:
    """Reads the table of grades and the table of scores: CSV, Parquet or JSON Lines.

    Args:
        grades: Table with the columns completion_id, proposition and p_yes (empty if the answer could not be read).
        scores: Table with the columns completion_id, prompt_id, response_type, label and score (R_rm; empty if it is
            missing). One row per reply.
        propositions: All propositions of the rulebook.
        needed: Propositions that the classes and features of each response type need, by response type.
        labels: Ranked labels by response type.

    Raises:
        InputError: A table cannot be read, names are unknown, rows are repeated, P(yes) is outside [0, 1], or a reply
            has no row for a proposition that its response type needs. All problems of both tables are reported, each
            with file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     grades, scores = Path(directory, "grades.csv"), Path(directory, "scores.csv")
        ...     _ = grades.write_text("completion_id,proposition,p_yes\\nc,apology,0.9\\n")
        ...     _ = scores.write_text("completion_id,prompt_id,response_type,label,score\\nc,p,comply,good,1.5\\n")
        ...     tables = load_fit_tables(grades, scores, propositions=["apology"], needed={"comply": ["apology"]},
        ...                              labels={"comply": ["good"]})
        >>> tables.grades.rows(), tables.scores.rows()
        ([('c', 'apology', 0.9)], [('c', 1.5)])
    """
    problems: list[InputError] = []
    grade_rows = _rows_or_problems(lambda: _read_grades(grades, propositions), problems)
    score_rows = _rows_or_problems(lambda: _read_scores(scores, labels), problems)
    if grade_rows is not None and score_rows is not None:
        problems += _missing_rows(grade_rows, score_rows, grades, scores, needed)
    if problems or grade_rows is None or score_rows is None:
        raise InputError.collect(problems)
    other_replies = set(grade_rows["completion_id"]) - set(score_rows["completion_id"])
    return FitTables(
        verified=score_rows.select("completion_id", "prompt_id", "response_type", "label"),
        grades=grade_rows.drop(LINE).join(score_rows, on="completion_id", how="semi", maintain_order="left"),
        scores=score_rows.select("completion_id", "score"),
        n_other_replies=len(other_replies),
    )


def load_thresholds(path: str | Path, propositions: Collection[str]) -> dict[str, float]:
    """Reads decision thresholds: a table with the columns proposition and threshold.

    Args:
        path: CSV, Parquet or JSON Lines.
        propositions: All propositions of the rulebook.

    Returns:
        Threshold by proposition, in (0, 1).

    Raises:
        InputError: The table cannot be read, a proposition is unknown or repeated, or a threshold is missing or not
            between 0 and 1. All problems are reported.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     _ = file.write('{"proposition": "apology", "threshold": 0.4}')
        ...     file.flush()
        ...     load_thresholds(file.name, ["apology"])
        {'apology': 0.4}
    """
    problems = TableProblems(path)
    rows = read_table(problems, text=["proposition"], numbers=["threshold"])
    _check_names(rows, "proposition", propositions, problems)
    _check_repeats(rows, ["proposition"], problems)
    for line, threshold in rows.select(LINE, "threshold").iter_rows():
        if threshold is None:
            problems.add("the threshold is missing", line=line, hint="Write a number between 0 and 1.")
        elif not 0 < threshold < 1:
            problems.add(f"the threshold is {threshold:g}", line=line, hint="Write a number between 0 and 1.")
    if errors := problems.errors():
        raise InputError.collect(errors)
    return dict(rows.select("proposition", "threshold").iter_rows())


def _rows_or_problems(read: Callable[[], pl.DataFrame], problems: list[InputError]) -> pl.DataFrame | None:
    """Reads a table. Adds its problems and returns None if it cannot be used."""
    try:
        return read()
    except InputError as error:
        problems.extend(error.problems)
        return None


def _read_grades(path: str | Path, propositions: Collection[str]) -> pl.DataFrame:
    problems = TableProblems(path)
    rows = read_table(problems, text=["completion_id", "proposition"], numbers=["p_yes"])
    _check_names(rows, "proposition", propositions, problems)
    _check_repeats(rows, ["completion_id", "proposition"], problems)
    for line, p_yes in rows.filter((pl.col("p_yes") < 0) | (pl.col("p_yes") > 1)).select(LINE, "p_yes").iter_rows():
        problems.add(f"p_yes is {p_yes:g}", line=line, hint="Write a probability between 0 and 1.")
    if errors := problems.errors():
        raise InputError.collect(errors)
    return rows


def _read_scores(path: str | Path, labels: Mapping[str, Collection[str]]) -> pl.DataFrame:
    problems = TableProblems(path)
    text = ["completion_id", "prompt_id", "response_type", "label"]
    rows = read_table(problems, text=text, numbers=["score"])
    _check_names(rows, "response_type", labels, problems)
    for response_type, known in labels.items():
        of_type = rows.filter(pl.col("response_type") == response_type)
        _check_names(of_type, "label", known, problems, of=f" of {response_type}")
    _check_repeats(rows, ["completion_id"], problems)
    _check_response_types(rows, problems)
    if errors := problems.errors():
        raise InputError.collect(errors)
    return rows


def _check_names(
    rows: pl.DataFrame, column: str, known: Collection[str], problems: TableProblems, of: str = ""
) -> None:
    word = column.replace("_", " ")
    for line, name in rows.filter(~pl.col(column).is_in(list(known))).select(LINE, column).iter_rows():
        problems.add(f"unknown {word} {printable(name)!r}{of}", line=line, hint=spelling_hint(name, known))


def _check_repeats(rows: pl.DataFrame, key: Sequence[str], problems: TableProblems) -> None:
    first = pl.col(LINE).first().over(key)
    for line, first_line in rows.select(LINE, first.alias("first")).filter(pl.col(LINE) != pl.col("first")).iter_rows():
        what = f"{' and '.join(key)} {'is' if len(key) == 1 else 'are'} the same as in {problems.row_word} {first_line}"
        problems.add(what, line=line, hint="Remove one of the two rows.")


def _check_response_types(rows: pl.DataFrame, problems: TableProblems) -> None:
    """Checks that all replies to a prompt have the same response type. Otherwise, the fit could not compare them."""
    first_type, first_line = (pl.col(name).first().over("prompt_id") for name in ("response_type", LINE))
    others = rows.select(LINE, "response_type", first_type.alias("first_type"), first_line.alias("first_line"))
    for line, name, other, other_line in others.filter(pl.col("response_type") != pl.col("first_type")).iter_rows():
        elsewhere = f"{printable(other)} in {problems.row_word} {other_line}"
        what = f"the prompt has the response type {printable(name)} here, and {elsewhere}"
        problems.add(what, line=line, hint="Give all replies to a prompt the same response type.")


def _missing_rows(
    grades: pl.DataFrame,
    scores: pl.DataFrame,
    grades_path: str | Path,
    scores_path: str | Path,
    needed: Mapping[str, Collection[str]],
) -> list[InputError]:
    """Returns the problems of replies and propositions without a row in the table of grades."""
    in_grades, in_scores = TableProblems(grades_path), TableProblems(scores_path)
    graded: dict[str, set[str]] = {}
    for completion_id, name in grades.select("completion_id", "proposition").iter_rows():
        graded.setdefault(completion_id, set()).add(name)
    mentioned = set(grades["proposition"])
    in_use = set(scores["response_type"])
    for response_type, names in needed.items():
        for name in sorted(set(names) - mentioned) if response_type in in_use else ():
            in_grades.add(f"no row grades the proposition `{name}`, which {response_type} needs", hint=_UNREAD_HINT)
    for line, completion_id, response_type in scores.select(LINE, "completion_id", "response_type").iter_rows():
        if completion_id not in graded:
            in_scores.add(f"the reply has no row in {grades_path}", line=line, hint="Check the completion_id.")
            continue
        for name in sorted((set(needed[response_type]) & mentioned) - graded[completion_id]):
            what = f"the reply has no row for the proposition `{name}` in {grades_path}"
            in_scores.add(what, line=line, hint=_UNREAD_HINT)
    return [*in_grades.errors(), *in_scores.errors()]
