"""Tables of grades and scores: three formats with the same content, and every problem at its line."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.errors import InputError
from rbr.files.fit_tables import FitTables, load_fit_tables, load_thresholds
from rbr.files.table_file import TableProblems, read_table

PROPOSITIONS = ["apology", "judgement", "third_person"]
NEEDED = {"comply": ["judgement"], "refuse": ["apology", "judgement"]}
LABELS = {"comply": ["good_answer", "bad_answer"], "refuse": ["good_refusal", "bad_refusal"]}

GRADES = pl.DataFrame(
    [("a", "apology", 0.9), ("a", "judgement", None), ("b", "apology", 0.0), ("b", "judgement", 1.0)],
    schema=["completion_id", "proposition", "p_yes"],
    orient="row",
)
SCORES = pl.DataFrame(
    [("a", "p", "refuse", "good_refusal", -1.5), ("b", "p", "refuse", "bad_refusal", None)],
    schema=["completion_id", "prompt_id", "response_type", "label", "score"],
    orient="row",
)


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Writes a frame in the format that the name of the path says."""
    match path.suffix:
        case ".csv":
            frame.write_csv(path)
        case ".parquet":
            frame.write_parquet(path)
        case _:
            frame.write_ndjson(path)
    return path


def load(grades: Path, scores: Path) -> FitTables:
    return load_fit_tables(grades, scores, propositions=PROPOSITIONS, needed=NEEDED, labels=LABELS)


def problems_of(grades: str, scores: str, directory: Path) -> list[str]:
    """Returns the problems of two CSV files, given without their headers."""
    grades_path, scores_path = directory / "grades.csv", directory / "scores.csv"
    grades_path.write_text(f"completion_id,proposition,p_yes\n{grades}", encoding="utf-8")
    scores_path.write_text(f"completion_id,prompt_id,response_type,label,score\n{scores}", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load(grades_path, scores_path)
    return [f"{problem.where}: {problem.what}".replace(f"{directory}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("grades_suffix", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("scores_suffix", [".csv", ".parquet", ".jsonl"])
def test_every_format_gives_the_same_frames(grades_suffix: str, scores_suffix: str, tmp_path: Path) -> None:
    tables = load(write(GRADES, tmp_path / f"g{grades_suffix}"), write(SCORES, tmp_path / f"s{scores_suffix}"))
    assert tables.grades.rows() == GRADES.rows()
    assert tables.verified.rows() == SCORES.drop("score").rows()
    assert tables.scores.rows() == SCORES.select("completion_id", "score").rows()
    assert tables.n_other_replies == 0


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from(',"\n')).map("x{}".format),
            st.none() | st.floats(allow_infinity=False, allow_nan=False),
        ),
        min_size=1,
    )
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_written_table_is_read_back_exactly(
    suffix: str, rows: list[tuple[str, float | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = pl.DataFrame(rows, schema={"name": pl.String, "value": pl.Float64}, orient="row")
    path = write(frame, tmp_path_factory.mktemp("table") / f"table{suffix}")
    problems = TableProblems(path)
    table = read_table(problems, text=["name"], numbers=["value"])
    assert problems.errors() == []
    assert table.drop("line").rows() == rows


def test_line_breaks_inside_quotes_and_blank_lines_do_not_shift_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfname,value\r\n"two\nlines",1\r\n\r\nlast,nan\r\n')
    rows = read_table(TableProblems(path), text=["name"], numbers=["value"]).rows()
    assert rows == [(2, "two\nlines", 1.0), (5, "last", None)]


def test_other_columns_and_grades_of_other_replies_are_not_used(tmp_path: Path) -> None:
    others = GRADES.with_columns(completion_id=pl.col("completion_id") + "2")
    grades = pl.concat([others, GRADES]).with_columns(note=pl.lit("x"))
    tables = load(write(grades, tmp_path / "g.csv"), write(SCORES, tmp_path / "s.csv"))
    assert tables.grades.rows() == GRADES.rows()
    assert tables.n_other_replies == 2


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    ids = {"a": 7, "b": 8}
    grades = GRADES.with_columns(pl.col("completion_id").replace_strict(ids))
    scores = SCORES.with_columns(pl.col("completion_id").replace_strict(ids))
    tables = load(write(grades, tmp_path / "g.parquet"), write(scores, tmp_path / "s.csv"))
    assert tables.grades["completion_id"].unique().sort().to_list() == ["7", "8"]


def test_all_problems_of_both_tables_are_reported_together(tmp_path: Path) -> None:
    grades = "a,apolgy,0.9\na,apology,0.9\na,apology,0.8\na,judgement,1.5\nb,judgement,yes\nb,judgement,0.5,6\n"
    scores = (
        "a,p,refuse,good_refusl,1\na,q,refus,x,1\nc,p,comply,good_answer,inf\nd,p,comply,good_answer,1\n,,comply,x,\n"
    )
    assert problems_of(grades, scores, tmp_path) == [
        "grades.csv:2: unknown proposition 'apolgy'",
        "grades.csv:4: completion_id and proposition are the same as in line 3",
        "grades.csv:5: p_yes is 1.5",
        "grades.csv:6: `p_yes` is yes, but must be a number",
        "grades.csv:7: 4 fields instead of 3",
        "scores.csv:2: unknown label 'good_refusl' of refuse",
        "scores.csv:3: unknown response type 'refus'",
        "scores.csv:3: completion_id is the same as in line 2",
        "scores.csv:4: `score` is inf, but must be a number",
        "scores.csv:5: the prompt has the response type comply here, and refuse in line 2",
        "scores.csv:6: `completion_id` is empty",
        "scores.csv:6: `prompt_id` is empty",
    ]


def test_an_unknown_name_has_the_nearest_spelling_and_is_reported_once(tmp_path: Path) -> None:
    grades = write(GRADES.with_columns(proposition=pl.lit("apolgy")), tmp_path / "g.jsonl")
    with pytest.raises(
        InputError, match=r"g\.jsonl:1: unknown proposition 'apolgy' \(in this row and 3 more\)\n.*"
    ) as e:
        load(grades, write(SCORES, tmp_path / "s.csv"))
    assert "Did you mean `apology`?" in str(e.value)


def test_replies_and_propositions_without_grades_do_not_pass_silently(tmp_path: Path) -> None:
    scores = "a,p,refuse,good_refusal,1\nb,p,refuse,bad_refusal,1\nc,q,comply,good_answer,1\n"
    # Nobody grades judgement. The reply c has no row at all.
    assert problems_of("a,apology,0.9\nb,apology,0.1\n", scores, tmp_path) == [
        "grades.csv: no row grades the proposition `judgement`, which comply needs",
        "grades.csv: no row grades the proposition `judgement`, which refuse needs",
        "scores.csv:4: the reply has no row in grades.csv",
    ]
    # Only b lacks a row for apology. An empty p_yes is a row.
    assert problems_of("a,apology,\na,judgement,0.1\nb,judgement,0.1\nc,judgement,\n", scores, tmp_path) == [
        "scores.csv:3: the reply has no row for the proposition `apology` in grades.csv"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "the table has no rows"),
        ("t.csv", "name,value\n", "the table has no rows"),
        ("t.csv", "name|value\na|1\n", "t.csv:1: the column `name` is missing"),
        ("t.csv", "name,value,name\na,1,b\n", "t.csv:1: two columns have the name `name`"),
        ("t.csv", "Name,value\na,1\n", "Did you write Name?"),
        ("t.csv", 'name,value\n"a"b,1\n', "t.csv:2: not valid CSV"),
        ("t.jsonl", '{"name": "a", "value": true}\n', "t.jsonl:1: `value` is true, but must be a number"),
        ("t.jsonl", '{"name": ["a"], "value": 1}\n', "t.jsonl:1: `name` is ['a'], but must be text"),
        ("t.jsonl", '\n{"name": "a"}\n', "t.jsonl:2: the column `value` is missing"),
        ("t.jsonl", "[1]\n", "t.jsonl:1: the line is not an object"),
        ("t.jsonl", "{\n", "t.jsonl:1: not valid JSON"),
        ("t.parquet", "name,value\n", "t.parquet: the file is not Parquet"),
        ("t.xlsx", "", "t.xlsx: the format of the table is unknown"),
    ],
)
def test_an_unusable_file_is_an_error_with_its_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    problems = TableProblems(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_table(problems, text=["name"], numbers=["value"])
        raise InputError.collect(problems.errors())
    assert message in str(caught.value).replace(f"{tmp_path}/", "")


def test_thresholds_are_between_0_and_1(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.jsonl"
    rows = [("apology", 0.4), ("apolgy", 0.5), ("judgement", 1.0), ("third_person", None), ("apology", 0.5)]
    lines = [json.dumps({"proposition": name, "threshold": threshold}) for name, threshold in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_thresholds(path, PROPOSITIONS)
    assert [f"{problem.where}: {problem.what}".removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "thresholds.jsonl:2: unknown proposition 'apolgy'",
        "thresholds.jsonl:3: the threshold is 1",
        "thresholds.jsonl:4: the threshold is missing",
        "thresholds.jsonl:5: proposition is the same as in line 1",
    ]
    path.write_text(lines[0], encoding="utf-8")
    assert load_thresholds(path, PROPOSITIONS) == {"apology": 0.4}
