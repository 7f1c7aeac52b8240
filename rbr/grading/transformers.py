"""A grader that runs in this process; one forward pass answers all questions about a reply, if the model allows."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM

from rbr.conversation import Conversation
from rbr.grading import OnProgress
from rbr.grading.answers import SHOWN_TOKENS, Answer, Answers, Outcome, Reading, answer_tokens, likeliest_tokens
from rbr.grading.distinct import distinct_conversations, put, too_long
from rbr.grading.in_process.prompt_tokens import PromptTokens, SharedPrompt
from rbr.grading.in_process.shared_prefix import exact_layouts, layout_for
from rbr.grading.prompt import Question
from rbr.models.pretrained import context_length, open_model, open_tokenizer

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_TRIAL_TEXTS = ("A short text.", "A text with a few more words than that.")
_TRIAL_QUESTIONS = (Question("1", "Is it?"), Question("2", "Is it so in fact?"), Question("3", "Why?"))


class TransformersGrader:
    """A grader that reads P(yes) from the probabilities of a causal language model's first answer token.

    The model gives the probabilities of all tokens, so the error bound of a grade is 0.

    Args:
        ref: The model; its tokenizer needs a chat template.
        settings: Section `grader` of a profile. This backend reads `prompt_template`, `few_shot`, `yes`, `no`,
            `min_mass` and `batch_size`, the number of pairs of reply and question in a batch.

    Raises:
        InputError: The model cannot be opened, its chat template changes the text of a message, or no spelling of
            yes or no is a single token.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> grader = TransformersGrader(profile.models.grader, profile.grader)
        >>> conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I'm sorry."}]
        >>> grader.grade([conversation], [Question("apology", "Does the reply contain an apology?")]).p_yes.shape
        (1, 1)
    """

    def __init__(self, ref: "ModelRef", settings: "GraderSettings") -> None:
        self._batch_size = settings.batch_size
        self._reading = Reading(settings.min_mass, settings.max_bound)
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForCausalLM, ref)
        self._limit = context_length(self._model, self._tokenizer)
        self._tokens = PromptTokens(self._tokenizer, ref, settings)
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)
        trial: list[Conversation] = [[{"role": "user", "content": text}] for text in _TRIAL_TEXTS]
        self._layouts = exact_layouts(self._model, self._tokens.encode(trial, _TRIAL_QUESTIONS))

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        """See `rbr.grading.Grader.grade`.

        Equal conversations are graded once. An answer is unreadable if P(yes) + P(no) is below `min_mass`, or if the
        prompt exceeds the model's context.
        """
        answers = Answers.none(len(conversations), len(questions))
        if not questions:
            return answers
        distinct = distinct_conversations(conversations)
        prompts = self._tokens.encode([conversations[rows[0]] for rows in distinct], questions)
        done = 0
        for batch in self._batches(prompts):
            # 1. Prompts that the model cannot read are answered without it.
            fitting: list[SharedPrompt] = []
            cells: list[tuple[int, int]] = []
            for number in batch:
                columns = [column for column, size in enumerate(prompts[number].lengths()) if size <= self._limit]
                cells += [(number, column) for column in columns]
                if columns:
                    tails = [prompts[number].tails[column] for column in columns]
                    fitting.append(SharedPrompt(prompts[number].prefix, tails))
                for column, size in enumerate(prompts[number].lengths()):
                    if size > self._limit:
                        put(answers, distinct[number], column, too_long(size, self._limit))
            # 2. One answer for each of the others.
            if fitting:
                layout = layout_for(fitting, self._layouts, self._model.config)
                for (number, column), answer in zip(cells, self._read(layout(self._model, fitting)), strict=True):
                    put(answers, distinct[number], column, answer)
            done += sum(len(distinct[number]) for number in batch)
            if on_progress:
                on_progress(done, "")
        return answers

    def _batches(self, prompts: Sequence[SharedPrompt]) -> Iterator[list[int]]:
        """Cuts the conversations into batches of about `batch_size` prompts, shortest conversations first."""
        order = sorted(range(len(prompts)), key=lambda number: (max(prompts[number].lengths()), number))
        size = max(1, self._batch_size // len(prompts[0].tails)) if prompts else 1
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def _read(self, logits: torch.Tensor) -> Iterator[Answer]:
        """Reads an answer from each row of logits, [T, vocabulary]."""
        logits = logits.float()  # A sum over the vocabulary in bf16 would have two digits.
        normalizers = logits.logsumexp(-1, keepdim=True).double()
        yes, no = ((logits[:, ids].double() - normalizers).exp().sum(-1).tolist() for ids in (self._yes, self._no))
        for row, (yes_mass, no_mass) in enumerate(zip(yes, no, strict=True)):
            answer = self._reading.answer(yes_mass, no_mass, "")
            if answer.outcome is Outcome.UNREADABLE:
                answer = self._reading.answer(yes_mass, no_mass, self._likeliest(logits[row]))
            yield answer

    def _likeliest(self, logits: torch.Tensor) -> str:
        probabilities, ids = logits.softmax(-1).topk(min(SHOWN_TOKENS, len(logits)))
        shown: dict[str, float] = {}
        for token, probability in zip(ids.tolist(), probabilities.tolist(), strict=True):
            text = self._tokenizer.decode([token])
            shown[text] = shown.get(text, 0.0) + probability
        return likeliest_tokens(shown)
