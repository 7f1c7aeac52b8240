"""Prompts and gold labels as a user writes them; all problems of a file are reported together."""

import json
from pathlib import Path

import pytest

from rbr.conversation import prompt_id
from rbr.errors import InputError
from rbr.files.data_files import load_gold_labels, load_prompts

ASK = {"role": "user", "content": "How do I boil an egg?"}
TELL = {"role": "assistant", "content": "In water."}
GOLD = {"messages": [ASK], "reply": "In water.", "category": "None", "labels": {"apology": False}}
RELEASED = {
    "category": "K-R",
    "response_type": "Hard Refuse",
    "prompt": [ASK, TELL, ASK],
    "completion": [{"role": "assistant", "content": ""}],
    "propositions": {"apology": True},
}


def write(directory: Path, *rows: object) -> Path:
    path = directory / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def user(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}]}


def problems_of(error: InputError) -> list[str]:
    """Returns each problem without the directory of the file."""
    return [str(problem).partition("rows.jsonl:")[2] for problem in error.problems]


def test_prompts_keep_file_order_and_optional_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"messages": [ASK], "category": "K-C", "held_out": "unseen_topics"},
        "",
        {"messages": [ASK, TELL, ASK]},
    )
    first, second = load_prompts(path)
    assert (first.category, first.held_out) == ("K-C", "unseen_topics")
    assert (second.category, second.held_out) == (None, None)
    assert second.messages == (ASK, TELL, ASK)
    assert first.prompt_id == prompt_id([ASK]) != second.prompt_id


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [ASK], "[key]": 1}, "2 [key]: unknown key '[key]'\n  Known keys: messages, category, held_out."),
        ("{", "2:1: not valid JSON: EOF while parsing an object\n  Write one JSON object per line."),
        ('{"messages": []} x', "2:18: not valid JSON: trailing characters\n  Write one JSON object per line."),
        ("null", "2: expected an object, found null\n  Write an object"),
        ("[1]", "2: expected an object, found a list\n  Write an object"),
        ({}, "2 messages: the key 'messages' is missing\n  Add `\"messages\": ...`."),
        ({"messages": []}, "2 messages: the list is empty\n  Add at least one entry."),
        ({"messages": "Hi"}, "2 messages: expected a list, found text: 'Hi'\n  Write a list"),
        ({"messages": ["Hi"]}, "2 messages[0]: expected an object, found text: 'Hi'\n  Write an object"),
        ({"messages": [ASK, TELL]}, "2 messages[1].role: the last message must be from the user\n  End the prompt"),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "2 messages[0].role: expected system, user or assistant, found text: 'robot'\n  Write one of these values.",
        ),
        ({"messages": [{"role": "user"}]}, "2 messages[0].content: the key 'content' is missing\n  Add"),
        ({"messages": [ASK | {"content": None}]}, "2 messages[0].content: expected text, found null\n  Write text"),
        ({"messages": [ASK | {"name": "Ann"}]}, "2 messages[0].name: unknown key 'name'\n  Known keys: role, content."),
        ({"messages": [ASK], "categry": "K-C"}, "2 categry: unknown key 'categry'\n  Did you mean `category`?"),
        ({"messages": [ASK], "category": ""}, "2 category: the text is empty\n  Write at least one character."),
        ({"messages": [ASK], "held_out": 3}, "2 held_out: expected text, found a number: 3\n  Write text in double"),
    ],
)
def test_a_wrong_prompt_line_is_reported_with_line_and_key(tmp_path: Path, row: object, message: str) -> None:
    path = write(tmp_path, {"messages": [ASK, TELL, ASK]}, row)
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    assert str(caught.value).startswith(f"{path}:{message}")
    assert caught.value.hint


def test_all_problems_of_a_prompts_file_are_reported_together(tmp_path: Path) -> None:
    path = write(tmp_path, "{", user("A"), {"messages": 3, "held": "x"}, user("A"), user("B"), {"messages": []})
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    assert problems_of(caught.value) == [
        "1:1: not valid JSON: EOF while parsing an object\n  Write one JSON object per line.",
        "3 messages: expected a list, found a number: 3\n  Write a list: `[...]`.",
        "3 held: unknown key 'held'\n  Did you mean `held_out`?",
        "4: the prompt is the same as in line 2\n  Remove one of the two lines.",
        "6 messages: the list is empty\n  Add at least one entry.",
    ]


def test_every_repeated_prompt_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, user("A"), user("A"), user("A") | {"category": "K"}, user("B"), user("B"))
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    assert [problem.partition("\n")[0] for problem in problems_of(caught.value)] == [
        "2: the prompt is the same as in line 1",
        "3: the prompt is the same as in line 1",
        "5: the prompt is the same as in line 4",
    ]


@pytest.mark.parametrize("load", [load_prompts, load_gold_labels])
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_rejected(tmp_path: Path, content: str, load: object) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match="the file is empty"):
        load(path)


def test_missing_files_and_other_encodings_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the file does not exist"):
        load_prompts(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="a directory, not a file"):
        load_prompts(tmp_path)
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"messages": [{"role": "user", "content": "caf\xe9"}]}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.jsonl:1:47: the text is not UTF-8"):
        load_prompts(latin)


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    content = "one\u2028two"
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": content}]}, ensure_ascii=False), "utf-8")
    assert load_prompts(path)[0].messages[0]["content"] == content


def test_our_gold_lines_and_released_ones_are_read_from_one_file(tmp_path: Path) -> None:
    first, second = load_gold_labels(write(tmp_path, RELEASED, GOLD))
    assert (list(first.messages), first.reply, first.category) == ([ASK, TELL, ASK], "", "K-R")
    assert (first.labels, first.line) == ({"apology": True}, 1)
    assert (second.reply, second.labels, second.line) == ("In water.", {"apology": False}, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            GOLD | {"labels": {"apology": 1}},
            "1 labels.apology: expected true or false, found a number: 1\n  Write `true`",
        ),
        (GOLD | {"labels": {"apology": "yes"}}, "1 labels.apology: expected true or false, found text: 'yes'"),
        (GOLD | {"labels": {}}, "1 labels: the object is empty"),
        (GOLD | {"reply": None}, "1 reply: expected text, found null"),
        (GOLD | {"label": {}}, "1 label: unknown key 'label'\n  Did you mean `labels`?"),
        (RELEASED | {"completion": []}, "1 completion: the list is empty"),
        (RELEASED | {"completion": [TELL, TELL]}, "1 completion: too many entries; the maximum is 1"),
        (RELEASED | {"completion": [ASK]}, "1 completion[0].role: the message must be from the assistant"),
        (RELEASED | {"propositions": {"apology": "yes"}}, "1 propositions.apology: expected true or false"),
        (RELEASED | {"prompt": [TELL]}, "1 prompt[0].role: the last message must be from the user"),
        (RELEASED | {"extra": 1}, "1 extra: unknown key 'extra'\n  Known keys: prompt, completion, category"),
    ],
)
def test_a_wrong_gold_line_is_reported_with_line_and_key(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_gold_labels(write(tmp_path, row))
    assert problems_of(caught.value)[0].startswith(message)
    assert caught.value.hint


def test_all_problems_of_a_gold_file_are_reported_together(tmp_path: Path) -> None:
    lacking = {key: value for key, value in GOLD.items() if key != "reply"}
    path = write(tmp_path, GOLD, GOLD | {"reply": 3, "labels": {"apology": 1}}, GOLD, lacking, RELEASED, RELEASED)
    with pytest.raises(InputError) as caught:
        load_gold_labels(path)
    assert [problem.partition("\n")[0] for problem in problems_of(caught.value)] == [
        "2 reply: expected text, found a number: 3",
        "2 labels.apology: expected true or false, found a number: 1",
        "3: prompt, reply and labels are the same as in line 1",
        "4 reply: the key 'reply' is missing",
        "6: prompt, reply and labels are the same as in line 5",
    ]


def test_two_people_may_judge_a_reply_differently(tmp_path: Path) -> None:
    other = RELEASED | {"propositions": {"apology": False}}
    assert [row.labels["apology"] for row in load_gold_labels(write(tmp_path, RELEASED, other))] == [True, False]
