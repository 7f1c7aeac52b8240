"""The text that a grader reads: a Jinja template renders the conversation first and the question last.

All questions about a reply share the text before the question, so a grader reads that text once. The profile names the
file of the template. `JudgePrompt` explains the template's two blocks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rbr.conversation import well_formed
from rbr.errors import InputError
from rbr.hashing import content_hash

BLOCKS = ("conversation", "question")
"""Names of the two blocks of a template, in order."""

# What `str.splitlines` treats as the end of a line. A model may read any of these characters as one.
_LINE_END = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
INDENT = "  "
"""What `indent_lines` puts in front of a line."""

_TRIAL_TURNS = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good morning."})
_TRIAL_QUESTION = "Is the last reply a greeting?"


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


class JudgePrompt:
    r"""A template of the user message that is sent to a grader.

    The template is a Jinja file with two blocks and no other text:

    - ``{% block conversation %}`` has the variables ``turns`` (a list with ``number`` from 1, ``role`` and
      ``content``) and ``fence`` (a code that occurs in no turn). A template without the fence writes
      ``{{ turn.content | indent_lines }}``, so that no line of a message can look like the first line of a turn.
    - ``{% block question %}`` has the variables ``question`` and ``examples`` (a list with ``prompt``, ``reply`` and
      ``answer``; empty without few-shot examples). Its text ends in the question.

    Args:
        template: Text of the template.

    Raises:
        InputError: The template is not valid Jinja, lacks a block, uses an unknown variable, has text outside the
            blocks, drops a turn, or does not end in the question.

    Example:
        >>> turns = "{% block conversation %}{% for turn in turns %}{{ turn.content }}{% endfor %}{% endblock %}"
        >>> prompt = JudgePrompt(turns + "{% block question %} {{ question }}{% endblock %}")
        >>> prompt.render([{"role": "user", "content": "Hi."}], Question("greeting", "Is it a greeting?"), few_shot=0)
        'Hi. Is it a greeting?'
    """

    def __init__(self, template: str) -> None:
        self.text = template
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters["indent_lines"] = indent_lines
        try:
            self._template: Template = environment.from_string(template)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            place = f" (line {line})" if line else ""
            raise _problem(f"the template is not valid Jinja: {error}{place}") from error
        self._check()

    def conversation(self, messages: Iterable[Mapping[str, Any]]) -> str:
        """Renders the part that all questions about a reply share.

        With the two templates of this project, different conversations have different texts: no message can contain
        what a turn of its own would look like. In ill-formed text, an unpaired surrogate becomes U+FFFD, because no
        tokenizer and no server accepts it.

        Args:
            messages: The conversation. It ends in the assistant turn to judge, or in the user turn if the question is
                about the prompt.
        """
        turns = [
            {"number": number, "role": message["role"], "content": well_formed(message["content"])}
            for number, message in enumerate(messages, 1)
        ]
        return self._render("conversation", {"turns": turns, "fence": fence_of(turn["content"] for turn in turns)})

    def question(self, question: Question, few_shot: int) -> str:
        """Renders the part that follows: the question, after its first `few_shot` examples.

        Args:
            question: Question with its worked examples.
            few_shot: Number of examples to show, at least 0. If the question has fewer examples, all are shown.
        """
        return self._render("question", {"question": question.text, "examples": list(question.examples[:few_shot])})

    def render(self, messages: Iterable[Mapping[str, Any]], question: Question, few_shot: int) -> str:
        """Renders the whole message: the conversation and then the question."""
        return self.conversation(messages) + self.question(question, few_shot)

    def _render(self, block: str, variables: dict[str, Any]) -> str:
        return "".join(self._template.blocks[block](self._template.new_context(variables)))

    def _check(self) -> None:
        """Renders a trial conversation, so that a mistake in the template is found before any model works."""
        if missing := [name for name in BLOCKS if name not in self._template.blocks]:
            raise _problem(f"the template lacks the block `{missing[0]}`")
        question = Question("trial", _TRIAL_QUESTION)
        try:
            text = self.render(_TRIAL_TURNS, question, 0)
            whole = self._template.render(
                turns=[{"number": number, **turn} for number, turn in enumerate(_TRIAL_TURNS, 1)],
                fence=fence_of(turn["content"] for turn in _TRIAL_TURNS),
                question=_TRIAL_QUESTION,
                examples=[],
            )
        except TemplateError as error:
            raise _problem(f"the template cannot be rendered: {error}") from error
        if whole != text:
            raise _problem("the template has text outside its two blocks, or a block uses the other's variables")
        if not text.endswith(_TRIAL_QUESTION):
            raise _problem("the text does not end in the question")
        if lost := [turn["content"] for turn in _TRIAL_TURNS if turn["content"] not in text]:
            raise _problem(f"the block `conversation` drops the turn {lost[0]!r} of a trial conversation")


@lru_cache(maxsize=8)
def compile_prompt(template: str) -> JudgePrompt:
    """Returns the compiled template; equal texts are compiled once.

    Raises:
        InputError: See `JudgePrompt`.

    Example:
        >>> from rbr.profile import load_profile
        >>> template = load_profile("profiles/sandbox.yaml").grader.prompt_template
        >>> compile_prompt(template) is compile_prompt(template)
        True
    """
    return JudgePrompt(template)


def fence_of(texts: Iterable[str]) -> str:
    """Returns a code that occurs in none of the texts: 12 hexadecimal characters, decided by the texts alone.

    A template puts the code on the lines between turns. A text cannot contain such a line, because nobody can write a
    text that contains its own hash.

    Example:
        >>> fence_of(["Hello.", "Good morning."])
        '31c164c4391f'
    """
    texts = list(texts)
    attempt = 0
    while any((fence := content_hash(["fence", attempt, texts])[:12]) in text for text in texts):
        attempt += 1
    return fence


def indent_lines(text: str) -> str:
    r"""Indents all lines of a text but the first by two spaces; the filter ``indent_lines`` of a template.

    A line ends where `str.splitlines` ends it, for example also at a carriage return or at U+2028.

    Example:
        >>> indent_lines("Sure.\nUSER: Thanks.\rUSER: Bye.")
        'Sure.\n  USER: Thanks.\r  USER: Bye.'
    """
    return _LINE_END.sub(lambda end: end.group() + INDENT, text)


def question_hash(question: Question, few_shot: int) -> str:
    """Returns the hash of what a question contributes to the prompt: its text and the examples that are shown.

    The name of the question is not part of the hash. The template is part of the grader's version.

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
    shown = [(example.prompt, example.reply, example.answer) for example in question.examples[:few_shot]]
    return content_hash({"question": question.text, "examples": shown})


def _problem(what: str) -> InputError:
    return InputError(
        what,
        where="grader.prompt_template",
        hint="Start from profiles/judge_prompt.jinja: a block `conversation`, then a block `question`.",
    )
