"""Packs the grader's rows into one sequence of tokens: all questions about a conversation share it as their prefix."""

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from rbr.grading.prompt import JudgePrompt, Question, indent_lines
from rbr_sandbox.train.grader_rows import SENTENCE_TRUTH_NAMES, GraderRow, MarkedSentence
from rbr_sandbox.train.padding_free import PackedSequence
from rbr_sandbox.train.question_sampler import OPERATORS, SUBJECTS, TrainingQuestion

JUDGE_PROMPT = JudgePrompt((Path(__file__).parents[1] / "judge_prompt.jinja").read_text(encoding="utf-8"))
"""The prompt that the profile `sandbox` names."""


@dataclass(frozen=True)
class PackedRows:
    """Rows in one sequence of tokens, with the positions of the predictions and their targets.

    Attributes:
        sequence: Tokens of all rows.
        answer_positions: Last token of each question, (questions,).
        answers: Answer to each question, (questions,).
        question_targets: Indices of two subjects and an operator, (questions, 3).
        prefix_end_positions: Last token of each prefix, (rows,).
        truths: Truths about each conversation, NaN if unknown, (rows, truth names).
        sentence_end_positions: Last token of each sentence, (sentences,).
        sentence_truths: Truths about each sentence, NaN if unknown, (sentences, sentence truth names).
        written_positions: Tokens of the replies that the lower layers learn to write, (written tokens,).
        word_end_positions: Last token of each word of an offered action, (words,).
        word_differs: 1 if the word differs from the requested action, otherwise 0, (words,).
    """

    sequence: PackedSequence
    answer_positions: torch.Tensor
    answers: torch.Tensor
    question_targets: torch.Tensor
    prefix_end_positions: torch.Tensor
    truths: torch.Tensor
    sentence_end_positions: torch.Tensor
    sentence_truths: torch.Tensor
    written_positions: torch.Tensor
    word_end_positions: torch.Tensor
    word_differs: torch.Tensor


def pack_rows(tokenizer: PreTrainedTokenizerFast, rows: list[GraderRow]) -> PackedRows:
    """Tokenizes rows into one sequence in which each question sees only its prefix and itself."""
    # 1. Find the text that the chat template puts before and after a user turn.
    marker = "\x00"
    frame = tokenizer.apply_chat_template(
        [{"role": "user", "content": marker}], tokenize=False, add_generation_prompt=True
    )
    before, after = frame.split(marker)

    @cache
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    # 2. Tokenize the prefix and the questions of each row. Row i starts at position starts[i] of the sequence.
    texts = [before + JUDGE_PROMPT.conversation(row.messages) for row in rows]
    prefixes = [encode(text) for text in texts]
    question_ids = [
        [encode(JUDGE_PROMPT.question(Question("", question.text), 0) + after) for question in row.questions]
        for row in rows
    ]
    starts = [0, *accumulate(len(p) + sum(map(len, q)) for p, q in zip(prefixes, question_ids, strict=True))]
    # 3. Find the positions of the predictions.
    sentences: list[MarkedSentence] = []
    sentence_ends: list[int] = []
    written: list[int] = []
    words: list[tuple[int, bool]] = []
    answer_positions: list[int] = []
    for row, text, start, prefix, questions in zip(rows, texts, starts, prefixes, question_ids, strict=False):
        answer_positions += [end - 1 for end in accumulate(map(len, questions), initial=start + len(prefix))][1:]
        if row.sentences:
            first, ends, offered_words = _sentence_tokens(tokenizer, text, row)
            sentences += row.sentences
            sentence_ends += [start + end for end in ends]
            written += range(start + first, start + ends[-1] + 1) if row.policy_should_write else ()
            words += [(start + end, differs) for end, differs in offered_words]
    # 4. Collect positions and targets in tensors.
    all_questions = [question for row in rows for question in row.questions]
    return PackedRows(
        PackedSequence.of(list(zip(prefixes, question_ids, strict=True))),
        torch.tensor(answer_positions, dtype=torch.long),
        torch.tensor([question.answer for question in all_questions]),
        torch.tensor([_question_target(question) for question in all_questions]),
        torch.tensor([start + len(prefix) - 1 for start, prefix in zip(starts, prefixes, strict=False)]),
        torch.tensor([row.truth for row in rows]),
        torch.tensor(sentence_ends, dtype=torch.long),
        torch.tensor([sentence.truth for sentence in sentences]).reshape(-1, len(SENTENCE_TRUTH_NAMES)),
        torch.tensor(written, dtype=torch.long),
        torch.tensor([end for end, _ in words], dtype=torch.long),
        torch.tensor([float(differs) for _, differs in words]),
    )


def _question_target(question: TrainingQuestion) -> tuple[int, int, int]:
    first, second = question.subjects
    return SUBJECTS.index(first), SUBJECTS.index(second), OPERATORS.index(question.operator)


def _sentence_tokens(
    tokenizer: PreTrainedTokenizerFast, text: str, row: GraderRow
) -> tuple[int, list[int], list[tuple[int, bool]]]:
    """Finds the tokens of the reply at the end of ``text``.

    Returns:
        Index of the reply's first token; index of the last token of each sentence; for each offered word, the index of
        its last token and whether the word differs from the requested action.
    """
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]

    def token_at(character_end: int) -> int:
        return next(i for i, (start, end) in enumerate(spans) if start < character_end <= end)

    # Search each sentence after the end of the previous one, because a sentence can occur twice.
    position = text.rindex(indent_lines(row.messages[-1]["content"]).strip())
    first = token_at(position + 1)
    sentence_ends: list[int] = []
    offered_words: list[tuple[int, bool]] = []
    for sentence in row.sentences:
        shown = indent_lines(sentence.text)
        start = text.index(shown, position)
        offered_words += [(token_at(start + end), differs) for end, differs in sentence.offered_words]
        position = start + len(shown)
        sentence_ends.append(token_at(position))
    return first, sentence_ends, offered_words
