r"""Which added tokens of a tokenizer are control tokens.

A tokenizer finds its added tokens by their spelling, wherever a text has it. Some of them give a conversation its
structure, such as ``<|im_end|>``. Others are ordinary text that the model was trained to read as a token: runs of
blanks, letters, words, HTML tags. Text that other people wrote must never become a token of the first kind, and must
become the tokens of the second kind, as on every server.

An added token is a control token in these cases:

- The tokenizer says that the token is special.
- The chat template writes it, as it is or with the name of a role in it.
- It is spelled like the control tokens of a family of chat models, or like the mark of a thought.

White space and the bytes of SentencePiece, such as ``<0x0A>``, are never control tokens. Words and single characters
are control tokens only if they are special.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError

from rbr.files.json_document import read_json_object
from rbr.thought_marks import TAG_WORDS

FAMILIES = (
    r"<\|[^<>|\s][^<>|\n]{0,60}\|>",  # ChatML, Llama 3, Phi, GLM, gpt-oss: <|im_end|>
    r"<\|/?[a-z][a-z0-9_]{0,30}>|<[a-z][a-z0-9_]{0,30}\|>",  # Gemma 4: <|turn>, <turn|>
    r"<\uff5c[^<>\uff5c\n]{1,60}\uff5c>",  # DeepSeek: full-width bars
    r"\[\|[^\[\]|\n]{1,40}\|\]",  # EXAONE: [|endofturn|]
    r"</?(?:s|unk|pad|bos|eos|mask|cls|sep|eod|eot|endoftext|startoftext)>",
    r"<(?:bos|eos|pad|unk|start_of_turn|end_of_turn|eop|cls|sep|mask)_token>",
    r"</?(?:start|end)_of_[a-z_]{1,20}>|<(?:begin|end)_of_[a-z_]{1,20}>",
    r"<<\s*/?SYS\s*>>",
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG|IMG_BREAK|IMG_END|AUDIO|ARGS"
    r"|CALL_ID|PREFIX|MIDDLE|SUFFIX|THINK|MODEL_SETTINGS|BOS|EOS|PAD|UNK|CLS|SEP|MASK|gMASK|sMASK|sop|eop)\]",
    rf"</?(?:{'|'.join(TAG_WORDS)}|seed:think|tool|tools|tool_call|tool_calls|tool_response|tool_result"
    r"|tool_use|function|function_call|function_calls|fim_prefix|fim_middle|fim_suffix|fim_pad|repo_name|file_sep"
    r"|filename|box|image|video|audio|image_soft_token|end_of_utterance)>",
    r"<(?:extra_id|unused|reserved_token|reserved|special|sentinel|loc|seg)_?\d+>",
    r"◁/?[a-z_]{1,20}▷",  # Kimi: ◁think▷
)
"""Regular expressions of the control tokens of common families of chat models, in any case."""

_FAMILY = re.compile("|".join(FAMILIES), re.IGNORECASE)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_ROLES = ("system", "user", "assistant")
# White space, as SentencePiece and byte-level vocabularies write it: blank, tab, line feed, and the rest.
_BLANKS = re.compile(r"[\s\u2581ĠĉĊċČč]+")


def control_texts(added: Mapping[str, bool], chat_template: str) -> set[str]:
    """Returns the control tokens among the added tokens of a tokenizer.

    Args:
        added: Whether the token is special, by the text of the token.
        chat_template: Source of the chat template.

    Example:
        >>> added = {"<|im_end|>": True, "</think>": False, "<b>": False, "ö": False, "\\u2581\\u2581": False}
        >>> sorted(control_texts(added, "{{ messages[0]['content'] + '<|im_end|>' }}"))
        ['</think>', '<|im_end|>']
    """
    written = _written_texts(chat_template)
    return {text for text, special in added.items() if _is_control(text, special, written)}


def is_word(text: str) -> bool:
    """Returns whether a token consists of letters, digits and white space.

    Example:
        >>> is_word("Ab Cd"), is_word("<b>")
        (True, False)
    """
    return _BLANKS.sub("", text).isalnum()


def is_white_space(text: str) -> bool:
    """Returns whether a token is nothing but white space, as any vocabulary writes it.

    Example:
        >>> is_white_space("\\u2581\\u2581"), is_white_space("ĠĠ"), is_white_space("\\u2581a")
        (True, True, False)
    """
    return not _BLANKS.sub("", text)


def read_control_texts(directory: Path) -> set[str]:
    """Returns the control tokens of a tokenizer from its files, which are read as JSON.

    Args:
        directory: Directory of a model. Files that are missing or have another format give no tokens.

    Example:
        >>> sorted(read_control_texts(Path("rbr_sandbox/models/grader")))
        ['<|assistant|>', '<|end|>', '<|pad|>', '<|system|>', '<|user|>']
    """
    files = _TokenizerFiles.read(directory)
    return control_texts(files.added, files.template)


def read_turn_texts(directory: Path, count: int) -> list[str]:
    """Returns some control tokens of a tokenizer from its files: preferably those that its chat template writes.

    Args:
        directory: Directory of a model, as for `read_control_texts`.
        count: Largest number of tokens.

    Returns:
        The tokens in the order of the files.

    Example:
        >>> read_turn_texts(Path("rbr_sandbox/models/grader"), 3)
        ['<|end|>', '<|user|>', '<|assistant|>']
    """
    files = _TokenizerFiles.read(directory)
    control, written = control_texts(files.added, files.template), _written_texts(files.template)
    # A template can also write a token by its name.
    by_name = {text for name, text in files.named.items() if re.search(rf"\b{name}\b", files.template)}
    texts = [text for text in files.added if text in control]
    chosen = sorted(texts, key=lambda text: not (text in by_name or _is_written(text, written)))[:count]
    return [text for text in texts if text in chosen]


def chat_template_source(chat_template: Any) -> str:
    """Returns the source of a chat template; of all templates if the tokenizer has several.

    Args:
        chat_template: A text, a mapping from name to text, a list of mappings with the key template, or None.

    Example:
        >>> chat_template_source({"default": "a", "tool_use": "b"})
        'a\\nb'
    """
    if isinstance(chat_template, str):
        return chat_template
    parts = chat_template.values() if isinstance(chat_template, Mapping) else chat_template
    texts = [part.get("template") if isinstance(part, Mapping) else part for part in _listed(parts)]
    return "\n".join(text for text in texts if isinstance(text, str))


@dataclass(frozen=True)
class _TokenizerFiles:
    """What the files of a tokenizer say about its added tokens.

    Attributes:
        added: Whether the token is special, by the text of the token.
        named: Text of each named token, such as `eos_token`.
        template: Source of the chat template.
    """

    added: Mapping[str, bool]
    named: Mapping[str, str]
    template: str

    @classmethod
    def read(cls, directory: Path) -> "_TokenizerFiles":
        settings = read_json_object(directory / "tokenizer_config.json")
        entries = [
            *_entries(read_json_object(directory / "tokenizer.json").get("added_tokens")),
            *_entries(settings.get("added_tokens_decoder")),
        ]
        # Named special tokens are special, whatever their entries say.
        names = [name for name in settings if name.endswith("_token")]
        named = {name: entry["content"] for name in names for entry in _entries([settings[name]])}
        for tokens in (named, settings.get("additional_special_tokens"), settings.get("extra_special_tokens")):
            entries += [{**entry, "special": True} for entry in _entries(tokens)]
        added: dict[str, bool] = {}
        for entry in entries:
            text = entry["content"]
            added[text] = added.get(text, False) or entry.get("special") is True
        try:
            template = (directory / "chat_template.jinja").read_text(encoding="utf-8")
        except (OSError, ValueError):
            template = chat_template_source(settings.get("chat_template"))
        return cls(added, named, template)


def _is_control(text: str, special: bool, written: Iterable[str]) -> bool:
    if is_white_space(text) or _BYTE.fullmatch(text):
        return False
    if special:
        return True
    if len(text) == 1 or is_word(text):
        return False
    return bool(_FAMILY.fullmatch(text.strip())) or _is_written(text, written)


def _is_written(text: str, written: Iterable[str]) -> bool:
    """Returns whether a chat template writes a token: as it is, or around the role of a turn."""
    if any(text in literal for literal in written):
        return True
    around = [text.split(role, 1) for role in _ROLES if role in text]
    return any(all(any(part in literal for literal in written) for part in parts) for parts in around)


def _written_texts(chat_template: str) -> list[str]:
    """Returns the texts that a chat template can write: its text outside of blocks, and its strings."""
    try:
        tokens = list(Environment().lex(chat_template))
    except TemplateError:
        return [chat_template]
    return [
        value[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape") if kind == "string" else value
        for _, kind, value in tokens
        if kind in {"data", "string"}
    ]


def _entries(tokens: Any) -> list[dict[str, Any]]:
    """Returns the entries of a list or a mapping of tokens; a text becomes an entry."""
    values = tokens.values() if isinstance(tokens, Mapping) else _listed(tokens)
    entries = [{"content": value} if isinstance(value, str) else value for value in values]
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("content"), str)]


def _listed(values: Any) -> Iterable[Any]:
    return () if values is None or isinstance(values, (str, int, float)) else values
