"""What a reply is: thoughts are not part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from rbr.models.reply_text import Reply, opens_thought, reply_of_tokens, split_thoughts
from tests.tiny_models import TEMPLATE, tiny_tokenizer

MARKS = ("<think>", "</think>", "<thinking>", "</thinking>", "<reasoning>", "</reasoning>", "[THINK]", "[/THINK]")


@pytest.mark.parametrize(
    ("text", "reply", "thought", "unclosed"),
    [
        ("", "", None, False),
        (" Hello. ", "Hello.", None, False),
        ("a < b and <b>bold</b>", "a < b and <b>bold</b>", None, False),
        ("<think>Hm.</think>Hello.", "Hello.", "Hm.", False),
        ("<think>\n\n</think>\n\nHello.", "Hello.", "", False),
        ("<thinking>Hm.</thinking> Hello.", "Hello.", "Hm.", False),
        ("<reasoning>Hm.</reasoning> Hello.", "Hello.", "Hm.", False),
        ("[THINK]Hm.[/THINK]Hello.", "Hello.", "Hm.", False),
        ("<think>Hm.", "", "Hm.", True),
        ("<think>", "", "", True),
        ("<think>a</think>", "", "a", False),
        ("The template opened it.</think>Hello.", "Hello.", "The template opened it.", False),
        ("a</think>b</think>c", "c", "ab", False),
        ("<think>a</think>b<think>c</think>d", "b d", "a\nc", False),
        ("<think>a</think>b<think>c", "b", "a\nc", True),
        ("Visible text stays. <think>a", "Visible text stays.", "a", True),
        ("<think>a<think>b</think>c", "c", "a<think>b", False),
        ("<think>[/THINK]b</think>c", "c", "[/THINK]b", False),
        ("<thi<think>a</think>nk>b", "<thi nk>b", "a", False),
    ],
)
def test_the_reply_is_the_text_outside_the_thoughts(text: str, reply: str, thought: str | None, unclosed: bool) -> None:
    assert split_thoughts(text) == Reply(reply, thought, unclosed)


@pytest.mark.parametrize(
    ("text", "reply", "unclosed"),
    [
        ("Hm.</think>Hello.", "Hello.", False),
        ("Hm.[/THINK]Hello.", "Hello.", False),
        ("Hm.", "", True),
        ("", "", True),
        ("<think>Hm.</think>Hello.", "Hello.", False),
        ("\n<think>\nHm.", "", True),
    ],
)
def test_if_the_template_opened_a_thought_the_text_before_its_end_is_no_reply(
    text: str, reply: str, unclosed: bool
) -> None:
    split = split_thoughts(text, opened=True)
    assert (split.text, split.unclosed) == (reply, unclosed)


@given(text=st.lists(st.one_of(st.sampled_from([*MARKS, "<", "think>", " "]), st.text(max_size=3))).map("".join))
def test_a_reply_has_no_thoughts_of_its_own(text: str) -> None:
    reply = split_thoughts(text).text
    assert split_thoughts(reply) == Reply(reply, None, unclosed=False)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("marks", [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_marks_count_whether_they_are_tokens_or_text(marks: tuple[str, str], special: bool) -> None:
    text = f"{marks[0]}I could tell.{marks[1]}I'm sorry.<|end|>"
    tokenizer = tiny_tokenizer()
    plain = reply_of_tokens(tokenizer, tokenizer.encode(text))
    tokenizer.add_tokens([AddedToken(mark, special=special) for mark in marks])
    assert reply_of_tokens(tokenizer, tokenizer.encode(text)) == plain == Reply("I'm sorry.", "I could tell.", False)


def test_other_special_tokens_are_left_out() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode("I'm<|user|> sorry.<|end|><|pad|>")
    tokenizer.add_tokens([AddedToken("<|user|>", special=True)])
    assert reply_of_tokens(tokenizer, ids).text == "I'm sorry."


@pytest.mark.parametrize(
    ("generation_prompt", "kwargs", "opens"),
    [
        ("", {}, False),
        ("<think>\n", {}, True),
        ("<think>\n\n</think>\n\n", {}, False),
        ("{% if enable_thinking %}<think>{% endif %}", {}, False),
        ("{% if enable_thinking %}<think>{% endif %}", {"enable_thinking": True}, True),
        ("[THINK]", {}, True),
    ],
)
def test_a_template_can_open_a_thought(generation_prompt: str, kwargs: dict[str, bool], opens: bool) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE + generation_prompt
    assert opens_thought(tokenizer, kwargs) is opens
