"""The text a grader reads: instruction, conversation, question; the question last, to share the rest.

The wording is `prompt.txt` beside this file; `question_hash` covers it, so an edit of it makes new grades.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from rbr.hashing import content_hash

TEMPLATE: str = resources.files(__package__).joinpath("prompt.txt").read_text(encoding="utf-8").rstrip("\n")

_CONVERSATION = "{conversation}"
_QUESTION = "{question}"
_INSTRUCTION, _BETWEEN = TEMPLATE.removesuffix(_QUESTION).split(_CONVERSATION)
"""Cut once here, and never filled with `str.format`: a reply may hold braces."""


class WorkedExample(Protocol):
    """A reply with its right answer, as the rulebook holds it."""

    @property
    def reply(self) -> str: ...
    @property
    def answer(self) -> bool: ...
    @property
    def prompt(self) -> str | None: ...


@dataclass(frozen=True)
class Question:
    """A yes/no question to a grader.

    Attributes:
        name: The proposition or category it decides.
        text: The wording, one question.
        examples: Worked examples in the order in which a few-shot prompt takes them.
    """

    name: str
    text: str
    examples: Sequence[WorkedExample] = ()


def render_conversation(messages: Iterable[Mapping[str, Any]]) -> str:
    """Renders messages as lines ``USER: ...`` and ``ASSISTANT: ...``, in order."""
    return "\n".join(f"{message['role'].upper()}: {message['content']}" for message in messages)


def render_prefix(messages: Iterable[Mapping[str, Any]]) -> str:
    """The prompt up to the question: the part that all questions about one reply share."""
    return f"{_INSTRUCTION}{render_conversation(messages)}{_BETWEEN}"


def render_question(question: Question, few_shot: int) -> str:
    """The question with its first `few_shot` examples (all of them where it has fewer).

    The question is repeated after the examples, since a model answers what it read last.
    """
    shown = question.examples[:few_shot]
    if not shown:
        return question.text
    blocks = [question.text, *(_render_example(example) for example in shown)]
    return "\n\n".join([*blocks, f"Now answer for the conversation above. {question.text}"])


def render_prompt(messages: Iterable[Mapping[str, Any]], question: Question, few_shot: int) -> str:
    """The whole user message sent to a grader.

    Args:
        messages: The conversation; it ends in the assistant turn that is judged, or in the user turn
            where the question is about the prompt itself.
        question: What is asked about it.
        few_shot: How many of the question's examples to show, at least 0.
    """
    return render_prefix(messages) + render_question(question, few_shot)


def question_hash(question: Question, few_shot: int) -> str:
    """Identifies what a question looks like to a grader: 16 hex characters.

    Equal hashes mean equal prompts for equal conversations; the question's name does not count.
    """
    return content_hash({"template": TEMPLATE, "question": render_question(question, few_shot)})


def _render_example(example: WorkedExample) -> str:
    asked = [] if example.prompt is None else [{"role": "user", "content": example.prompt}]
    shown = render_conversation([*asked, {"role": "assistant", "content": example.reply}])
    return f"Example:\n{shown}\nAnswer: {'yes' if example.answer else 'no'}"
