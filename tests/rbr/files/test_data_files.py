"""Prompts and gold labels as a user writes them; all problems of a file are reported together."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric, _validate_metric_name

from rbr.conversation import prompt_id
from rbr.errors import InputError
from rbr.files.data_files import (
    MAX_SPLIT_NAME,
    load_gold_labels,
    load_prompts,
    located_labels,
    located_prompts,
)

SHARED = Path(__file__).resolve().parents[4] / "shared" / "inputs"

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
        "4: the prompt is the same as in line 2\n  Remove one of the two lines. White space at the ends of a prompt's "
        "turns makes no difference.",
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


REFUSED_SPLITS = {
    "train": "the name 'train' is reserved for prompts that are split by their hash",
    "test": "the name 'test' is reserved",
    " Test": "the name ' Test' is reserved",
    "XSTest (safe)": "the name of the split has the characters '(' ')', which MLflow does not accept",
    "a,b": "the name of the split has the characters ','",
    "50 %": "the name of the split has the characters '%'",
    "me@home": "the name of the split has the characters '@'",
    "two\nlines": "the name of the split has the characters '\\n'",
    "x" * 101: "the name of the split has 101 characters; the maximum is 100",
    "blank ": "the name of the split begins or ends with a blank",
    "a//b": "MLflow does not accept the name 'a//b'",
    "a/../b": "MLflow does not accept the name 'a/../b'",
    "": "the text is empty",
}


@pytest.mark.parametrize("name", REFUSED_SPLITS)
def test_a_split_name_that_no_metric_can_have_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, user("A"), user("B") | {"held_out": name})
    with pytest.raises(InputError) as caught:
        load_prompts(path)
    assert str(caught.value).startswith(f"{path}:2 held_out: {REFUSED_SPLITS[name]}")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["unseen_topics", "XSTest - safe", "v1.0:hard", "a/b", "testing", "Prüfung"])
def test_other_split_names_are_accepted(tmp_path: Path, name: str) -> None:
    (prompt,) = load_prompts(write(tmp_path, user("A") | {"held_out": name}))
    assert prompt.held_out == name


@given(name=st.text(alphabet=st.sampled_from("aB9_-. :/é(%@,\n\t"), max_size=12) | st.text(max_size=300))
def test_mlflow_takes_every_accepted_split_name_as_a_part_of_a_metric_name(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp(), user("A") | {"held_out": name})
    metric = f"grader.{name}.hard_refusal_style"
    try:
        load_prompts(path)
    except InputError as error:
        refused_by_us = (
            name.strip().casefold() in ("train", "test") or name != name.strip() or len(name) > MAX_SPLIT_NAME
        )
        edge = not {"", ".", ".."}.isdisjoint((name.split("/")[0], name.split("/")[-1]))
        if not refused_by_us and not edge:
            with pytest.raises(MlflowException):
                _validate_metric_name(metric)
        assert error.hint
    else:
        _validate_metric(metric, 0.5, 0, 0)
        assert Metric(metric, 0.5, 0, 0).key == metric


def test_white_space_at_the_ends_of_a_prompts_turns_is_dropped(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"messages": [TELL | {"content": "In water.\n"}, ASK | {"content": f"\t {ASK['content']}  "}]}
    )
    (prompt,) = load_prompts(path)
    assert prompt.messages == (TELL, ASK)
    assert prompt.prompt_id == prompt_id([TELL, ASK])


def test_prompts_that_differ_only_in_white_space_at_the_ends_are_the_same_prompt(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_prompts(write(tmp_path, user("A b"), user("A  b"), user(" A b\n")))
    assert [problem.partition("\n")[0] for problem in problems_of(caught.value)] == [
        "3: the prompt is the same as in line 1"
    ]


def test_the_prompt_of_a_gold_label_has_the_id_of_the_prompt_in_the_prompts_file(tmp_path: Path) -> None:
    (row,) = load_gold_labels(write(tmp_path, GOLD | {"messages": [ASK | {"content": f"{ASK['content']}\n"}]}))
    assert prompt_id(row.messages) == prompt_id([ASK])
    (row,) = load_gold_labels(write(tmp_path, GOLD | {"reply": " In water.\n"}))
    assert row.reply == " In water.\n", "the reply is judged as it is"


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_prompt_without_text_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"rows\.jsonl:1 messages\[0\]\.content: the last message has no text"):
        load_prompts(write(tmp_path, user(text)))


def test_half_of_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.jsonl:2:\d+: the text has an unpaired surrogate"):
        load_prompts(write(tmp_path, user("A"), '{"messages": [{"role": "user", "content": "\\ud800"}]}'))


def test_prompts_and_labels_are_located_by_line(tmp_path: Path) -> None:
    path = write(tmp_path, user("A"), "", user(" B"))
    assert {str(where).partition("rows.jsonl:")[2] for where in located_prompts(path).values()} == {"1", "3"}
    assert located_prompts(path)[prompt_id(user("B")["messages"])].line == 3
    first, second = located_labels(write(tmp_path, GOLD, RELEASED))
    assert [str(labels["apology"]).partition("rows.jsonl:")[2] for labels in (first, second)] == [
        "1 labels.apology",
        "2 propositions.apology",
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared inputs are not beside the repository")
@pytest.mark.parametrize(
    ("file", "messages"),
    [
        ("R19-split-name.jsonl", ["1 held_out: the name of the split has the characters '(' ')'"]),
        ("X-reserved-split-train.jsonl", ["1 held_out: the name 'train' is reserved"]),
        (
            "R23-repeats.jsonl",
            [f"{line}: the prompt is the same as in line {of}" for line, of in ((2, 1), (3, 1), (5, 4))],
        ),
    ],
)
def test_the_shared_inputs_are_refused_whole(file: str, messages: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_prompts(SHARED / file)
    problems = [str(problem).partition(f"{file}:")[2] for problem in caught.value.problems]
    assert len(problems) == len(messages)
    assert all(problem.startswith(message) for problem, message in zip(problems, messages, strict=True))


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


@pytest.mark.parametrize(
    ("text", "reply", "thought"),
    [
        ("<think>Hm.</think> In water.", "In water.", "Hm."),
        ("<think>Hm.", "", "Hm."),
        (" In water.\n", " In water.\n", None),
        ("Hm.</think>In water.", "Hm.</think>In water.", None),
    ],
    ids=["a thought", "an unclosed thought", "no thought", "a closing mark alone"],
)
def test_a_thought_is_no_part_of_a_labeled_reply(tmp_path: Path, text: str, reply: str, thought: str | None) -> None:
    released = {**RELEASED, "completion": [{"role": "assistant", "content": text}]}
    for row in load_gold_labels(write(tmp_path, {**GOLD, "reply": text}, released)):
        assert (row.reply, row.output.thought) == (reply, thought)
