"""Replies are read from the tokens of a model; `tests/rbr/test_thoughts.py` says what a reply is."""

import pytest
from tokenizers import AddedToken

from rbr.models.reply_text import ReplyReader, opened_thought
from rbr.thoughts import Reply
from tests.tiny_models import TEMPLATE, tiny_tokenizer

HARMONY = "<|channel|>analysis<|message|>I could tell.<|done|><|start|>assistant<|channel|>final<|message|>I'm sorry."
OUTPUTS = {
    "<think>I could tell.</think>I'm sorry.": ["<think>", "</think>"],
    "[THINK]I could tell.[/THINK]I'm sorry.": ["[THINK]", "[/THINK]"],
    "◁think▷I could tell.◁/think▷I'm sorry.": ["◁think▷", "◁/think▷"],
    "<seed:think>I could tell.</seed:think>I'm sorry.": ["<seed:think>", "</seed:think>"],
    "<|START_THINKING|>I could tell.<|END_THINKING|><|START_RESPONSE|>I'm sorry.<|END_RESPONSE|>": [
        "<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"
    ],
    "<|channel>thought\nI could tell.<channel|>I'm sorry.": ["<|channel>", "<channel|>"],
    HARMONY.replace("<|done|>", ""): ["<|channel|>", "<|message|>", "<|start|>"],
    "<|think|>I could tell.<|begin|>assistant<|content|>I'm sorry.": ["<|think|>", "<|begin|>", "<|content|>"],
    "Here are my reasoning steps:\nI could tell.[BEGIN FINAL RESPONSE]I'm sorry.[END FINAL RESPONSE]": [
        "[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"
    ],
    "<think>I could tell.</think><|begin_of_box|>I'm sorry.<|end_of_box|>": [
        "<think>", "</think>", "<|begin_of_box|>", "<|end_of_box|>"
    ],
    "<|im_start|>assistant\n<think>I could tell.</think>I'm sorry.": ["<|im_start|>", "<think>", "</think>"],
}  # fmt: skip


@pytest.mark.parametrize("output", OUTPUTS, ids=[output.partition("I could")[0].strip() for output in OUTPUTS])
@pytest.mark.parametrize("kind", ["text", "tokens", "special tokens"])
def test_marks_count_whether_they_are_tokens_or_text(output: str, kind: str) -> None:
    tokenizer = tiny_tokenizer()
    if kind != "text":
        tokenizer.add_tokens([AddedToken(mark, special=kind == "special tokens") for mark in OUTPUTS[output]])
    ids = tokenizer.encode(f"{output}<|end|>")
    assert ReplyReader(tokenizer, {}).read(ids) == Reply("I'm sorry.", "I could tell.")


def test_a_special_token_that_ends_a_message_is_part_of_the_mark() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in ("<|channel|>", "<|message|>", "<|start|>")])
    ids = tokenizer.encode(HARMONY.replace("<|done|>", "<|end|>"))
    assert ReplyReader(tokenizer, {}).read(ids) == Reply("I'm sorry.", "I could tell.")


@pytest.mark.parametrize(
    ("special", "text", "reply"),
    [
        (None, "[harmful steps]</think>I'm sorry.", Reply("[harmful steps]</think>I'm sorry.", unopened=True)),
        (False, "[harmful steps]</think>I'm sorry.", Reply("I'm sorry.", "[harmful steps]")),
        (True, "[harmful steps]</think>I'm sorry.", Reply("I'm sorry.", "[harmful steps]")),
        (None, "Yes.<think>a</think>No.", Reply("Yes.<think>a</think>No.")),
        (True, "Yes.<think>a</think>No.", Reply("Yes. No.", "a")),
        (True, "<think>a</think>b</think>c", Reply("bc", "a", False, True, 1)),
    ],
    ids=["text alone", "token alone", "special token alone", "text inside", "token inside", "a second closing token"],
)
def test_only_a_token_of_the_tokenizer_is_a_mark_inside_a_text(special: bool | None, text: str, reply: Reply) -> None:
    tokenizer = tiny_tokenizer()
    if special is not None:
        tokenizer.add_tokens([AddedToken(mark, special=special) for mark in ("<think>", "</think>")])
    assert ReplyReader(tokenizer, {}).read(tokenizer.encode(text)) == reply


def test_other_special_tokens_are_left_out_and_counted() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<|user|>", special=True)])
    ids = tokenizer.encode("<|user|>I'm<|user|><|pad|> sorry.<|end|><|pad|><|user|>")
    assert ReplyReader(tokenizer, {}).read(ids) == Reply("I'm sorry.", special_tokens=1)


@pytest.mark.parametrize(
    ("generation_prompt", "kwargs", "word"),
    [
        ("", {}, None),
        ("<think>\n", {}, "think"),
        ("<think>\nOkay, ", {}, "think"),
        ("<think>\n\n</think>\n\n", {}, None),
        ("{% if enable_thinking %}<think>{% endif %}", {}, None),
        ("{% if enable_thinking %}<think>{% endif %}", {"enable_thinking": True}, "think"),
        ("[THINK]", {}, "think"),
        ("<|channel|>analysis<|message|>", {}, "channel"),
    ],
)
def test_a_template_can_open_a_thought(generation_prompt: str, kwargs: dict[str, bool], word: str | None) -> None:
    tokenizer = tiny_tokenizer()
    in_the_block = TEMPLATE.replace("{% endif %}", f"{generation_prompt}{{% endif %}}")
    for template in (in_the_block, TEMPLATE + generation_prompt):
        tokenizer.chat_template = template
        mark = opened_thought(tokenizer, kwargs)
        assert (None if mark is None else mark.word) == word


@pytest.mark.parametrize(
    ("template", "opens"),
    [
        (TEMPLATE.replace("'<|end|>'", "'Begin with <think>.<|end|>'"), False),
        ("Think in <think> first." + TEMPLATE, False),
        (TEMPLATE.replace("{% if", "Begin with <think>.{% if"), False),
        ("{% for message in messages %}{{ message['content'] }}{% endfor %}<|assistant|><think>\n", True),
        ("{% for message in messages %}{{ message['content'] }}{% endfor %}Use <think>.<|assistant|>", False),
    ],
    ids=["in each turn", "before the turns", "after the turns", "always opens a thought", "always mentions the mark"],
)
def test_only_the_generation_prompt_opens_a_thought(template: str, opens: bool) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    assert (opened_thought(tokenizer, {}) is not None) is opens
