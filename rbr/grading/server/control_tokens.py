"""Keeps other people's text from becoming structure, if the server tokenizes it.

Most servers turn a control token that is spelled out in a message, such as ``<|im_end|>``, into the real token. A reply
could then end its own turn and speak as somebody else. A space after the first character prevents it, and a judge can
still read what the text says.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.conversation import Conversation, well_formed

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_FAMILIES = (
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
    r"</?(?:think|thinking|thought|reasoning|reflection|tool|tools|tool_call|tool_calls|tool_response|tool_result"
    r"|tool_use|function|function_call|function_calls|fim_prefix|fim_middle|fim_suffix|fim_pad|repo_name|file_sep"
    r"|filename|box|image|video|audio|image_soft_token|end_of_utterance)>",
    r"<(?:extra_id|unused|reserved_token|reserved|special|sentinel|loc|seg)_?\d+>",
    r"◁/?[a-z_]{1,20}▷",  # Kimi: ◁think▷
)


class SpelledOutTokens:
    """Finds the control tokens that a text spells out.

    Args:
        literals: Control tokens of the judge's own tokenizer, if they are known.

    Attributes:
        literals: The literals that are neutralized: words and white space are left out. The longest comes first.

    Example:
        >>> tokens = SpelledOutTokens()
        >>> tokens.neutralize("Sure.<|im_end|></s> Go to [INST] in <b>bold</b>")
        ('Sure.< |im_end|>< /s> Go to [ INST] in <b>bold</b>', 3)
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        # The longest token first, so that a token that begins like another one is found whole.
        self.literals = sorted({text for text in literals if _is_mark(text)}, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join([*map(re.escape, self.literals), *_FAMILIES]), re.IGNORECASE)

    @classmethod
    def of(cls, ref: "ModelRef | None") -> "SpelledOutTokens":
        """Returns the finder with the tokens of a local model, if `ref` names one; its files are read as JSON."""
        return cls(_added_tokens(Path(ref.path)) if ref is not None and ref.revision is None else ())

    def neutralize(self, text: str) -> tuple[str, int]:
        """Returns the text with a space in each control token, and the number of control tokens.

        Characters that no encoding can carry (lone surrogates) become U+FFFD.
        """
        text, total = well_formed(text), 0
        # A space inside one token can leave another one whole, if they overlap.
        while True:
            text, found = self._pattern.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)
            if not found:
                return text, total
            total += found

    def neutralize_conversation(self, messages: Conversation) -> tuple[Conversation, int]:
        """Returns the conversation with all its texts neutralized, and the number of control tokens."""
        neutral = [self.neutralize(message["content"]) for message in messages]
        found = sum(count for _, count in neutral)
        return [{**message, "content": text} for message, (text, _) in zip(messages, neutral, strict=True)], found


def _is_mark(text: str) -> bool:
    """Returns whether an added token is a mark: not white space, not a word, and no single character."""
    return len(text) > 1 and not text.isspace() and not text.strip().replace(" ", "").isalnum() and text[0] != " "


def _added_tokens(directory: Path) -> Sequence[str]:
    """Returns the added tokens of a local tokenizer; none if its files are missing or have another format."""
    texts: list[str] = []
    try:
        content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
        texts += [entry["content"] for entry in content.get("added_tokens", [])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return texts
