"""Rows as one line of tokens: all questions about a conversation share it as their prefix."""

from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import torch
from transformers import PreTrainedTokenizerFast

from rbr.grading.prompt import Question, render_prefix, render_question
from rbr_sandbox.train.asker import HOWS, SUBJECTS, Asked
from rbr_sandbox.train.padding_free import Line
from rbr_sandbox.train.rows import SENTENCE_TRUTHS, Mark, Row


@dataclass(frozen=True)
class PackedRows:
    """Rows as one line of tokens, and the tokens at which something is to be known."""

    line: Line
    answer_at: torch.Tensor
    answers: torch.Tensor
    about: torch.Tensor
    prefix_end: torch.Tensor
    truth: torch.Tensor
    sentence_end: torch.Tensor
    sentence_truth: torch.Tensor
    copied: torch.Tensor
    word_end: torch.Tensor
    word_wrong: torch.Tensor


def pack(tokenizer: PreTrainedTokenizerFast, rows: list[Row]) -> PackedRows:
    """Tokenises rows into one line; a question's tokens see the prefix and themselves, nothing else."""
    marker = "\x00"
    frame = tokenizer.apply_chat_template(
        [{"role": "user", "content": marker}], tokenize=False, add_generation_prompt=True
    )
    before, after = frame.split(marker)

    @cache
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    texts = [before + render_prefix(row.messages) for row in rows]
    prefixes = [encode(text) for text in texts]
    suffixes = [[encode(render_question(Question("", asked.text), 0) + after) for asked in row.asked] for row in rows]
    starts = [0, *accumulate(len(p) + sum(map(len, s)) for p, s in zip(prefixes, suffixes, strict=True))]
    marks: list[Mark] = []
    sentence_end: list[int] = []
    copied: list[int] = []
    words: list[tuple[int, bool]] = []
    answer_at: list[int] = []
    for row, text, start, prefix, questions in zip(rows, texts, starts, prefixes, suffixes, strict=False):
        answer_at += [end - 1 for end in accumulate(map(len, questions), initial=start + len(prefix))][1:]
        if row.marks:
            first, ends, offered = _sentence_tokens(tokenizer, text, row)
            marks += row.marks
            sentence_end += [start + end for end in ends]
            copied += range(start + first, start + ends[-1] + 1) if row.copied else ()
            words += [(start + at, wrong) for at, wrong in offered]
    return PackedRows(
        Line.of(list(zip(prefixes, suffixes, strict=True))),
        torch.tensor(answer_at, dtype=torch.long),
        torch.tensor([asked.answer for row in rows for asked in row.asked]),
        torch.tensor([_about(asked) for row in rows for asked in row.asked]),
        torch.tensor([start + len(prefix) - 1 for start, prefix in zip(starts, prefixes, strict=False)]),
        torch.tensor([row.truth for row in rows]),
        torch.tensor(sentence_end, dtype=torch.long),
        torch.tensor([mark.truth for mark in marks]).reshape(-1, len(SENTENCE_TRUTHS)),
        torch.tensor(copied, dtype=torch.long),
        torch.tensor([at for at, _ in words], dtype=torch.long),
        torch.tensor([float(wrong) for _, wrong in words]),
    )


def _about(asked: Asked) -> tuple[int, int, int]:
    first, second = asked.subjects
    return SUBJECTS.index(first), SUBJECTS.index(second), HOWS.index(asked.how)


def _sentence_tokens(
    tokenizer: PreTrainedTokenizerFast, text: str, row: Row
) -> tuple[int, list[int], list[tuple[int, bool]]]:
    """Tokens of the reply that stands last in ``text``: its first, each sentence's last, each offered word's last."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]

    def token_of(place: int) -> int:
        return next(i for i, (start, end) in enumerate(spans) if start < place <= end)

    at = text.rindex(row.messages[-1]["content"].strip())
    first = token_of(at + 1)
    ends: list[int] = []
    offered: list[tuple[int, bool]] = []
    for mark in row.marks:
        begins = text.index(mark.text, at)
        offered += [(token_of(begins + end), wrong) for end, wrong in mark.offered]
        at = begins + len(mark.text)
        ends.append(token_of(at))
    return first, ends, offered
