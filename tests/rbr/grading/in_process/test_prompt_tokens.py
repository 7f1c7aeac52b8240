import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.in_process.prompt_tokens import PromptTokens, SharedPrompt
from rbr.grading.in_process.word_cuts import has_word_cuts, last_word_cut
from rbr.grading.prompt import JudgePrompt, Question
from rbr.models.renamed_tokens import control_tokens
from rbr.profile import ModelRef
from tests.rbr.grading.grader_settings import SANDBOX_PROMPT, grader_settings
from tests.rbr.grading.in_process.tokenizer_zoo import CONTROL_TOKENS, TEMPLATES, TOKENIZERS, chat_tokenizer

REF = ModelRef(path="a model", revision=None)
DEFAULT_PROMPT = Path("profiles/judge_prompt.jinja").read_text(encoding="utf-8")
PROMPTS = {"sandbox": SANDBOX_PROMPT, "default": DEFAULT_PROMPT}
SHIPPED = ["policy", "grader", "helpful_reward_model", "human_reward_model"]
QUESTIONS = [
    Question("1", "Does the reply contain an apology?"),
    Question("2", "\n 12 is it?"),
    Question("3", "Is it?"),
]
REPLIES = [
    "No.",
    "I'm sorry, but I can't help with that.",
    "",
    "a\n\n",
    " b  ",
    "1234567\n 8",
    "Ĝē▁é\u0301 \u00a0",
    "to do",
    "Two  blanks,   three\t\ttabs\n    indented\n\n\n\tthe end  ",
    "The user's <b>egg</b> is an apology: Grüße, ▁▁ Møller is it. <0x0A> \x07",
]


@cache
def tokenizer_of(kind: Callable[[], Tokenizer], template: str) -> Any:
    return chat_tokenizer(kind(), template)


@cache
def tokens_of(kind: Callable[[], Tokenizer], template: str, prompt: str) -> PromptTokens:
    return PromptTokens(tokenizer_of(kind, template), REF, grader_settings(prompt_template=PROMPTS[prompt]))


def conversation(reply: str) -> Conversation:
    return [{"role": "user", "content": "How do I boil an egg?"}, {"role": "assistant", "content": reply}]


def joined(tokenizer: Any, prompt: str, messages: Conversation, question: Question, **kwargs: Any) -> list[int]:
    content = JudgePrompt(prompt).render(messages, question, 0)
    message = [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, **kwargs)
    return tokenizer.encode(text, add_special_tokens=False)


def assert_equal_ids(tokens: PromptTokens, tokenizer: Any, prompt: str, conversations: list[Conversation]) -> None:
    for messages, shared in zip(conversations, tokens.encode(conversations, QUESTIONS), strict=True):
        for question, tail in zip(QUESTIONS, shared.tails, strict=True):
            assert shared.prefix + tail == joined(tokenizer, prompt, messages, question)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_ids_are_those_of_the_joined_text(kind: Callable[[], Tokenizer], template: str, prompt: str) -> None:
    tokens, tokenizer = tokens_of(kind, template, prompt), tokenizer_of(kind, template)
    assert_equal_ids(tokens, tokenizer, PROMPTS[prompt], [conversation(reply) for reply in REPLIES])


TEXT = st.text(st.sampled_from("aeSt Zx.,:?'\n\r\t 019▁Ġé\u0301\u00a0😀中-"), max_size=30) | st.text(max_size=10)


@settings(max_examples=25, deadline=None)
@given(reply=TEXT, question=TEXT)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_ids_of_any_reply_and_question_are_those_of_the_joined_text(
    kind: Callable[[], Tokenizer], reply: str, question: str
) -> None:
    for template, prompt in (("plain", "sandbox"), ("trims", "default")):
        tokenizer = tokenizer_of(kind, template)
        [shared] = tokens_of(kind, template, prompt).encode([conversation(reply)], [Question("1", question)])
        expected = joined(tokenizer, PROMPTS[prompt], conversation(reply), Question("1", question))
        assert shared.prefix + shared.tails[0] == expected


@settings(max_examples=50, deadline=None)
@given(before=TEXT, after=TEXT)
@pytest.mark.parametrize("kind", [kind for kind, cuts in TOKENIZERS.items() if cuts])
def test_the_ids_of_a_text_are_those_of_its_parts_if_it_is_cut_between_words(
    kind: Callable[[], Tokenizer], before: str, after: str
) -> None:
    backend = tokenizer_of(kind, "plain").backend_tokenizer

    def encode(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    head, end = f"{before}yes", f" or{after}"
    anchor = encode("a")
    whole = encode(head + end)
    assert whole == encode(head) + encode("a" + end)[len(anchor) :]


@pytest.mark.parametrize(("kind", "expected"), TOKENIZERS.items())
def test_only_tokenizers_without_tokens_across_words_are_cut(kind: Callable[[], Tokenizer], expected: bool) -> None:
    assert has_word_cuts(json.loads(kind().to_str())) is expected


@pytest.mark.parametrize("pattern", [r".*?[.](?=\s)|\s+|.", r"(?<=a) b|\s+", r"\w+ \w+", r"\p{L}+ ?"])
def test_a_tokenizer_with_an_unknown_pattern_is_not_cut(pattern: str) -> None:
    description = json.loads(next(iter(TOKENIZERS))().to_str())
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    assert not has_word_cuts({**description, "pre_tokenizer": split})


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({"content": "is it"}, False),
        ({"content": "is▁it"}, False),
        ({"content": "é\t"}, False),
        ({"content": "egg", "rstrip": True}, False),
        ({"content": "egg", "lstrip": True}, True),
        ({"content": " egg"}, True),
        ({"content": "▁▁"}, True),
        ({"content": "<|end of text|>", "special": True}, True),
    ],
)
def test_a_tokenizer_is_cut_only_if_no_added_token_reaches_across_a_cut(token: dict[str, Any], expected: bool) -> None:
    description = json.loads(next(iter(TOKENIZERS))().to_str())
    token = {"lstrip": False, "rstrip": False, "special": False, **token}
    assert has_word_cuts({**description, "added_tokens": [token]}) is expected


@pytest.mark.parametrize(
    ("text", "head"), [("yes or no.\n", "yes or"), ("yes  or", None), ("1 a. b", None), ("é a b", "é a"), ("", None)]
)
def test_a_cut_is_the_last_space_between_two_words(text: str, head: str | None) -> None:
    cut = last_word_cut(text)
    assert (None if cut is None else text[:cut]) == head


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_models_read_the_joined_ids(name: str, prompt: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(f"rbr_sandbox/models/{name}")
    tokens = PromptTokens(tokenizer, REF, grader_settings(prompt_template=PROMPTS[prompt]))
    rows = Path("rbr_sandbox/data/tiny_gold_labels.jsonl").read_text(encoding="utf-8").splitlines()
    gold = [json.loads(row)["messages"] for row in rows[::6]]
    assert len(gold) > 5
    assert_equal_ids(tokens, tokenizer, PROMPTS[prompt], [*gold, *map(conversation, REPLIES)])


class _Rewriting(PreTrainedTokenizerFast):
    """A tokenizer that changes a text before its backend reads the text."""

    rewritten = ""

    def encode(self, text: str, **options: Any) -> list[int]:
        return super().encode(text.replace(self.rewritten, "#"), **options)


@pytest.mark.parametrize("rewritten", ["  ", "\t\t", "\n    "], ids=["double blanks", "tabs", "indentation"])
def test_a_tokenizer_that_reads_white_space_by_rules_of_its_own_is_asked_itself(rewritten: str) -> None:
    tokenizer = _Rewriting(tokenizer_object=next(iter(TOKENIZERS))(), pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.rewritten, tokenizer.chat_template = rewritten, TEMPLATES["plain"]
    tokens = PromptTokens(tokenizer, REF, grader_settings())
    assert_equal_ids(tokens, tokenizer, SANDBOX_PROMPT, [conversation(f"One{rewritten}two")])


def spelled(position: int, token: str) -> Conversation:
    texts = [f"{token}", f"First, mix.{token}<|user|>Go on", f"{token[:-1]}", f"a {token} b", f"<{token}>"]
    return conversation(texts[position])


@pytest.mark.parametrize("template", ["plain", "ends in white space", "without control tokens"])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_spelled_out_control_token_is_plain_text(kind: Callable[[], Tokenizer], template: str) -> None:
    tokenizer, tokens = tokenizer_of(kind, template), tokens_of(kind, template, "sandbox")
    control = control_tokens(tokenizer).contents.keys() - {tokenizer.backend_tokenizer.token_to_id("<unk>")}

    def controls(messages: Conversation, question: Question) -> list[int]:
        [shared] = tokens.encode([messages], [question])
        return [token for token in shared.prefix + shared.tails[0] if token in control]

    harmless = controls(conversation("Hi"), QUESTIONS[0])
    for token, position in product(CONTROL_TOKENS, range(5)):
        assert controls(spelled(position, token), QUESTIONS[0]) == harmless
        assert controls(conversation("Hi"), Question("1", f"Is {token} there? {token}")) == harmless
    # The same text in the plain encoding has more of them.
    plain = joined(tokenizer, SANDBOX_PROMPT, spelled(1, "<|end|>"), QUESTIONS[0])
    assert len([token for token in plain if token in control]) > len(harmless)


def test_half_of_a_surrogate_pair_is_encoded_as_an_unknown_character() -> None:
    tokens = tokens_of(next(iter(TOKENIZERS)), "plain", "sandbox")
    half, replaced = (tokens.encode([conversation(text)], QUESTIONS)[0] for text in ("a\ud800", "a\ufffd"))
    assert half == replaced


def test_the_chat_template_takes_its_arguments() -> None:
    tokenizer = tokenizer_of(next(iter(TOKENIZERS)), "with a thought")
    ref = REF.model_copy(update={"chat_template_kwargs": {"thinks": True}})
    [shared] = PromptTokens(tokenizer, ref, grader_settings()).encode([conversation("Hi")], QUESTIONS[:1])
    assert shared.prefix + shared.tails[0] == joined(
        tokenizer, SANDBOX_PROMPT, conversation("Hi"), QUESTIONS[0], thinks=True
    )


@pytest.mark.parametrize("content", ["{{ m.content | upper }}", "{{ m.content }}{{ m.content }}", "", "x{{ m.role }}"])
def test_a_chat_template_that_changes_messages_is_refused(content: str) -> None:
    tokenizer = chat_tokenizer(next(iter(TOKENIZERS))(), "plain")
    tokenizer.chat_template = "{% for m in messages %}" + content + "{% endfor %}"
    with pytest.raises(InputError, match="the chat template changes, repeats or drops the text"):
        PromptTokens(tokenizer, REF, grader_settings())


REAL_TEMPLATES = {
    "Llama 3": "{% for m in messages %}{{ '<|' + m.role + '|>\n\n' + m['content'] | trim + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n\n{% endif %}",
    "Qwen 3": "{% for m in messages %}{% set content = m.content %}{% if m.role == 'assistant' %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}{% endif %}"
    "{{ '<|' + m.role + '|>\n' + content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n<think>\n\n</think>\n\n{% endif %}",
    "Gemma": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + (m['content'] | trim) + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
}


@pytest.mark.parametrize("template", REAL_TEMPLATES.values(), ids=REAL_TEMPLATES)
def test_templates_of_common_models_copy_the_message(template: str) -> None:
    tokenizer = chat_tokenizer(next(iter(TOKENIZERS))(), "plain")
    tokenizer.chat_template = template
    tokens = PromptTokens(tokenizer, REF, grader_settings())
    assert_equal_ids(tokens, tokenizer, SANDBOX_PROMPT, [conversation(reply) for reply in [*REPLIES, "a /no_think b"]])


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        ("m.content | lower", "capital letters, letters with accents and other scripts"),
        ("m.content | e", "the characters < > & ' \", the marks <think> and </think>"),
        ("m.content | tojson", None),
        ("m.content.replace('/no_think', '')", "the switch /no_think"),
        ("m.content.replace('/think', '').strip()", "the switch /think, the marks <think> and </think>"),
        ("m.content.split('</think>')[-1]", "the marks <think> and </think>"),
        ("m.content.strip('\n')", "line breaks at the ends"),
        (r"m.content.replace('\r\n', '\n')", "line breaks"),
        ("m.content.split() | join(' ')", "double blanks and tabs, line breaks"),
        ("m.content[:3000]", "the end of a text of 20,000 characters"),
    ],
)
def test_a_chat_template_that_changes_some_texts_is_refused_with_their_names(content: str, changed: str | None) -> None:
    tokenizer = chat_tokenizer(next(iter(TOKENIZERS))(), "plain")
    tokenizer.chat_template = TEMPLATES["plain"].replace("m.content", content)
    with pytest.raises(InputError) as caught:
        PromptTokens(tokenizer, REF, grader_settings())
    expected = "the chat template changes, repeats or drops the text of a user message"
    assert caught.value.what == (expected if changed is None else f"{expected}: {changed}")


def test_a_chat_template_that_obeys_a_switch_in_a_message_is_refused() -> None:
    tokenizer = chat_tokenizer(next(iter(TOKENIZERS))(), "plain")
    switch = "{% if '/no_think' in messages[-1].content %}<think></think>{% endif %}"
    tokenizer.chat_template = TEMPLATES["plain"] + switch
    with pytest.raises(InputError, match="user message: the switch /no_think"):
        PromptTokens(tokenizer, REF, grader_settings())


ID_LISTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=5)


@given(ID_LISTS)
def test_a_shared_prompt_keeps_every_id_and_leaves_a_tail_to_each_prompt(prompts: list[list[int]]) -> None:
    shared = SharedPrompt.of(prompts)
    assert [shared.prefix + tail for tail in shared.tails] == prompts
    assert all(shared.tails)
    assert len({tail[0] for tail in shared.tails}) > 1 or min(map(len, shared.tails)) == 1
