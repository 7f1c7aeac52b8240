"""Files of replies to grade: three formats, and every problem with its line."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rbr.errors import InputError
from rbr.files.reply_table import ReplyRow, load_replies
from rbr.files.table_file import TableProblems
from rbr.hashing import content_hash

EGG = {"role": "user", "content": "How do I boil an egg?"}
ANSWER = {"role": "assistant", "content": "Eight minutes."}


def read(path: Path) -> list[ReplyRow]:
    problems = TableProblems(path)
    rows = load_replies(problems)
    if errors := problems.errors():
        raise InputError.collect(errors)
    return rows


def jsonl(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [EGG, ANSWER]},
        {"messages": [EGG], "reply": "Eight minutes."},
        {"messages": [EGG, ANSWER], "reply": None},
        {"prompt": "How do I boil an egg?", "reply": "Eight minutes."},
        {"prompt": [EGG], "reply": "Eight minutes.", "other": {"column": 1}},
    ],
    ids=lambda row: "+".join(row),
)
def test_a_conversation_can_be_written_in_several_ways(tmp_path: Path, row: dict) -> None:
    (reply,) = read(jsonl(tmp_path, row))
    assert reply.conversation == [EGG, ANSWER]
    assert reply.reply_id == content_hash([EGG, ANSWER])


def test_the_three_formats_have_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "How do I boil an egg?", "reply": 'Eight\nminutes, "soft".', "category": "None"},
        {"id": "b", "prompt": "[1, 2] is what?", "reply": "", "category": None},
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "replies.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "replies.parquet")
    first = read(jsonl(tmp_path, *rows))
    assert [row.conversation[-1]["content"] for row in first] == ['Eight\nminutes, "soft".', ""]
    for name in ("replies.csv", "replies.parquet"):
        table = read(tmp_path / name)
        assert [(r.reply_id, r.conversation, r.category) for r in table] == [
            (r.reply_id, r.conversation, r.category) for r in first
        ]


def test_messages_in_a_csv_file_are_json_and_in_a_parquet_file_a_list(tmp_path: Path) -> None:
    pl.DataFrame({"messages": [json.dumps([EGG, ANSWER])]}).write_csv(tmp_path / "replies.csv")
    pl.DataFrame({"messages": [[EGG, ANSWER]]}).write_parquet(tmp_path / "replies.parquet")
    for name in ("replies.csv", "replies.parquet"):
        assert read(tmp_path / name)[0].conversation == [EGG, ANSWER]


def test_rows_without_an_id_and_with_equal_conversations_have_the_same_id(tmp_path: Path) -> None:
    first, second = read(jsonl(tmp_path, {"messages": [EGG, ANSWER]}, {"messages": [EGG, ANSWER]}))
    assert first.reply_id == second.reply_id


@pytest.mark.parametrize("name", ["id", "completion_id"])
def test_the_id_may_be_a_number_and_have_two_names(tmp_path: Path, name: str) -> None:
    assert read(jsonl(tmp_path, {name: 7, "messages": [EGG, ANSWER]}))[0].reply_id == "7"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "the row has no conversation"),
        ({"promt": "Hi.", "reply": "Hello."}, "Did you mean `prompt` instead of promt?"),
        ({"prompt": "Hi."}, "no `reply`"),
        ({"prompt": "Hi.", "rply": "Hello."}, "Did you mean `reply` instead of rply?"),
        ({"prompt": "Hi.", "messages": [EGG], "reply": "Hello."}, "the row has both `messages` and `prompt`"),
        ({"messages": [EGG]}, "the last message is not from the assistant, and there is no `reply`"),
        ({"messages": [EGG, ANSWER], "reply": "More."}, "the message before `reply` is not from the user"),
        ({"messages": "not JSON", "reply": "Hello."}, "`messages`: not valid JSON"),
        ({"messages": {"role": "user"}}, "`messages` is not a list of messages"),
        ({"messages": ["Hi."]}, "`messages[0]` is not a message"),
        ({"messages": [{"role": "judge", "content": "Hi."}]}, "`messages[0]` has the role judge"),
        ({"messages": [{"role": "user", "content": None}]}, "`messages[0]` has no text in `content`"),
        ({"prompt": "Hi.", "reply": ["Hello."]}, "`reply` is ['Hello.'], but must be text"),
        ({"prompt": "Hi.", "reply": "Hello.", "category": 1.5}, "`category` is 1.5, but must be text"),
        (
            {"id": "a", "completion_id": "b", "prompt": "Hi.", "reply": "Hello."},
            "`id` and `completion_id` are different",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_row_that_cannot_be_graded_is_named_by_line(tmp_path: Path, row: dict, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read(jsonl(tmp_path, {"messages": [EGG, ANSWER]}, row))
    assert problem in str(caught.value)
    assert str(caught.value.where) == f"{tmp_path / 'replies.jsonl'}:2"


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text(
        '{"id": "a", "prompt": "Hi.", "reply": "Hello."}\n{"prompt": \n{"id": "a", "prompt": "Hi.", "reply": "Bye."}\n'
        '{"prompt": "Hi.", "reply": "\\ud800"}\n'
    )
    with pytest.raises(InputError) as caught:
        read(path)
    lines = [problem.where.line for problem in caught.value.problems]
    assert lines == [2, 3, 4]
    assert "the id is the same as in line 1" in str(caught.value)
    assert "unpaired surrogate" in str(caught.value)


def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the table has no rows"):
        read(jsonl(tmp_path))


@pytest.mark.parametrize("name", ["messages", "reply"])
def test_a_thought_is_no_part_of_a_reply(tmp_path: Path, name: str) -> None:
    def row(text: str) -> dict:
        if name == "messages":
            return {"messages": [EGG, {"role": "assistant", "content": text}]}
        return {"messages": [EGG], "reply": text}

    texts = ["Eight minutes.", "<think>Hm.</think>Eight minutes.", "<think>Hm.", "Hm.</think>Ten.", "  Ten. "]
    replies = read(jsonl(tmp_path, *map(row, texts)))
    assert [reply.conversation[-1]["content"] for reply in replies] == [
        "Eight minutes.", "Eight minutes.", "", "Hm.</think>Ten.", "  Ten. "
    ]  # fmt: skip
    # Replies that differ only in their thoughts are the same reply.
    assert replies[0].reply_id == replies[1].reply_id == content_hash([EGG, ANSWER])
    assert [(reply.output.unclosed, reply.output.unopened) for reply in replies] == [
        (False, False), (False, False), (True, False), (False, True), (False, False)
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_a_table_may_have_the_delimiter_of_any_spreadsheet(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "replies.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["prompt", "reply", "category"], ["Hi, you; there.", "One,\ttwo; three.", "K-R"]])
    (reply,) = read(path)
    texts = [turn["content"] for turn in reply.conversation]
    assert (texts, reply.category) == (["Hi, you; there.", "One,\ttwo; three."], "K-R")


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("Category", "category"),
        ("CATEGORY", "category"),
        ("categry", "category"),
        ("responsetype", "response_type"),
        ("Response Type", "response_type"),
        ("ID", "id"),
    ],
)
def test_a_misspelled_optional_column_is_named_once(tmp_path: Path, column: str, meant: str) -> None:
    row = {"prompt": "Hi.", "reply": "Hello.", column: "x"}
    with pytest.raises(InputError) as caught:
        read(jsonl(tmp_path, row, {**row, "reply": "Bye."}))
    (problem,) = caught.value.problems
    assert str(problem).endswith(
        f":1: unknown column `{column}` (in this row and 1 more)\n"
        f"  Did you mean `{meant}`? Rename or remove the column."
    )


@pytest.mark.parametrize("column", ["note", "idx", "score", "model", "labels"])
def test_any_other_column_is_ignored(tmp_path: Path, column: str) -> None:
    assert len(read(jsonl(tmp_path, {"prompt": "Hi.", "reply": "Hello.", column: "x"}))) == 1


def test_a_line_that_is_no_object_is_told_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match=r":1: not valid JSON: the line does not begin with \{"):
        read(path)
