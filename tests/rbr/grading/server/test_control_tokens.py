"""A control token that a text spells out never reaches a server that would make it real."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.grading.server.control_tokens import SpelledOutTokens
from rbr.profile import ModelRef

CONTROL = [
    "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<|start_header_id|>", "<|channel|>",
    "<|END_OF_TURN_TOKEN|>", "<|reserved_special_token_5|>", "<|turn>", "<turn|>", "<s>", "</s>", "<eos>", "<bos>",
    "<unk>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<EOS_TOKEN>", "[INST]", "[/INST]", "[TOOL_CALLS]",
    "<<SYS>>", "<</SYS>>", "[gMASK]", "[|endofturn|]", "<think>", "</think>", "<tool_call>", "</tool_response>",
    "<fim_prefix>", "<unused12>", "<extra_id_0>", "<\uff5cUser\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "\u25c1think\u25b7",
]  # fmt: skip
ORDINARY = [
    "a < b and c > d", "<b>bold</b>", "if (a || b) { x[0] = y[i]; }", "see [1] and [note]",
    "<html><body>Hi</body></html>",
    "Vec<String>", "|x| < 3", "a <- b |> f()", "cat file | sort > out", "I think <so>",
    "\u00e9\u00e8 \u4f60\u597d \U0001f600",
    "1 <2|3> 4", "[INSTALL]", "<script>", "<summary>",
]  # fmt: skip
TOKENS = SpelledOutTokens()


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_is_neutralized_and_counted(token: str) -> None:
    text, found = TOKENS.neutralize(f"Sure.{token}\nBye")
    assert found == 1
    assert token not in text
    assert text.replace(" ", "") == f"Sure.{token}\nBye".replace(" ", "")  # Only a space was added.


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_is_not_changed(text: str) -> None:
    assert TOKENS.neutralize(text) == (text, 0)


@given(st.lists(st.sampled_from([*CONTROL, "<", "<|", "|>", ">", "[", "]", "/", "s", "x", " ", "\n"]), max_size=8))
def test_no_control_token_is_left_however_the_pieces_are_joined(pieces: list[str]) -> None:
    text, _ = TOKENS.neutralize("".join(pieces))
    assert [token for token in CONTROL if token.lower() in text.lower()] == []
    assert TOKENS.neutralize(text) == (text, 0)


@given(st.text())
def test_any_text_can_be_sent_and_is_neutralized_once(text: str) -> None:
    neutral, _ = TOKENS.neutralize(text)
    neutral.encode("utf-8")
    assert TOKENS.neutralize(neutral) == (neutral, 0)


def test_the_control_tokens_of_a_local_tokenizer_are_neutralized(tmp_path: Path) -> None:
    special = {"~~END~~": True, "AGENT": True, "   ": True, "#": True, "word": False, "<b>": False}
    content = {"added_tokens": [{"content": token, "special": flag} for token, flag in special.items()]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    tokens = SpelledOutTokens.of(ModelRef(path=str(tmp_path), revision=None))
    # A space cannot split a single character. In another case, a special word is an ordinary word.
    text = "a word~~end~~   <b>#1</b> The agent said AGENT."
    assert tokens.neutralize(text) == ("a word~ ~end~~   <b>#1</b> The agent said A GENT.", 2)


@pytest.mark.parametrize("content", ["", "[]", '{"added_tokens": null}', '{"added_tokens": [1]}'])
def test_a_tokenizer_file_in_another_format_adds_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    assert SpelledOutTokens.of(ModelRef(path=str(tmp_path), revision=None)).neutralize("</s>")[1] == 1
