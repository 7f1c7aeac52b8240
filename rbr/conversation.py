"""Conversations, and the two data files a user brings: prompts and gold labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict

from rbr.errors import InputError
from rbr.hashing import content_hash

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "test"]


@with_config(ConfigDict(extra="forbid"))
class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = list[Message]
"""Turns in order. A *prompt* ends in a user turn; prompt and reply together end in an assistant turn."""


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for a reply.

    Attributes:
        prompt_id: `prompt_id` of the messages.
        messages: The turns; the last one is the user's.
        category: Content-policy category if the file gives it; None leaves it to the grader.
        held_out: Name of the test split the prompt is reserved for, such as ``unseen_topics``; None
            leaves the split to the hash.
    """

    prompt_id: str
    messages: tuple[Message, ...]
    category: str | None
    held_out: str | None


@dataclass(frozen=True)
class GoldRow:
    """A reply with the true value of every proposition a person has judged.

    Attributes:
        messages: The prompt's turns; the last one is the user's.
        reply: The reply that was judged.
        category: Content-policy category of the prompt.
        labels: Truth value by proposition name.
        line: Line of the file, from 1.
    """

    messages: tuple[Message, ...]
    reply: str
    category: str
    labels: dict[str, bool]
    line: int


def prompt_id(messages: tuple[Message, ...] | Conversation) -> str:
    """Content hash of a prompt's turns: 16 hexadecimal characters."""
    return content_hash(list(messages))


def split_of(prompt_id: str, test_fraction: float) -> Split:
    """Assigns a prompt to a split by its hash alone, so that other prompts never move it.

    Args:
        prompt_id: 16 hexadecimal characters.
        test_fraction: Expected share of test prompts, in [0, 1].
    """
    place = int(content_hash(["split", prompt_id]), 16) / 2**64
    return "test" if place < test_fraction else "train"


def with_instruction(messages: tuple[Message, ...] | Conversation, instruction: str) -> Conversation:
    """The prompt with an instruction appended to its last turn, after a blank line.

    Args:
        messages: A prompt.
        instruction: What to ask of the reply; the empty text leaves the prompt as it is.
    """
    turns = [Message(role=turn["role"], content=turn["content"]) for turn in messages]
    if instruction:
        turns[-1]["content"] += f"\n\n{instruction}"
    return turns


def read_prompts(path: str | Path) -> list[Prompt]:
    """Reads a prompts file: JSON Lines of ``{"messages", "category"?, "held_out"?}``.

    Returns:
        The prompts in file order.

    Raises:
        InputError: The file is missing or empty, a line has another shape, or two lines hold the same
            prompt; the message names file and line.
    """
    prompts: list[Prompt] = []
    first_line: dict[str, int] = {}
    for number, line in _lines(path):
        record = _parse(_PromptLine, line, path, number)
        prompt = Prompt(prompt_id(record.messages), tuple(record.messages), record.category, record.held_out)
        if prompt.prompt_id in first_line:
            raise InputError(
                f"the prompt is the same as in line {first_line[prompt.prompt_id]}",
                where=f"{path}:{number}",
                hint="Remove one of the two lines.",
            )
        first_line[prompt.prompt_id] = number
        prompts.append(prompt)
    return prompts


def read_gold(path: str | Path) -> list[GoldRow]:
    """Reads a gold file: JSON Lines of ``{"messages", "reply", "category", "labels"}``.

    Lines of the paper's released gold data (section 6) are read as well: ``{"prompt", "completion", "category",
    "response_type", "propositions"}``. Their response type is passed over, as the category tells it.

    Returns:
        The rows in file order.

    Raises:
        InputError: The file is missing or empty, a line has another shape, or two lines are the same; the
            message names file and line. Two people may judge the same reply differently.
    """
    rows: list[GoldRow] = []
    first_line: dict[str, int] = {}
    for number, line in _lines(path):
        released = _is_released(line)
        record = _parse(_ReleasedLine, line, path, number) if released else _parse(_GoldLine, line, path, number)
        row = record.row(number)
        identity = content_hash([list(row.messages), row.reply, row.labels])
        if identity in first_line:
            raise InputError(
                f"prompt, reply and labels are the same as in line {first_line[identity]}",
                where=f"{path}:{number}",
                hint="Remove one of the two lines.",
            )
        first_line[identity] = number
        rows.append(row)
    return rows


def _ends_in_a_user_turn(messages: Conversation) -> Conversation:
    if messages[-1]["role"] != "user":
        raise ValueError("the last message must be the user's")
    return messages


_PromptMessages = Annotated[Conversation, Field(min_length=1), AfterValidator(_ends_in_a_user_turn)]
_Name = Annotated[str, Field(min_length=1)]


class _PromptLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: _PromptMessages
    category: _Name | None = None
    held_out: _Name | None = None


class _GoldLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    messages: _PromptMessages
    reply: str
    category: _Name
    labels: Annotated[dict[str, bool], Field(min_length=1)]

    def row(self, line: int) -> GoldRow:
        return GoldRow(tuple(self.messages), self.reply, self.category, self.labels, line)


def _is_one_reply(messages: Conversation) -> Conversation:
    if messages[0]["role"] != "assistant":
        raise ValueError("the message must be the assistant's")
    return messages


class _ReleasedLine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prompt: _PromptMessages
    completion: Annotated[Conversation, Field(min_length=1, max_length=1), AfterValidator(_is_one_reply)]
    category: _Name
    response_type: _Name
    propositions: Annotated[dict[str, bool], Field(min_length=1)]

    def row(self, line: int) -> GoldRow:
        return GoldRow(tuple(self.prompt), self.completion[0]["content"], self.category, self.propositions, line)


def _is_released(line: str) -> bool:
    try:
        record = from_json(line)
    except ValueError:
        return False
    return isinstance(record, dict) and not record.keys().isdisjoint({"completion", "propositions"})


_Line = TypeVar("_Line", bound=BaseModel)


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), hint="Check the path in the profile."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 text (byte {error.start})", where=str(path), hint="Save the file as UTF-8."
        ) from error
    # Not splitlines(): JSON allows U+2028 and its kin inside a string.
    numbered = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not numbered:
        raise InputError("holds no line", where=str(path), hint="Add one JSON object per line.")
    yield from numbered


def _parse(shape: type[_Line], line: str, path: str | Path, number: int) -> _Line:
    try:
        return shape.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{key}: {first['msg']}" if key else first["msg"],
            where=f"{path}:{number}",
            hint=f"A line holds one JSON object with the keys {', '.join(shape.model_fields)}.",
        ) from error
