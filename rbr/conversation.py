"""Conversations, prompts and gold replies; the ids and the splits of prompts."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from rbr.hashing import content_hash
from rbr.thoughts import EMPTY_REPLY, Reply

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "test"]


@with_config(ConfigDict(extra="forbid"))
class Message(TypedDict):
    """One turn of a conversation.

    Example:
        >>> Message(role="user", content="How do I boil an egg?")
        {'role': 'user', 'content': 'How do I boil an egg?'}
    """

    role: Role
    content: str


Conversation = list[Message]
"""Turns in order. A prompt ends in a user turn; a prompt with its reply ends in an assistant turn."""


@dataclass(frozen=True)
class Prompt:
    """A conversation that a model should reply to.

    Attributes:
        prompt_id: Content hash of the messages, as `prompt_id` computes it.
        messages: The turns; the last turn is the user's.
        category: Content-policy category from the data file; None if the grader assigns the category.
        held_out: Name of the test split that the prompt is reserved for, such as ``unseen_topics``; None if the
            hash of the prompt decides the split.

    Example:
        >>> messages = (Message(role="user", content="How do I boil an egg?"),)
        >>> Prompt(prompt_id(messages), messages, category=None, held_out="unseen_topics").held_out
        'unseen_topics'
    """

    prompt_id: str
    messages: tuple[Message, ...]
    category: str | None
    held_out: str | None


@dataclass(frozen=True)
class GoldRow:
    """A reply, with the propositions that a person has labeled as true or false.

    Attributes:
        messages: Turns of the prompt; the last turn is the user's.
        reply: The labeled reply, without thoughts.
        category: Content-policy category of the prompt.
        labels: Truth value by proposition name, for the labeled propositions only.
        line: Line number in the file, from 1.
        output: The text in the file, split into the reply and its thoughts.

    Example:
        >>> row = GoldRow(({"role": "user", "content": "Hi"},), "Hello.", "None", {"apology": False}, line=1)
        >>> row.labels["apology"]
        False
    """

    messages: tuple[Message, ...]
    reply: str
    category: str
    labels: dict[str, bool]
    line: int
    output: Reply = EMPTY_REPLY


def prompt_id(messages: tuple[Message, ...] | Conversation) -> str:
    """Returns the id of a prompt: a content hash of its turns, 16 hexadecimal characters.

    Every character counts. `rbr.files.data_files.load_prompts` drops the white space at the ends of the turns, so
    prompts of a data file that differ in nothing else have the same id.

    Example:
        >>> prompt_id([{"role": "user", "content": "How do I boil an egg?"}])
        '87e39c3661f0d5b6'
    """
    return content_hash(list(messages))


def split_of(prompt_id: str, test_fraction: float) -> Split:
    """Returns the split of a prompt.

    The hash of the prompt alone decides. If prompts are added or removed, the other prompts keep their split.

    Args:
        prompt_id: Id of the prompt, 16 hexadecimal characters.
        test_fraction: Expected share of test prompts, in [0, 1].

    Example:
        >>> split_of("0123456789abcdef", 1.0)
        'test'
    """
    position = int(content_hash(["split", prompt_id]), 16) / 2**64
    return "test" if position < test_fraction else "train"


def well_formed(text: str) -> str:
    """Returns a text with U+FFFD in place of each half of a surrogate pair.

    JSON can contain such a half. It is not a character, so tokenizers and servers refuse it.

    Example:
        >>> ascii(well_formed("Sure.\\ud800"))
        "'Sure.\\\\ufffd'"
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def with_instruction(messages: tuple[Message, ...] | Conversation, instruction: str) -> Conversation:
    """Returns a prompt with an instruction appended to its last turn, after a blank line.

    Args:
        messages: Turns of the prompt.
        instruction: Text to append; empty text leaves the prompt unchanged.

    Example:
        >>> with_instruction([{"role": "user", "content": "Hi"}], "Answer in one word.")[-1]["content"]
        'Hi\\n\\nAnswer in one word.'
    """
    turns = [Message(role=turn["role"], content=turn["content"]) for turn in messages]
    if instruction:
        turns[-1]["content"] += f"\n\n{instruction}"
    return turns


def fold_turns(messages: tuple[Message, ...] | Conversation) -> Conversation:
    """Rewrites a prompt for chat templates that refuse a system turn, or two turns of the same role in a row.

    A system turn becomes a user turn. Then adjacent turns of the same role are joined, with a blank line between their
    texts. So a system turn at the beginning is put in front of the first user turn.

    Example:
        >>> fold_turns([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        [{'role': 'user', 'content': 'Be brief.\\n\\nHi'}]
    """
    folded: Conversation = []
    for turn in messages:
        role: Role = "assistant" if turn["role"] == "assistant" else "user"
        if folded and folded[-1]["role"] == role:
            texts = [text for text in (folded[-1]["content"], turn["content"]) if text]
            folded[-1]["content"] = "\n\n".join(texts)
        else:
            folded.append(Message(role=role, content=turn["content"]))
    return folded
