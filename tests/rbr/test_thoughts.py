"""What a reply is: thoughts are not part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.thought_marks import MARKS, begins_a_thought, last_open_mark
from rbr.thoughts import Reply, SpelledToken, split_thoughts, thought_notes

THINK = MARKS[0]
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
SOLAR = "<|end|><|begin|>assistant<|content|>"
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
    ("<scratchpad>", "</scratchpad>"),
    ("<reflection>", "</reflection>"),
    ("<cot>", "</cot>"),
    ("<reason>", "</reason>"),
    ("<internal>", "</internal>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<antThinking>", "</antThinking>"),
    ("<think type=\"x\" lang='en'>", "</think>"),
    ("<|think|>", SOLAR),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    ("Here is my thought process:", "Here is my response:"),
    ("Here's my thought process:", "Here's my response:"),
]
IN_WORDS = [pair for pair in PAIRS if pair[0][0].isalpha()]


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
        pytest.param(f"<|think|>a{SOLAR}b<|end|>", "b", "a", id="Solar"),
        pytest.param("<|content|>b<|end|>", "b", None, id="Solar without a thought"),
        pytest.param("<|think|>a</think>b", "b", "a", id="another closing mark of Solar's word"),
        pytest.param(
            "Here are my reasoning steps:\na\n[BEGIN FINAL RESPONSE]\nb\n[END FINAL RESPONSE]", "b", "a", id="Apriel"
        ),
        pytest.param("Here is my thought process:\na\n\nHere is my response:\nb", "b", "a", id="Granite"),
        pytest.param("analysisa.assistantfinalb", "b", "a.", id="harmony without its special tokens"),
        pytest.param("\ufeff<think>a</think>b", "b", "a", id="after a byte order mark"),
        pytest.param(" \u200b\u200f<think>a</think>b", "b", "a", id="after format characters"),
        pytest.param("\x00<think>a</think>b", "b", "a", id="after a control character"),
        pytest.param("\ufeffHere is my thought process: a Here is my response: b", "b", "a", id="words after a mark"),
        pytest.param("<|assistant|><think>a</think>b", "b", "a", id="after a header"),
        pytest.param("<|im_start|>assistant\n<think>a</think>b", "b", "a", id="after a header with a role"),
        pytest.param("assistant\n<think>a</think>b", "b", "a", id="after the role of a header"),
        pytest.param("<think>a</think>\ufeff<think>b</think>c", "c", "a\nb", id="between two thoughts"),
        pytest.param("<think>a</think><response>b</response>", "b", "a", id="in a response"),
        pytest.param("<think>a</think>\n<answer>\nb\n</answer>\n", "b", "a", id="in an answer"),
        pytest.param("<thinking>a</thinking>\n<Output>b</Output>", "b", "a", id="in an output"),
        pytest.param("<think>a</think><|begin_of_box|>b<|end_of_box|>", "b", "a", id="in a box"),
        pytest.param("<think>a</think><answer></answer>", "", "a", id="an empty answer"),
        pytest.param("<think>a</think><answer><output>b</output></answer>", "<output>b</output>", "a", id="one pair"),
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
        "Sure. Here is my thought process: a Here is my response: b",
        "Sure. Here are my reasoning steps: a",
        "Here is my response: b",
        "In my analysis, I find that assistantfinal is a word.",
        "analysis of the data shows nothing.",
        "<answer>b</answer> and <answer>c</answer>",
        "<answer>b",
        "<answer>b</answer>c",
        "<answer><think>b</think>c</answer>",
        "\ufeffHello.",
        "<|assistant|>Hello.",
        "<|assistant|>Sure. <think>b</think>c",
    ],
)
def test_a_mark_in_the_middle_is_a_quotation(text: str) -> None:
    assert split_thoughts(text) == Reply(text)
    assert split_thoughts(f"<think>a</think>{text}") == Reply(text, "a")


@pytest.mark.parametrize("closing", [closing for _, closing in PAIRS if closing != FINAL and not closing[0].isalpha()])
def test_a_closing_mark_alone_hides_nothing_and_is_counted(closing: str) -> None:
    text = f"[harmful steps]{closing}I'm sorry."
    assert split_thoughts(text) == Reply(text, unopened=True)
    assert split_thoughts(f"<think>a</think>{text}") == Reply(text, "a", unopened=True)


@pytest.mark.parametrize("text", ["<answer>b</answer>", "<response>b</response>", "<|begin_of_box|>b<|end_of_box|>"])
def test_a_wrapper_without_a_thought_is_text(text: str) -> None:
    assert split_thoughts(text) == Reply(text)


@pytest.mark.parametrize(("opening", "closing"), IN_WORDS)
def test_words_are_no_marks_inside_a_thought_or_a_text(opening: str, closing: str) -> None:
    assert split_thoughts(f"<think>a {opening} b {closing} c</think>d") == Reply("d", f"a {opening} b {closing} c")
    tokens = [SpelledToken(3, 3 + len(opening), special=False)]
    assert split_thoughts(f"No.{opening}a", tokens=tokens) == Reply(f"No.{opening}a")


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


PIECES = [
    "<", "think>", " ", "<|return|>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>", "\ufeff",
    "assistant", "<|assistant|>", "analysis", "assistantfinal", "[END FINAL RESPONSE]", "<|end|>",
]  # fmt: skip
MARK = st.sampled_from([*(mark for pair in PAIRS for mark in pair), *PIECES])


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
        ("<|begin|>assistant<|think|>", "</think>"),
        ("<|assistant|>\nHere are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),
        ("<|assistant|>\nanalysis:", None),
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
