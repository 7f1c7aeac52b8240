"""A grader that runs in this process; one forward pass answers all questions about a reply, if the model allows."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import answer_tokens, p_yes_from_mass
from rbr.grading.prompt import Question, render_prefix, render_question
from rbr.grading.shared_prefix import fastest_exact_layout
from rbr.models.pretrained import context_length, open_model, open_tokenizer

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_PLACEHOLDER = "[[the message]]"


class TransformersGrader:
    """A grader that reads P(yes) from the probabilities of a causal language model's first answer token.

    Args:
        ref: The model; its tokenizer needs a chat template.
        settings: Section `grader` of a profile. This backend reads `yes`, `no`, `min_mass`, `few_shot` and
            `batch_size`, the number of pairs of reply and question in a batch.

    Raises:
        InputError: The model cannot be opened, its chat template changes the text of a message, or no spelling of
            yes or no is a single token.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> grader = TransformersGrader(profile.models.grader, profile.grader)
        >>> conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I'm sorry."}]
        >>> grader.grade([conversation], [Question("apology", "Does the reply contain an apology?")]).shape
        (1, 1)
    """

    def __init__(self, ref: "ModelRef", settings: "GraderSettings") -> None:
        self._settings = settings
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForCausalLM, ref)
        self._before, self._after = _split_chat_template(self._tokenizer, ref.path)
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)
        trial_prefixes = [
            self._encode(self._before + text) for text in ("A short prefix.", "A prefix with more words.")
        ]
        trial_questions = [self._encode(text + self._after) for text in ("Is it?", "Is it so in fact?", "Why?")]
        self._layout = fastest_exact_layout(self._model, trial_prefixes, trial_questions)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """See `rbr.grading.Grader.grade`.

        A grade is NaN if P(yes) + P(no) is below `min_mass`, or if the prompt exceeds the model's context.
        """
        few_shot = self._settings.few_shot
        prefixes = [self._encode(self._before + render_prefix(messages)) for messages in conversations]
        suffixes = [self._encode(render_question(question, few_shot) + self._after) for question in questions]
        grades = np.full((len(prefixes), len(suffixes)), np.nan)
        done = 0
        for rows, columns in self._batches(prefixes, suffixes):
            if columns:
                batch_prefixes, batch_suffixes = [prefixes[row] for row in rows], [suffixes[k] for k in columns]
                logits = self._layout(self._model, batch_prefixes, batch_suffixes)  # [rows, columns, vocabulary]
                grades[np.ix_(rows, columns)] = self._read(logits)
            done += len(rows)
            if on_progress:
                on_progress(done)
        return grades

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _batches(self, prefixes: list[list[int]], suffixes: list[list[int]]) -> list[tuple[list[int], list[int]]]:
        """Splits the grade matrix into batches: rows of similar length, and the columns that fit after all of them.

        Args:
            prefixes: Tokens of each conversation.
            suffixes: Tokens of each question.

        Returns:
            Row indices and column indices of each batch. Every row is in exactly one batch.
        """
        limit = context_length(self._model)
        # 1. Group the rows, shortest first, by the questions that fit into the context after the row.
        rows_by_columns: dict[tuple[int, ...], list[int]] = {}
        for row in sorted(range(len(prefixes)), key=lambda row: (len(prefixes[row]), row)):
            columns = tuple(k for k, suffix in enumerate(suffixes) if len(prefixes[row]) + len(suffix) <= limit)
            rows_by_columns.setdefault(columns, []).append(row)
        # 2. Cut each group into batches of about `batch_size` pairs.
        batches: list[tuple[list[int], list[int]]] = []
        for columns, rows in rows_by_columns.items():
            size = max(1, self._settings.batch_size // max(1, len(columns)))
            batches += [(rows[start : start + size], list(columns)) for start in range(0, len(rows), size)]
        return batches

    def _read(self, logits: torch.Tensor) -> NDArray[np.float64]:
        """Reads grades [rows, columns] from logits [rows, columns, vocabulary]."""
        # Unlike a server, which returns only the most probable tokens, the model gives the logits of all tokens.
        probabilities = torch.softmax(logits.double(), dim=-1)
        yes_mass = probabilities[..., self._yes].sum(-1)
        no_mass = probabilities[..., self._no].sum(-1)
        return p_yes_from_mass(yes_mass.cpu().numpy(), no_mass.cpu().numpy(), self._settings.min_mass)


def _split_chat_template(tokenizer: Any, where: str) -> tuple[str, str]:
    """Returns the text that the chat template puts before and after the content of a user message."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": _PLACEHOLDER}], tokenize=False, add_generation_prompt=True
    )
    if text.count(_PLACEHOLDER) != 1:
        raise InputError(
            "the chat template changes, repeats or drops the text of a user message",
            where=where,
            hint="Use a model whose chat template copies the message unchanged.",
        )
    before, after = text.split(_PLACEHOLDER)
    return before, after
