"""Prompts and gold labels as a user writes them."""

import json
from pathlib import Path

import pytest

from rbr.conversation import prompt_id, read_gold, read_prompts, split_of, with_instruction
from rbr.errors import InputError

ASK = {"role": "user", "content": "How do I boil an egg?"}
TELL = {"role": "assistant", "content": "In water."}


def written(directory: Path, *rows: object) -> Path:
    path = directory / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_prompts_keep_file_order_and_optional_keys(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"messages": [ASK], "category": "K-C", "held_out": "unseen_topics"},
        "",
        {"messages": [ASK, TELL, ASK]},
    )
    first, second = read_prompts(path)
    assert (first.category, first.held_out) == ("K-C", "unseen_topics")
    assert (second.category, second.held_out) == (None, None)
    assert second.messages == (ASK, TELL, ASK)
    assert first.prompt_id == prompt_id([ASK]) != second.prompt_id


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "Invalid JSON"),
        ({"messages": []}, "messages"),
        ({"messages": [ASK, TELL]}, "the last message must be the user's"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [ASK | {"name": "Ann"}]}, "messages.0.name"),
        ({"messages": [ASK], "categry": "K-C"}, "categry"),
        ({"messages": [ASK], "category": ""}, "category"),
    ],
)
def test_a_bad_prompt_line_is_named_with_its_place(tmp_path: Path, row: object, said: str) -> None:
    path = written(tmp_path, {"messages": [ASK, TELL, ASK]}, row)
    with pytest.raises(InputError) as caught:
        read_prompts(path)
    assert caught.value.where == f"{path}:2"
    assert said in str(caught.value)


def test_the_same_prompt_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, {"messages": [ASK]}, {"messages": [ASK, TELL, ASK]}, {"messages": [ASK], "category": "C"})
    with pytest.raises(InputError, match=r"rows\.jsonl:3: .*line 1"):
        read_prompts(path)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_lines_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no line"):
        read_prompts(path)


def test_a_missing_file_and_foreign_bytes_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "absent.jsonl")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"messages": [{"role": "user", "content": "caf\xe9"}]}'.encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_prompts(latin)


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    content = "one\u2028two"
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": content}]}, ensure_ascii=False), "utf-8")
    assert read_prompts(path)[0].messages[0]["content"] == content


def test_gold_rows_keep_labels_and_refuse_what_is_no_truth_value(tmp_path: Path) -> None:
    row = {"messages": [ASK], "reply": "In water.", "category": "None", "labels": {"apology": False}}
    (gold,) = read_gold(written(tmp_path, row))
    assert gold.labels == {"apology": False}
    with pytest.raises(InputError, match=r":1: labels\.apology"):
        read_gold(written(tmp_path, row | {"labels": {"apology": 1}}))
    with pytest.raises(InputError, match=r":2: .*line 1"):
        read_gold(written(tmp_path, row, row))


def test_an_instruction_joins_the_last_turn_and_leaves_the_prompt_alone() -> None:
    prompt = (ASK, TELL, ASK)
    assert with_instruction(prompt, "Answer in full.")[-1]["content"] == "How do I boil an egg?\n\nAnswer in full."
    assert with_instruction(prompt, "") == list(prompt)
    assert prompt[-1]["content"] == "How do I boil an egg?"


def test_the_split_is_the_prompts_own_and_near_the_fraction() -> None:
    ids = [prompt_id([{"role": "user", "content": str(number)}]) for number in range(2000)]
    share = sum(split_of(one, 0.2) == "test" for one in ids) / len(ids)
    assert 0.17 < share < 0.23
    assert all(split_of(one, 0.3) == "test" for one in ids if split_of(one, 0.2) == "test")
    assert {split_of(one, 0.0) for one in ids} == {"train"}
    assert {split_of(one, 1.0) for one in ids} == {"test"}


RELEASED = {
    "category": "K-R",
    "response_type": "Hard Refuse",
    "prompt": [ASK, TELL, ASK],
    "completion": [{"role": "assistant", "content": ""}],
    "propositions": {"apology": True},
}


def test_lines_of_the_released_gold_data_are_read_beside_ours(tmp_path: Path) -> None:
    ours = {"messages": [ASK], "reply": "In water.", "category": "None", "labels": {"apology": False}}
    first, second = read_gold(written(tmp_path, RELEASED, ours))
    assert (list(first.messages), first.reply, first.category) == ([ASK, TELL, ASK], "", "K-R")
    assert (first.labels, first.line, second.line) == ({"apology": True}, 1, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"completion": []}, "completion"),
        ({"completion": [ASK]}, "completion: Value error, the message must be the assistant's"),
        ({"propositions": {"apology": "yes"}}, r"propositions\.apology"),
        ({"prompt": [TELL]}, "prompt: Value error, the last message must be the user's"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_released_line_of_another_shape_is_refused(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(InputError, match=f":1: {said}") as caught:
        read_gold(written(tmp_path, RELEASED | change))
    assert "prompt, completion, category, response_type, propositions" in caught.value.hint


def test_two_people_may_judge_a_reply_differently(tmp_path: Path) -> None:
    other = RELEASED | {"propositions": {"apology": False}}
    assert [row.labels["apology"] for row in read_gold(written(tmp_path, RELEASED, other))] == [True, False]
