"""Rows as one batch of tokens: all questions about a conversation share it as their prefix."""

from dataclasses import dataclass
from functools import cache

import torch
from transformers import PreTrainedTokenizerFast

from rbr.grading.prompt import Question, render_prefix, render_question
from rbr.sandbox.training.asker import HOWS, SUBJECTS, Asked
from rbr.sandbox.training.rows import SENTENCE_TRUTHS, Mark, Row


@dataclass(frozen=True)
class PackedRows:
    """Rows as one batch: tokens, positions that restart at each question, and the mask that keeps questions apart."""

    ids: torch.Tensor
    length: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
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
    """Tokenises rows into one batch; a question's tokens see the prefix and themselves, nothing else."""
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
    marked: list[tuple[tuple[int, int], Mark]] = []
    copied: list[tuple[int, int]] = []
    words: list[tuple[tuple[int, int], bool]] = []
    for i, (row, text) in enumerate(zip(rows, texts, strict=True)):
        if row.marks:
            first, ends, offered = _sentence_tokens(tokenizer, text, row)
            marked += [((i, end), mark) for end, mark in zip(ends, row.marks, strict=True)]
            copied += [(i, at) for at in range(first, ends[-1] + 1)] if row.copied else []
            words += [((i, at), wrong) for at, wrong in offered]
    suffixes = [[encode(render_question(Question("", asked.text), 0) + after) for asked in row.asked] for row in rows]
    lengths = [len(p) + sum(map(len, s)) for p, s in zip(prefixes, suffixes, strict=True)]
    width = max(lengths)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    allowed = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    answer_at: list[tuple[int, int]] = []
    for i, (prefix, questions) in enumerate(zip(prefixes, suffixes, strict=True)):
        p = len(prefix)
        ids[i, :p] = torch.tensor(prefix)
        positions[i, :p] = torch.arange(p)
        allowed[i, :p, :p] = torch.ones(p, p, dtype=torch.bool).tril()
        at = p
        for question in questions:
            q = len(question)
            ids[i, at : at + q] = torch.tensor(question)
            positions[i, at : at + q] = torch.arange(p, p + q)
            allowed[i, at : at + q, :p] = True
            allowed[i, at : at + q, at : at + q] = torch.ones(q, q, dtype=torch.bool).tril()
            at += q
            answer_at.append((i, at - 1))
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]
    return PackedRows(
        ids,
        torch.tensor(lengths),
        positions,
        mask,
        torch.tensor(answer_at),
        torch.tensor([asked.answer for row in rows for asked in row.asked]),
        torch.tensor([_about(asked) for row in rows for asked in row.asked]),
        torch.tensor([len(p) - 1 for p in prefixes]),
        torch.tensor([row.truth for row in rows]),
        torch.tensor([at for at, _ in marked], dtype=torch.long).reshape(-1, 2),
        torch.tensor([mark.truth for _, mark in marked]).reshape(-1, len(SENTENCE_TRUTHS)),
        torch.tensor(copied, dtype=torch.long).reshape(-1, 2),
        torch.tensor([at for at, _ in words], dtype=torch.long).reshape(-1, 2),
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
