"""Finds prompts that a model cannot read: its chat template refuses the turns, or the prompt exceeds its context.

Only the tokenizer and the configuration of a model are read, so all prompts are checked before any model works.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rbr.conversation import Conversation, Message, Prompt, fold_turns, prompt_id
from rbr.errors import InputError
from rbr.models.chat_template import render_chat
from rbr.models.chat_tokens import read_chat
from rbr.models.prompt_check import prompt_problem
from rbr.models.renamed_tokens import SECRET

if TYPE_CHECKING:
    from rbr.profile import ModelRef

REFUSED, TOO_LONG = "refused", "too_long"

_NO_LIMIT = 2**31
_ADDED_TOKENS = 16  # at most; a tokenizer may add a beginning of the text
_TRIAL_REPLY = Message(role="assistant", content=".")


@dataclass(frozen=True)
class PromptProblem:
    """Why a model cannot read a prompt.

    Attributes:
        kind: ``refused``: the chat template refuses the turns. ``too_long``: the context is too short.
        reason: The problem in words, without numbers, so that equal problems have equal reasons.
        detail: The problem in words, with numbers.

    Example:
        >>> PromptProblem("too_long", "too long for the policy", "3027 tokens, but at most 448 fit").kind
        'too_long'
    """

    kind: Literal["refused", "too_long"]
    reason: str
    detail: str


@dataclass(frozen=True)
class PromptReader:
    """A model that reads prompts: its tokenizer, and what it reads before and after a prompt.

    Attributes:
        name: The model in words, such as ``helpful reward model``.
        tokenizer: Its tokenizer, with a chat template.
        context: Largest number of tokens that the model accepts.
        room: Number of tokens that must fit after what `turns` returns, such as the longest reply.
        turns: Returns the turns that the model reads about a prompt.
        add_generation_prompt: Whether the model replies, so that the text ends in the beginning of a reply.
        chat_template_kwargs: More arguments of the chat template.

    Example:
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> reader = PromptReader("policy", *open_reader(ref), room=64)
        >>> reader.problem([{"role": "user", "content": "word " * 600}]).reason
        'too long for the policy'
    """

    name: str
    tokenizer: Any
    context: int
    room: int
    turns: Callable[[Conversation], Conversation] = list
    add_generation_prompt: bool = True
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def problem(self, prompt: Conversation) -> PromptProblem | None:
        """Returns why the model cannot read a prompt; None if it can."""
        turns = self.turns(prompt)
        try:
            contents, text = read_chat(self.tokenizer, turns, self.add_generation_prompt, self.chat_template_kwargs)
            # A template may drop a turn that it does not know, and the model would reply to another prompt.
            if (altered := self._altered_turn(turns, contents, text)) is not None:
                article = "an" if altered["role"] == "assistant" else "a"
                return _refused(
                    self.name, f"the chat template drops, moves or changes {article} {altered['role']} turn"
                )
            # A token of ASCII text has at least one character, so a short text fits without counting.
            if text.isascii() and len(text) + _ADDED_TOKENS + self.room <= self.context:
                return None
            if (problem := self._problem_within(turns, self.context)) is None:
                return None
            if (refusal := self._problem_within(turns, _NO_LIMIT)) is None:
                reason = f"too long for the {self.name}"
                return PromptProblem("too_long", reason, f"{reason}: {problem}")
        except InputError as error:
            refusal = error.what
        return _refused(self.name, refusal)

    def _altered_turn(self, turns: Conversation, contents: Sequence[str], text: str) -> Message | None:
        """Returns the first turn whose text is missing in the rendered text, or comes before that of an earlier turn.

        A system turn may have any place: some templates put it into the last user turn.
        """
        for turn, content in zip(turns, contents, strict=True):
            if content.strip() not in text:
                return turn
        # A text can also occur by chance, in another turn or in the template. A secret mark cannot.
        marks = [f"x{SECRET}{index}x" for index in range(len(turns))]
        marked = [Message(role=turn["role"], content=mark) for turn, mark in zip(turns, marks, strict=True)]
        text = render_chat(self.tokenizer, marked, self.add_generation_prompt, self.chat_template_kwargs)
        end = 0
        for turn, mark in zip(turns, marks, strict=True):
            start = text.find(mark, 0 if turn["role"] == "system" else end)
            if start < 0:
                return turn
            if turn["role"] != "system":
                end = start + len(mark)
        return None

    def _problem_within(self, turns: Conversation, limit: int) -> str | None:
        return prompt_problem(
            self.tokenizer,
            turns,
            limit=limit,
            new_tokens=self.room,
            add_generation_prompt=self.add_generation_prompt,
            chat_template_kwargs=self.chat_template_kwargs,
        )


@dataclass(frozen=True)
class CheckedPrompt:
    """A prompt, with the reason if it is left out.

    Attributes:
        given: The prompt as the data file has it.
        used: The prompt as the models read it: folded, if that was necessary.
        problem: Why the prompt is left out; None if every model can read it.

    Example:
        >>> prompt = Prompt("87e39c3661f0d5b6", ({"role": "user", "content": "Hi"},), category=None, held_out=None)
        >>> CheckedPrompt(prompt, prompt, problem=None).is_folded
        False
    """

    given: Prompt
    used: Prompt
    problem: PromptProblem | None

    @property
    def is_folded(self) -> bool:
        """Whether the turns were rewritten."""
        return self.used.prompt_id != self.given.prompt_id


def check_prompts(prompts: Sequence[Prompt], readers: Sequence[PromptReader], *, fold: bool) -> list[CheckedPrompt]:
    """Checks every prompt against every model that reads it.

    Args:
        prompts: The prompts, each with its own id.
        readers: The models.
        fold: Whether a prompt that a chat template refuses is rewritten by `fold_turns`, for all models.

    Returns:
        One result per prompt, in order. A prompt that is left out is not rewritten.

    Example:
        >>> from rbr.profile import ModelRef
        >>> ref = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> prompt = Prompt("87e39c3661f0d5b6", ({"role": "user", "content": "Hi"},), category=None, held_out=None)
        >>> check_prompts([prompt], [PromptReader("policy", *open_reader(ref), room=64)], fold=False)[0].problem is None
        True
    """
    ids = {prompt.prompt_id for prompt in prompts}
    checked: list[CheckedPrompt] = []
    for prompt in prompts:
        used, problem = prompt, _first_problem(prompt, readers)
        if fold and problem is not None and problem.kind == REFUSED:
            messages = tuple(fold_turns(prompt.messages))
            folded = Prompt(prompt_id(messages), messages, prompt.category, prompt.held_out)
            problem = _first_problem(folded, readers)
            if problem is None and folded.prompt_id != prompt.prompt_id:
                if folded.prompt_id in ids:
                    reason = "folded, it is the same as another prompt"
                    problem = PromptProblem("refused", reason, reason)
                else:
                    used = folded
                    ids.add(folded.prompt_id)
        checked.append(CheckedPrompt(prompt, used, problem))
    return checked


def with_trial_reply(prompt: Conversation) -> Conversation:
    """Returns a prompt with a short reply, as a reward model reads it.

    Example:
        >>> with_trial_reply([{"role": "user", "content": "Hi"}])[-1]["role"]
        'assistant'
    """
    return [*prompt, _TRIAL_REPLY]


def open_reader(ref: "ModelRef") -> tuple[Any, int]:
    """Opens the tokenizer of a model, and reads its context in tokens. Loads no weights.

    Raises:
        InputError: The files cannot be found or read, or the tokenizer has no chat template.

    Example:
        >>> from rbr.profile import ModelRef
        >>> open_reader(ModelRef(path="rbr_sandbox/models/policy", revision=None))[1]
        512
    """
    # Importing this module must not import transformers.
    from rbr.models.pretrained import context_limit, open_tokenizer

    tokenizer = open_tokenizer(ref)
    return tokenizer, context_limit(ref, tokenizer)


def _first_problem(prompt: Prompt, readers: Iterable[PromptReader]) -> PromptProblem | None:
    """Returns the first problem of a prompt. A refusal comes first, because the turns may then be folded."""
    problems = [problem for reader in readers if (problem := reader.problem(list(prompt.messages)))]
    return next((problem for problem in problems if problem.kind == REFUSED), next(iter(problems), None))


def _refused(name: str, why: str) -> PromptProblem:
    reason = f"refused by the {name}: {why}"
    return PromptProblem("refused", reason, reason)
