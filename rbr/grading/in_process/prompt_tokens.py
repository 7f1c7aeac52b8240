"""Token ids of judge prompts: the ids of the whole text, shared between the questions about a conversation.

A tokenizer does not encode a text as it encodes the parts of the text: ``\\n\\n`` is one token at the end of a part and
two before a word. A server encodes the whole prompt, so the in-process backends read the same ids.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation, well_formed
from rbr.errors import InputError
from rbr.grading.in_process.word_cuts import has_word_cuts, last_word_cut
from rbr.grading.prompt import Question, compile_prompt
from rbr.models.chat_tokens import encode_around, render_chat
from rbr.models.copied_text import changed_texts
from rbr.models.renamed_tokens import RenamedTokenizer, control_tokens, renamed

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_MARK = "[[the message]]"
_BLANKS = " \n "
_ANCHOR = "a"


@dataclass(frozen=True)
class SharedPrompt:
    """The prompts of several questions about one conversation.

    Attributes:
        prefix: Ids that all prompts begin with.
        tails: The other ids of each prompt, at least one.

    Example:
        >>> SharedPrompt.of([[1, 2, 3, 4], [1, 2, 5]])
        SharedPrompt(prefix=[1, 2], tails=[[3, 4], [5]])
    """

    prefix: list[int]
    tails: list[list[int]]

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]]) -> "SharedPrompt":
        """Cuts prompts after the ids that they share."""
        shared, shortest = 0, min(map(len, prompts), default=0)
        while shared < shortest - 1 and all(prompt[shared] == prompts[0][shared] for prompt in prompts):
            shared += 1
        return cls(list(prompts[0][:shared]) if prompts else [], [list(prompt[shared:]) for prompt in prompts])

    def lengths(self) -> list[int]:
        """Returns the number of ids of each prompt."""
        return [len(self.prefix) + len(tail) for tail in self.tails]


class PromptTokens:
    """Encodes judge prompts in the chat template of a model, as a server does.

    The ids of a conversation and a question are those of the text that the chat template makes of
    `rbr.grading.JudgePrompt.render`. Control tokens that the conversation or the question spells out are encoded as
    plain text.

    Args:
        tokenizer: A tokenizer with a chat template.
        ref: The model, with the arguments of the chat template.
        settings: Section `grader` of a profile: `prompt_template` and `few_shot`.

    Raises:
        InputError: The chat template changes, repeats or drops the text of a message.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> ref = profile.models.grader
        >>> tokens = PromptTokens(open_tokenizer(ref), ref, profile.grader)
        >>> questions = [Question("apology", "Is it an apology?"), Question("insult", "Is it an insult?")]
        >>> [prompt] = tokens.encode([[{"role": "user", "content": "Hi"}]], questions)
        >>> len(prompt.tails)
        2
    """

    def __init__(self, tokenizer: Any, ref: "ModelRef", settings: "GraderSettings") -> None:
        self._tokenizer = tokenizer
        self._prompt = compile_prompt(settings.prompt_template)
        self._few_shot = settings.few_shot
        self._before, self._after, self._trims = _split_chat_template(tokenizer, ref)
        self._copy: RenamedTokenizer | None = None
        self._secret_before, self._secret_after = self._before, self._after
        self._cuts_at_words = False
        if tokenizer.is_fast:
            self._open_copy()

    def encode(self, conversations: Sequence[Conversation], questions: Sequence[Question]) -> list[SharedPrompt]:
        """Encodes every question about every conversation.

        Args:
            conversations: The conversations.
            questions: The questions, at least one.

        Returns:
            The prompts of each conversation, in the order of the questions.
        """
        question_texts = [self._prompt.question(question, self._few_shot) for question in questions]
        ends: dict[str, list[list[int]]] = {}  # Ids of all prompts after the cut, by the text between cut and question.
        prompts = []
        for messages in conversations:
            text = self._prompt.conversation(messages)
            cut = last_word_cut(text) if self._cuts_at_words else None
            if cut is None:
                prompts.append(SharedPrompt.of([self.encode_message(text + end) for end in question_texts]))
                continue
            # The ids before the cut do not depend on the text after it, and the other way round.
            between = text[cut:]
            if between not in ends:
                ends[between] = [self._encode_end(between + end) for end in question_texts]
            end = SharedPrompt.of(ends[between])
            head = self._encode(self._secret_before, self._trimmed(text[:cut], left=True), "")
            prompts.append(SharedPrompt(head + end.prefix, end.tails))
        return prompts

    def encode_message(self, content: str) -> list[int]:
        """Returns the ids of a whole prompt: the chat template around the text of a user message."""
        return self._encode(self._secret_before, self._trimmed(content, left=True, right=True), self._secret_after)

    def _encode_end(self, content: str) -> list[int]:
        """Returns the ids of the end of a prompt, after a word."""
        # A word before the cut keeps the tokenizer from treating the end as the beginning of a text.
        anchor = self._encode(_ANCHOR, "", "")
        return self._encode(_ANCHOR, self._trimmed(content, right=True), self._secret_after)[len(anchor) :]

    def _encode(self, before: str, content: str, after: str) -> list[int]:
        """Encodes a message between two parts of the template. This is the only place that encodes text of others."""
        if self._copy is None:
            return encode_around(self._tokenizer, before, content, after)
        return self._copy.encode(before + well_formed(content) + after)

    def _trimmed(self, text: str, left: bool = False, right: bool = False) -> str:
        return _trim(text, left and self._trims[0], right and self._trims[1])

    def _open_copy(self) -> None:
        """Opens the copy of the tokenizer in which control tokens have secret names that no message can spell."""
        copy = renamed(self._tokenizer)
        names = {text: copy.names[token] for token, text in control_tokens(self._tokenizer).contents.items()}
        control = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")
        before, after = (control.sub(lambda found: names[found[0]], text) for text in (self._before, self._after))
        # A tokenizer can find control tokens in its template by rules of its own. Then `encode_around` finds them.
        text = f"One line.\n\nTwo words: {_MARK}\n  Two\t\tblanks\n\n\n        are  indented.   "
        if copy.encode(before + text + after) != encode_around(self._tokenizer, self._before, text, self._after):
            return
        self._copy, self._secret_before, self._secret_after = copy, before, after
        self._cuts_at_words = has_word_cuts(json.loads(copy.backend.to_str()))


def _split_chat_template(tokenizer: Any, ref: "ModelRef") -> tuple[str, str, tuple[bool, bool]]:
    """Returns the text before and after a user message, and whether the template trims the message left and right."""

    def rendered(content: str) -> str:
        return render_chat(tokenizer, [{"role": "user", "content": content}], True, ref.chat_template_kwargs)

    changed: list[str] = []
    # The template's own text may have blanks, too. A message without blanks shows the text of the template.
    bare = rendered(_MARK)
    if bare.count(_MARK) == 1:
        before, after = bare.split(_MARK)
        blanks = _BLANKS + _MARK + _BLANKS
        text = rendered(blanks)
        choices = ((left, right) for left in (False, True) for right in (False, True))
        trims = next((trims for trims in choices if text == before + _trim(blanks, *trims) + after), None)
        if trims is not None:
            changed = changed_texts(lambda text: rendered(text) == before + _trim(text, *trims) + after)
            if not changed:
                return before, after, trims
    raise InputError(
        "the chat template changes, repeats or drops the text of a user message"
        + (f": {', '.join(changed)}" if changed else ""),
        where=ref.path,
        hint="Use a model whose chat template copies the message unchanged.",
    )


def _trim(text: str, left: bool, right: bool) -> str:
    """Removes the white space that a chat template removes from a message."""
    text = text.lstrip() if left else text
    return text.rstrip() if right else text
