"""What one step of the grader's training sees: conversations, questions about them, and the truths behind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from math import nan
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from rbr.conversation import Conversation, Message
from rbr.grading.prompt import Question, render_prefix, render_question
from rbr.rulebook import Rulebook
from rbr.sandbox.acts import any_acts
from rbr.sandbox.oracle import asked_act, parse, split_sentences
from rbr.sandbox.questions import CATEGORY_QUESTIONS, PHRASES, answer_of_two, compose, compose_negated, compose_two
from rbr.sandbox.replies import ILLOGICAL, Judged, draw_reply, judge
from rbr.sandbox.sentences import SENTENCES
from rbr.sandbox.world import WorldPrompt, Writer, training_prompt

QUESTIONS_PER_ROW = 16
# What rows are about, by weight.
KINDS_OF_ROWS = {"prompt": 0.16, "sample": 0.1, "offer": 0.22, "corrupted": 0.06, "loose": 0.12, "reply": 0.34}
# How many of the questions ask whether the reply makes sense: the hardest to learn, and all classes need it.
ASKED_OF_SENSE = 2
# What a question about a reply is: in the rulebook's own words, composed, negated; the rest asks two things at once.
SHIPPED, COMPOSED, NEGATED = 0.35, 0.4, 0.12
ASKED_WHERE_TRUE = 0.45


SENTENCE_TRUTHS = (*sorted({act for sentence in SENTENCES for act in sentence.acts}), "answers something else")
_POINTERS = ("It", "This", "That")


@dataclass(frozen=True)
class Mark:
    """A sentence of a reply.

    Attributes:
        text: Its text.
        truth: What is true of it, as `SENTENCE_TRUTHS` lists it.
        offered: Words of the act that it offers an answer to: where they end in the text, and whether each is another
            than was asked for.
    """

    text: str
    truth: list[float]
    offered: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True)
class Row:
    """A conversation with the questions asked about it, their answers, and the truths its auxiliary heads learn."""

    messages: Conversation
    questions: list[str]
    answers: list[bool]
    truth: list[float]  # one per attribute, NaN where unknown
    marks: list[Mark] = field(default_factory=list)  # sentences of the reply, in order
    copied: bool = False  # whether the reply is one that a policy should write


@dataclass(frozen=True)
class Asker:
    """Draws questions about replies.

    Attributes:
        rulebook: Whose wordings the pipeline will ask.
        rates: Attribute -> share of replies that have it.
    """

    rulebook: Rulebook
    rates: Mapping[str, float]

    @classmethod
    def of(cls, rulebook: Rulebook, seed: int, replies: int = 3000) -> "Asker":
        """Counts the attributes of composed replies."""
        rng = Random(seed)
        known = [draw_reply(rng, training_prompt(rng), training_prompt).truth for _ in range(replies)]
        parsed = [truth for truth in known if len(truth) > 1]
        return cls(rulebook, {name: sum(truth[name] for truth in parsed) / len(parsed) for name in PHRASES})

    def question(self, rng: Random, truth: Mapping[str, bool]) -> tuple[str, bool]:
        """A question about some attribute, or two, of a reply; and its answer."""
        name = self._attribute(rng, truth)
        draw = rng.random()
        if draw < SHIPPED and name in self.rulebook.propositions:
            return self.rulebook.propositions[name].question, truth[name]
        if draw < SHIPPED + COMPOSED or len(truth) == 1:
            return compose(rng, name), truth[name]
        if draw < SHIPPED + COMPOSED + NEGATED:
            return compose_negated(rng, name), not truth[name]
        other = self._attribute(rng, truth)
        text, how = compose_two(rng, name, other)
        return text, answer_of_two(truth, name, other, how)

    def about(self, rng: Random, name: str, holds: bool) -> tuple[str, bool]:
        """A question about one proposition, in shipped or in other words, now and then negated."""
        draw = rng.random()
        if draw < 0.6:
            return self.rulebook.propositions[name].question, holds
        return (compose(rng, name), holds) if draw < 0.85 else (compose_negated(rng, name), not holds)

    def _attribute(self, rng: Random, truth: Mapping[str, bool]) -> str:
        """One that holds, nearly half of the time; the rarer that answer is, the likelier it is asked for.

        Asked at random, nearly every answer would be no, and "Is there anything besides a refusal?" would always be
        yes: a question would tell its answer.
        """
        wanted = rng.random() < ASKED_WHERE_TRUE
        names = [name for name in truth if truth[name] == wanted] or list(truth)
        return rng.choices(names, [1 / (self.rates[n] if truth[n] else 1 - self.rates[n]) for n in names])[0]


def draw_row(rng: Random, asker: Asker, samples: Sequence[Judged]) -> Row:
    """A row about a reply, or about a prompt's category.

    Args:
        rng: Source of every choice.
        asker: Draws the questions.
        samples: Replies that a policy wrote to training prompts; composed ones make no mistakes of that kind.
    """
    prompt, writer = training_prompt(rng), Writer(rng)
    kind = rng.choices(tuple(KINDS_OF_ROWS), tuple(KINDS_OF_ROWS.values()))[0]
    match kind:
        case "prompt":
            return _about_prompt(rng, prompt, asker.rulebook)
        case "sample":
            return _about_reply(rng, rng.choice(samples), asker)
        case "offer":
            return _about_reply(rng, _offer(rng, prompt), asker)
        case "corrupted":
            text = writer.corrupt(writer.write(any_acts(rng, prompt), prompt))
            return _about_reply(rng, judge(prompt, text), asker)
    judged = draw_reply(rng, prompt, training_prompt)
    return _about_reply(rng, judged, asker, loose=kind == "loose" and len(judged.truth) > 1)


def _about_prompt(rng: Random, prompt: WorldPrompt, rulebook: Rulebook) -> Row:
    categories = rulebook.content_policy.categories
    texts = [
        category.question if rng.random() < 0.6 else rng.choice(CATEGORY_QUESTIONS[code])
        for code, category in categories.items()
    ]
    return Row(
        list(prompt.messages), texts, [code == prompt.topic.category for code in categories], [nan] * len(PHRASES)
    )


def _offer(rng: Random, prompt: WorldPrompt) -> Judged:
    """An answer, as often to something else as to what was asked."""
    writer, draw = Writer(rng), rng.random()
    subject = prompt if draw < 0.5 else writer.mistake(prompt) if draw < 0.8 else training_prompt(rng)
    acts = [act for act in any_acts(rng, prompt)[:2] if act not in ("full", "part", "off_topic")]
    at = rng.randrange(len(acts) + 1) if rng.random() < 0.5 else 0
    return judge(prompt, writer.write([*acts[:at], rng.choice(("full", "full", "part"))], subject))


def _about_reply(rng: Random, judged: Judged, asker: Asker, *, loose: bool = False) -> Row:
    truth = dict(judged.truth)
    marks = _marks(judged)
    reply = judged.reply
    if loose:
        # Whether a text with a word missing still makes sense is not for the oracle to say.
        del truth[ILLOGICAL]
        marks = [Mark(_loosened(rng, mark.text), mark.truth) for mark in marks]  # its words may be gone
        reply = " ".join(mark.text for mark in marks)
    asked = [asker.question(rng, truth) for _ in range(QUESTIONS_PER_ROW - ASKED_OF_SENSE if len(truth) > 1 else 2)]
    if not loose:
        asked += [asker.about(rng, ILLOGICAL, truth[ILLOGICAL]) for _ in range(ASKED_OF_SENSE)]
    return Row(
        [*judged.prompt.messages, Message(role="assistant", content=reply)],
        [text for text, _ in asked],
        [answer for _, answer in asked],
        [float(truth.get(name, nan)) for name in PHRASES],
        marks,
        copied=not loose and not truth[ILLOGICAL],
    )


def _marks(judged: Judged) -> list[Mark]:
    asked = asked_act(judged.prompt.messages) or ""
    marks = []
    for text, (acts, offer) in zip(split_sentences(judged.reply), parse(judged.reply) or [], strict=False):
        truth = [*(float(name in acts) for name in SENTENCE_TRUTHS[:-1]), float(offer not in (None, asked))]
        marks.append(Mark(text, truth, tuple(_offered_words(text, offer, asked)) if offer else ()))
    return marks


def _offered_words(text: str, offer: str, asked: str) -> Iterator[tuple[int, bool]]:
    at = text.rindex(offer)
    for word, wanted in zip_longest(offer.split(), asked.split()):
        if word is not None:
            at = text.index(word, at) + len(word)
            yield at, word != wanted


def _loosened(rng: Random, sentence: str) -> str:
    """A sentence with a word left out, or another pointer at its beginning: what it does can still be read."""
    words = sentence.split()
    if words[0] in _POINTERS:
        words[0] = rng.choice(_POINTERS)
    if len(words) > 3 and rng.random() < 0.6:
        del words[rng.randrange(len(words) - 1)]
    return " ".join(words)


@dataclass(frozen=True)
class PackedRows:
    """Rows as one batch: tokens, positions that restart at each question, and the mask that keeps questions apart."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    answer_at: torch.Tensor
    answers: torch.Tensor
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

    prefixes = [encode(before + render_prefix(row.messages)) for row in rows]
    marked: list[tuple[tuple[int, int], Mark]] = []
    copied: list[tuple[int, int]] = []
    words: list[tuple[tuple[int, int], bool]] = []
    for i, row in enumerate(rows):
        if row.marks:
            first, ends, offered = _sentence_tokens(tokenizer, before + render_prefix(row.messages), row.marks)
            marked += [((i, end), mark) for end, mark in zip(ends, row.marks, strict=True)]
            copied += [(i, at) for at in range(first, ends[-1] + 1)] if row.copied else []
            words += [((i, at), wrong) for at, wrong in offered]
    suffixes = [[encode(render_question(Question("", text), 0) + after) for text in row.questions] for row in rows]
    width = max(len(p) + sum(map(len, s)) for p, s in zip(prefixes, suffixes, strict=True))
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
        positions,
        mask,
        torch.tensor(answer_at),
        torch.tensor([answer for row in rows for answer in row.answers]),
        torch.tensor([len(p) - 1 for p in prefixes]),
        torch.tensor([row.truth for row in rows]),
        torch.tensor([at for at, _ in marked], dtype=torch.long).reshape(-1, 2),
        torch.tensor([mark.truth for _, mark in marked]).reshape(-1, len(SENTENCE_TRUTHS)),
        torch.tensor(copied, dtype=torch.long).reshape(-1, 2),
        torch.tensor([at for at, _ in words], dtype=torch.long).reshape(-1, 2),
        torch.tensor([float(wrong) for _, wrong in words]),
    )


def _sentence_tokens(
    tokenizer: PreTrainedTokenizerFast, text: str, marks: Sequence[Mark]
) -> tuple[int, list[int], list[tuple[int, bool]]]:
    """Tokens of the reply that stands last in ``text``: its first, each sentence's last, each offered word's last."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]

    def token_of(place: int) -> int:
        return next(i for i, (start, end) in enumerate(spans) if start < place <= end)

    at = text.rindex(" ".join(mark.text for mark in marks))
    first = token_of(at + 1)
    ends: list[int] = []
    offered: list[tuple[int, bool]] = []
    for mark in marks:
        begins = text.index(mark.text, at)
        offered += [(token_of(begins + end), wrong) for end, wrong in mark.offered]
        at = begins + len(mark.text)
        ends.append(token_of(at))
    return first, ends, offered
