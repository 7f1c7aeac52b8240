"""The text that a grader reads: the instruction, the conversation, then the question.

The question comes last, so that all questions about a reply share the text before it. The file `prompt.txt` in this
folder contains the wording. `question_hash` covers that file, so an edit of the file requires new grades.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from rbr.hashing import content_hash

PROMPT_TEMPLATE: str = resources.files(__package__).joinpath("prompt.txt").read_text(encoding="utf-8").rstrip("\n")

_CONVERSATION = "{conversation}"
_QUESTION = "{question}"
# Splits the template, because `str.format` would fail on a reply that contains braces.
_INSTRUCTION, _BETWEEN = PROMPT_TEMPLATE.removesuffix(_QUESTION).split(_CONVERSATION)


class WorkedExample(Protocol):
    """A reply with the right answer to a question, for few-shot prompts; `rbr.rulebook.Example` implements it.

    Example:
        >>> from rbr.rulebook import Example
        >>> example: WorkedExample = Example(reply="I'm sorry.", answer=True)
        >>> example.answer
        True
    """

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
        name: Name of the proposition or category that the question decides.
        text: Wording of the question.
        examples: Worked examples; a few-shot prompt shows the first `few_shot` examples.

    Example:
        >>> from rbr.rulebook import load_propositions
        >>> apology = load_propositions("rulebook/propositions.yaml")["apology"]
        >>> Question("apology", apology.question, apology.examples).name
        'apology'
    """

    name: str
    text: str
    examples: Sequence[WorkedExample] = ()


def render_conversation(messages: Iterable[Mapping[str, Any]]) -> str:
    """Renders messages as lines ``USER: ...`` and ``ASSISTANT: ...``, in order."""
    return "\n".join(f"{message['role'].upper()}: {message['content']}" for message in messages)


def render_prefix(messages: Iterable[Mapping[str, Any]]) -> str:
    r"""Renders the prompt up to the question: the part that all questions about a reply share.

    Example:
        >>> render_prefix([{"role": "user", "content": "Hi"}]).endswith("\n\nUSER: Hi\n\n")
        True
    """
    return f"{_INSTRUCTION}{render_conversation(messages)}{_BETWEEN}"


def render_question(question: Question, few_shot: int) -> str:
    """Renders a question with its first worked examples.

    The question is repeated after the examples, because a model answers the question that it read last.

    Args:
        question: Question with its worked examples.
        few_shot: Number of examples to show, at least 0. If the question has fewer examples, all are shown.

    Example:
        >>> render_question(Question("apology", "Is it an apology?"), few_shot=2)
        'Is it an apology?'
    """
    shown = question.examples[:few_shot]
    if not shown:
        return question.text
    blocks = [question.text, *(_render_example(example) for example in shown)]
    return "\n\n".join([*blocks, f"Now answer for the conversation above. {question.text}"])


def render_prompt(messages: Iterable[Mapping[str, Any]], question: Question, few_shot: int) -> str:
    """Renders the whole user message that is sent to a grader.

    Args:
        messages: The conversation. It ends in the assistant turn to judge, or in the user turn if the question is
            about the prompt.
        question: The question about the conversation.
        few_shot: Number of the question's examples to show, at least 0.

    Example:
        >>> question = Question("greeting", "Is this a greeting?")
        >>> print(render_prompt([{"role": "user", "content": "Hi"}], question, few_shot=0))
        Read the conversation, then answer the question about the last reply with yes or no.
        <BLANKLINE>
        USER: Hi
        <BLANKLINE>
        Is this a greeting?
    """
    return render_prefix(messages) + render_question(question, few_shot)


def question_hash(question: Question, few_shot: int) -> str:
    """Returns the hash of a question's text as a grader reads it.

    Equal hashes mean equal prompts for equal conversations. The name of the question is not part of the hash.

    Args:
        question: Question with its worked examples.
        few_shot: Number of examples that are shown with the question, at least 0.

    Returns:
        16 hexadecimal characters.

    Example:
        >>> first, renamed = Question("apology", "Is it an apology?"), Question("sorry", "Is it an apology?")
        >>> question_hash(first, few_shot=0) == question_hash(renamed, few_shot=0)
        True
    """
    return content_hash({"template": PROMPT_TEMPLATE, "question": render_question(question, few_shot)})


def _render_example(example: WorkedExample) -> str:
    user_turn = [] if example.prompt is None else [{"role": "user", "content": example.prompt}]
    conversation = render_conversation([*user_turn, {"role": "assistant", "content": example.reply}])
    return f"Example:\n{conversation}\nAnswer: {'yes' if example.answer else 'no'}"
