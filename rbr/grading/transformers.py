"""A grader in this process: one forward pass per reply answers all questions about it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import answer_tokens
from rbr.grading.prompt import Question, render_prefix, render_question
from rbr.grading.shared_prefix import fastest_exact
from rbr.models.pretrained import context_length, open_model, open_tokenizer

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_MARKER = "[[the message]]"


class TransformersGrader:
    """Reads P(yes) off a causal language model's first answer token.

    Args:
        ref: The model; its tokenizer needs a chat template.
        settings: `yes`, `no`, `min_mass`, `few_shot`, and `batch_size`: how many pairs of reply and
            question share a forward pass.

    Raises:
        InputError: The model cannot be opened, its chat template does not carry a message as it is, or
            no spelling of yes or of no is one token.
    """

    def __init__(self, ref: "ModelRef", settings: "GraderSettings") -> None:
        self._settings = settings
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForCausalLM, ref)
        self._before, self._after = _frame(self._tokenizer, ref.path)
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)
        trial = [self._encode(self._before + text) for text in ("A short prefix.", "A prefix with more words.")]
        asked = [self._encode(text + self._after) for text in ("Is it?", "Is it so in fact?", "Why?")]
        self._layout = fastest_exact(self._model, trial, asked)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """See `rbr.grading.Grader.grade`.

        NaN where P(yes) + P(no) is below `min_mass`, or prompt and question exceed the model's context.
        """
        prefixes = [self._encode(self._before + render_prefix(messages)) for messages in conversations]
        asked = [
            self._encode(render_question(question, self._settings.few_shot) + self._after) for question in questions
        ]
        grades = np.full((len(prefixes), len(asked)), np.nan)
        done = 0
        for rows, columns in self._batches(prefixes, asked):
            if columns:
                logits = self._layout(self._model, [prefixes[row] for row in rows], [asked[k] for k in columns])
                grades[np.ix_(rows, columns)] = self._read(logits)
            done += len(rows)
            if on_progress:
                on_progress(done)
        return grades

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _batches(self, prefixes: list[list[int]], asked: list[list[int]]) -> list[tuple[list[int], list[int]]]:
        """Rows of like length with the questions that fit behind each of them."""
        limit = context_length(self._model)
        by_fit: dict[tuple[int, ...], list[int]] = {}
        for row in sorted(range(len(prefixes)), key=lambda row: (len(prefixes[row]), row)):
            fit = tuple(k for k, question in enumerate(asked) if len(prefixes[row]) + len(question) <= limit)
            by_fit.setdefault(fit, []).append(row)
        batches: list[tuple[list[int], list[int]]] = []
        for fit, rows in by_fit.items():
            size = max(1, self._settings.batch_size // max(1, len(fit)))
            batches += [(rows[start : start + size], list(fit)) for start in range(0, len(rows), size)]
        return batches

    def _read(self, logits: torch.Tensor) -> NDArray[np.float64]:
        probabilities = torch.softmax(logits.double(), dim=-1)
        yes = probabilities[..., self._yes].sum(-1)
        no = probabilities[..., self._no].sum(-1)
        answer = torch.where(yes + no >= self._settings.min_mass, yes / (yes + no), torch.nan)
        return answer.cpu().numpy()


def _frame(tokenizer: Any, where: str) -> tuple[str, str]:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": _MARKER}], tokenize=False, add_generation_prompt=True
    )
    if text.count(_MARKER) != 1:
        raise InputError(
            "the chat template does not carry a user message once and unchanged",
            where=where,
            hint="Use another model.",
        )
    before, after = text.split(_MARKER)
    return before, after
