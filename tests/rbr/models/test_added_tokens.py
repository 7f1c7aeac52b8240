"""Which added tokens are control tokens, in process and for text that a server tokenizes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from rbr.grading.server.control_tokens import SpelledOutTokens
from rbr.models.added_tokens import control_texts, read_control_texts
from rbr.models.renamed_tokens import control_tokens
from rbr.models.reply_text import split_thoughts
from rbr.profile import ModelRef
from tests.rbr.grading.in_process.tokenizer_zoo import TOKENIZERS, chat_tokenizer
from tests.rbr.models.trained_tokenizers import KINDS

TEMPLATE = """\
{# <comment> #}{{ bos_token }}{% if messages[0]['role'] == 'system' %}<<instructions>>{% endif %}\
{% for m in messages %}{{ '[@' + m['role'] + '@]' + m['content'] + "\\u00absep\\u00bb" }}{% endfor %}\
Answer as a user would: ö"""


@pytest.mark.parametrize(
    ("text", "special", "expected"),
    [
        # Special tokens, whatever they are spelled like.
        ("<custom>", True, True),
        ("USER", True, True),
        ("#", True, True),
        # Tokens that the template writes.
        ("<<instructions>>", False, True),
        ("\u00absep\u00bb", False, True),
        ("[@assistant@]", False, True),
        ("[@other@]", False, False),
        ("<comment>", False, False),
        # Tokens of a family of chat models, and marks of thoughts.
        ("<|fim_prefix|>", False, True),
        ("<\uff5cUser\uff5c>", False, True),
        ("<unused12>", False, True),
        ("<think>", False, True),
        ("[/THINK]", False, True),
        # Ordinary text.
        ("<b>", False, False),
        ("</table>", False, False),
        ("user", False, False),
        (" would", False, False),
        ("Ab Cd", False, False),
        ("\u2581Answer", False, False),
        ("ö", False, False),
        (":", False, False),
        # White space and bytes, even if they are special.
        ("\n\n", True, False),
        ("\u2581\u2581", False, False),
        ("\u2581\u2581", True, False),
        ("\u0120\u0120\u010a", False, False),
        ("<0x0A>", False, False),
        ("<0xE2>", True, False),
    ],
)
def test_an_added_token_is_a_control_token_if_it_gives_structure(text: str, special: bool, expected: bool) -> None:
    assert (text in control_texts({text: special}, TEMPLATE)) == expected


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]")],
)
def test_the_marks_of_thoughts_are_control_tokens(opening: str, closing: str) -> None:
    assert split_thoughts(f"{opening}Hm.{closing}Hi").thought == "Hm."
    assert control_texts({opening: False, closing: False}, "") == {opening, closing}


EVERY_TOKENIZER: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    **KINDS,
    **{kind.__name__: lambda kind=kind: chat_tokenizer(kind(), "plain") for kind in TOKENIZERS},  # type: ignore[misc]
}


@pytest.mark.parametrize("make", EVERY_TOKENIZER.values(), ids=EVERY_TOKENIZER)
def test_a_server_and_the_process_protect_the_same_tokens(
    make: Callable[[], PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    control = set(control_tokens(tokenizer).contents.values())
    assert read_control_texts(tmp_path) == control
    tokens = SpelledOutTokens.of(ModelRef(path=str(tmp_path), revision=None))
    assert {text for text in tokenizer.get_added_vocab() if tokens.neutralize(text)[1]} == control


def test_a_named_token_is_special_even_if_no_file_says_so(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": {"added_tokens": [{"content": "<custom>", "special": False}]},
        "tokenizer_config.json": {"eos_token": "<custom>", "pad_token": {"content": "<other>"}, "bos_token": None},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert read_control_texts(tmp_path) == {"<custom>", "<other>"}


@pytest.mark.parametrize(
    "template", ["{{ '<custom>' }}", [{"name": "default", "template": "<custom>"}], {"default": "<custom>"}]
)
@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_the_chat_template_is_read_from_any_of_its_places(template: object, file: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": "<custom>"}]}))
    jinja = isinstance(template, str) and file == "chat_template.jinja"
    (tmp_path / file).write_text(str(template) if jinja else json.dumps({"chat_template": template}))
    assert read_control_texts(tmp_path) == {"<custom>"}


@pytest.mark.parametrize(
    "content", ["", "[]", "5", '{"chat_template": 5, "added_tokens": 5, "added_tokens_decoder": [1], "eos_token": 1}']
)
def test_files_in_another_format_give_no_tokens(content: str, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text(content)
    assert read_control_texts(tmp_path) == set()
