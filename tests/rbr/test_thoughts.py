"""What a reply is: thoughts are not part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.thought_marks import MARKS, begins_a_thought, last_open_mark
from rbr.thoughts import Reply, SpelledToken, split_thoughts, thought_notes

THINK = MARKS[0]
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
PAIRS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", FINAL),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRS, ids=[opening.strip() for opening, _ in PAIRS])
@pytest.mark.parametrize("change", [str, str.upper, str.lower, str.title], ids=["as is", "upper", "lower", "title"])
def test_every_pair_of_marks_surrounds_a_thought(opening: str, closing: str, change: type[str]) -> None:
    opening, closing = change(opening), change(closing)
    assert split_thoughts(f" \n{opening}Hm.{closing}\n\nHello.") == Reply("Hello.", "Hm.")
    assert split_thoughts(f"{opening}Hm.") == Reply("", "Hm.", unclosed=True)
    assert begins_a_thought(opening)


@pytest.mark.parametrize(
    ("text", "reply", "thought"),
    [
        pytest.param("", "", None, id="nothing"),
        pytest.param(" Hello. ", "Hello.", None, id="no thought"),
        pytest.param("a < b and <b>bold</b>", "a < b and <b>bold</b>", None, id="other tags"),
        pytest.param("<think/>Hello.", "<think/>Hello.", None, id="an empty tag"),
        pytest.param("<think>\n\n</think>\n\nHello.", "Hello.", "", id="an empty thought"),
        pytest.param("<think>a</think>", "", "a", id="a thought alone"),
        pytest.param("<think\n>a</ think >b", "b", "a", id="blanks inside the marks"),
        pytest.param("<think>a</THINK>b", "b", "a", id="another case"),
        pytest.param("[THINK]a</think>b", "b", "a", id="another mark of the same word"),
        pytest.param("<think>a</reasoning>b</think>c", "c", "a</reasoning>b", id="another word does not close"),
        pytest.param("<think>a<think>b</think>c", "c", "a<think>b", id="a second opening mark"),
        pytest.param("<think>a</think> <think>b</think>c", "c", "a\nb", id="two thoughts"),
        pytest.param("<think>a</think><thinking>b</thinking>c", "c", "a\nb", id="two kinds of thoughts"),
        pytest.param(f"<|channel|>analysis<|message|>a{FINAL}b<|return|>", "b", "a", id="harmony"),
        pytest.param("<|channel|>final<|message|>b<|return|>", "b", None, id="harmony without a thought"),
        pytest.param(f"<|start|>assistant<|channel|>commentary to=x<|message|>a{FINAL}b", "b", "a", id="commentary"),
        pytest.param(
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b", "a", id="Cohere's response"
        ),
    ],
)
def test_the_reply_is_the_text_outside_the_thoughts(text: str, reply: str, thought: str | None) -> None:
    assert split_thoughts(text) == Reply(reply, thought)


@pytest.mark.parametrize(
    "text",
    [
        "The tag <think> opens a thought.",
        "Use `<think>` and `</think>` in HTML.",
        "`<think>` opens a thought.",
        "Sure. <think>b</think>c",
        "A <|channel|>analysis<|message|> header.",
    ],
)
def test_a_mark_in_the_middle_is_a_quotation(text: str) -> None:
    assert split_thoughts(text) == Reply(text)
    assert split_thoughts(f"<think>a</think>{text}") == Reply(text, "a")


@pytest.mark.parametrize("closing", [closing for _, closing in PAIRS if closing != FINAL])
def test_a_closing_mark_alone_hides_nothing_and_is_counted(closing: str) -> None:
    text = f"[harmful steps]{closing}I'm sorry."
    assert split_thoughts(text) == Reply(text, unopened=True)
    assert split_thoughts(f"<think>a</think>{text}") == Reply(text, "a", unopened=True)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        pytest.param("a</think>b", Reply("b", "a"), id="closed"),
        pytest.param("a[/THINK]b", Reply("b", "a"), id="closed by another mark of the word"),
        pytest.param("</think>b", Reply("b", ""), id="closed at once"),
        pytest.param("a", Reply("", "a", unclosed=True), id="not closed"),
        pytest.param("", Reply("", "", unclosed=True), id="nothing"),
        pytest.param("<think>a</think>b", Reply("b", "a"), id="the model repeats the mark"),
        pytest.param("\n<think>\na", Reply("", "a", unclosed=True), id="repeated and not closed"),
        pytest.param("a</think>b</think>c", Reply("b</think>c", "a", unopened=True), id="a second closing mark"),
    ],
)
def test_if_the_template_opened_a_thought_the_text_before_its_end_is_no_reply(text: str, reply: Reply) -> None:
    assert split_thoughts(text, opened=THINK) == reply


@pytest.mark.parametrize(
    ("parts", "reply"),
    [
        pytest.param(["a", "</think>", "b"], Reply("b", "a"), id="a closing mark alone"),
        pytest.param(["a", "</think>", "b", "</think>", "c"], Reply("bc", "a", False, True, 1), id="the first counts"),
        pytest.param(["</think>", "b"], Reply("b"), id="a closing mark at the start"),
        pytest.param(["b", "<think>", "a", "</think>", "c"], Reply("b c", "a"), id="a thought in the middle"),
        pytest.param(["b", "<think>", "a"], Reply("b", "a", unclosed=True), id="not closed in the middle"),
        pytest.param(["Yes", "<|x|>", " and no"], Reply("Yes and no", None, False, False, 1), id="inside the reply"),
        pytest.param(["<|x|>", "Yes", "<|x|>", "<|x|>"], Reply("Yes"), id="around the reply"),
        pytest.param(["<|x|>", "<think>", "<|x|>", "a", "</think>", "b"], Reply("b", "a"), id="before a thought"),
    ],
)
def test_special_tokens_are_marks_anywhere_and_no_text(parts: list[str], reply: Reply) -> None:
    tokens, text = [], ""
    for part in parts:
        if part.startswith("<"):
            tokens.append(SpelledToken(len(text), len(text) + len(part), special=True))
        text += part
    assert split_thoughts(text, tokens=tokens) == reply


MARK = st.sampled_from([*(mark for pair in PAIRS for mark in pair), "<", "think>", " ", "<|return|>"])


@given(text=st.lists(st.one_of(MARK, st.text(max_size=3))).map("".join))
def test_a_reply_that_is_read_again_stays_the_same(text: str) -> None:
    reply = split_thoughts(text)
    again = split_thoughts(reply.text)
    assert (again.text, again.thought, again.unclosed) == (reply.text, None, False)


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("<|assistant|>", None),
        ("<|assistant|><think>\n", "</think>"),
        ("<|assistant|><think>\nOkay, ", "</think>"),
        ("<|assistant|><think>\n\n</think>\n\n", None),
        ("<|assistant|></think>", None),
        ("<|start|>assistant<|channel|>analysis<|message|>", FINAL),
        ("<|start|>assistant<|channel|>final<|message|>", None),
    ],
)
def test_a_text_can_end_in_a_thought(text: str, closing: str | None) -> None:
    mark = last_open_mark(text)
    assert (None if mark is None else mark.closing_text) == closing


@pytest.mark.parametrize(
    ("token", "begins"),
    [("<think", True), ("\n<think>", True), ("[THINK", True), ("<|channel|>", True), ("◁think", True),
     ("<thank>", False), ("<", False), ("yes", False), ("thinking", False), ("<|im_end|>", False)],
)  # fmt: skip
def test_the_first_token_of_an_answer_can_begin_a_thought(token: str, begins: bool) -> None:
    assert begins_a_thought(token) is begins


def test_notes_count_the_replies_with_thoughts() -> None:
    texts = ["Hello.", "<think>a</think>b", "<think>a", "<think>b", "a</think>b"]
    assert list(thought_notes(map(split_thoughts, texts))) == [
        "In 3 replies, there is a thought, which is no part of the reply.",
        "In 2 replies, a thought does not end, so there is no reply after it.",
        "In 1 reply, a mark ends a thought that did not begin, so the whole text is the reply.",
    ]
    assert list(thought_notes([Reply("Hello.")])) == []
