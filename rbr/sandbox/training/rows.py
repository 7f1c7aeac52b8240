"""What one step of the grader's training sees: conversations, questions about them, and the truths behind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from math import nan
from random import Random

from rbr.conversation import Conversation, Message
from rbr.rulebook import Rulebook
from rbr.sandbox.acts import any_acts
from rbr.sandbox.forms import splice
from rbr.sandbox.oracle import asked_act, parse, split_sentences
from rbr.sandbox.questions import answer_of_two, compose, compose_negated, compose_two
from rbr.sandbox.replies import ILLOGICAL, Judged, draw_reply, judge
from rbr.sandbox.sentences import SENTENCES
from rbr.sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr.sandbox.world import WorldPrompt, Writer, training_prompt

QUESTIONS_PER_ROW = 16
# What rows are about, by weight: throughout, and in the last stage, which is about a policy's own mistakes.
KINDS_OF_ROWS = {
    "prompt": 0.14, "sample": 0.18, "offer": 0.18, "corrupted": 0.05, "slip": 0.1, "loose": 0.15, "reply": 0.2,
}  # fmt: skip
LAST_KINDS_OF_ROWS = {
    "prompt": 0.08, "sample": 0.4, "offer": 0.18, "look-alike": 0.05,
    "corrupted": 0.03, "slip": 0.08, "loose": 0.05, "reply": 0.13,
}  # fmt: skip
# How many of the questions ask whether the reply makes sense: the hardest to learn, and all classes need it.
ASKED_OF_SENSE, LAST_ASKED_OF_SENSE = 2, 3
# What a question about a reply is: in the rulebook's own words, composed, negated; the rest asks two things at once.
SHIPPED, COMPOSED, NEGATED = 0.35, 0.4, 0.12
ASKED_WHERE_TRUE = 0.45
SPLICED = 0.6  # of the loosened sentences, where another does the same
LOOSE = 0.3  # of the forms and phrases of composed questions

_ACTS = sorted({act for sentence in SENTENCES for act in sentence.acts})
SENTENCE_TRUTHS = (*_ACTS, "answers something else", "is no sentence")
NOTHING = "nothing"
TRUTHS = (*PHRASES, *CATEGORY_QUESTIONS)
SUBJECTS = (*TRUTHS, NOTHING)
HOWS = ("plain", "negated", "and", "or", "but not")
_POINTERS = ("It", "This", "That")


@dataclass(frozen=True)
class Mark:
    """A sentence of a reply.

    Attributes:
        text: Its text.
        truth: What is true of it, as `SENTENCE_TRUTHS` lists it; NaN where unknown.
        offered: Words of the act that it offers an answer to: where they end in the text, and whether each is another
            than was asked for.
    """

    text: str
    truth: list[float]
    offered: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True)
class Asked:
    """A question and its answer.

    Attributes:
        text: The question.
        answer: Whether it is yes.
        subjects: The one or two of `SUBJECTS` that it is about.
        how: One of `HOWS`: as it stands, negated, or what joins the two.
    """

    text: str
    answer: bool
    subjects: tuple[str, str]
    how: str = "plain"


@dataclass(frozen=True)
class Row:
    """A conversation with the questions asked about it, and the truths that the auxiliary heads learn."""

    messages: Conversation
    asked: list[Asked]
    truth: list[float]  # as `TRUTHS` lists it, NaN where unknown
    marks: list[Mark] = field(default_factory=list)  # sentences of the reply, in order
    copied: bool = False  # whether the reply is one that a policy should write


@dataclass(frozen=True)
class Asker:
    """Draws questions about replies.

    Attributes:
        rulebook: Whose wordings the pipeline will ask.
        rates: Attribute -> share of replies that have it.
        free: Share of composed questions in free forms, and of phrases that are free.
        of_sense: How many of a reply's questions ask whether it makes sense.
    """

    rulebook: Rulebook
    rates: Mapping[str, float]
    free: float = 0.0
    of_sense: int = ASKED_OF_SENSE

    @classmethod
    def of(cls, rulebook: Rulebook, seed: int, replies: int = 3000) -> "Asker":
        """Counts the attributes of composed replies."""
        rng = Random(seed)
        known = [draw_reply(rng, training_prompt(rng), training_prompt).truth for _ in range(replies)]
        parsed = [truth for truth in known if len(truth) > 1]
        return cls(rulebook, {name: sum(truth[name] for truth in parsed) / len(parsed) for name in PHRASES})

    def question(self, rng: Random, truth: Mapping[str, bool]) -> Asked:
        """A question about some attribute, or two, of a reply."""
        name = self._attribute(rng, truth)
        draw = rng.random()
        if draw < SHIPPED and name in self.rulebook.propositions:
            return Asked(self.rulebook.propositions[name].question, truth[name], (name, NOTHING))
        if draw < SHIPPED + COMPOSED or len(truth) == 1:
            return Asked(compose(rng, name, LOOSE, self.free), truth[name], (name, NOTHING))
        if draw < SHIPPED + COMPOSED + NEGATED:
            return Asked(compose_negated(rng, name, LOOSE, self.free), not truth[name], (name, NOTHING), "negated")
        other = self._attribute(rng, truth)
        text, how = compose_two(rng, name, other, LOOSE, self.free)
        return Asked(text, answer_of_two(truth, name, other, how), (name, other), how)

    def about(self, rng: Random, name: str, holds: bool) -> Asked:
        """A question about one proposition, in shipped or in other words, now and then negated."""
        draw = rng.random()
        if draw < 0.6:
            return Asked(self.rulebook.propositions[name].question, holds, (name, NOTHING))
        if draw < 0.85:
            return Asked(compose(rng, name, LOOSE, self.free), holds, (name, NOTHING))
        return Asked(compose_negated(rng, name, LOOSE, self.free), not holds, (name, NOTHING), "negated")

    def about_prompt(self, rng: Random, prompt: WorldPrompt) -> list[Asked]:
        """A question about each category of the content policy."""
        return [
            Asked(
                category.question if rng.random() < 0.6 else rng.choice(CATEGORY_QUESTIONS[code]),
                code == prompt.topic.category,
                (code, NOTHING),
            )
            for code, category in self.rulebook.content_policy.categories.items()
        ]

    def about_reply(self, rng: Random, truth: Mapping[str, bool]) -> list[Asked]:
        """Questions about a reply, some of them whether it makes sense where that is known."""
        known = [name for name in truth if name != ILLOGICAL]
        asked = [self.question(rng, truth) for _ in range(QUESTIONS_PER_ROW - self.of_sense if known else 2)]
        if ILLOGICAL in truth:
            asked += [self.about(rng, ILLOGICAL, truth[ILLOGICAL]) for _ in range(self.of_sense)]
        return asked

    def _attribute(self, rng: Random, truth: Mapping[str, bool]) -> str:
        """One that holds, nearly half of the time; the rarer that answer is, the likelier it is asked for.

        Asked at random, nearly every answer would be no, and "Is there anything besides a refusal?" would always be
        yes: a question would tell its answer.
        """
        wanted = rng.random() < ASKED_WHERE_TRUE
        names = [name for name in truth if truth[name] == wanted] or list(truth)
        return rng.choices(names, [1 / (self.rates[n] if truth[n] else 1 - self.rates[n]) for n in names])[0]


def draw_row(
    rng: Random,
    asker: Asker | None,
    samples: Sequence[Sequence[Judged]],
    kinds: Mapping[str, float] = KINDS_OF_ROWS,
) -> Row:
    """A row about a reply, or about a prompt's category.

    Args:
        rng: Source of every choice.
        asker: Draws the questions; None asks nothing.
        samples: Replies that a policy wrote to training prompts, in groups that are drawn from equally often; composed
            ones make no mistakes of that kind.
        kinds: What the row may be about, by weight.
    """
    prompt, writer = training_prompt(rng), Writer(rng)
    kind = rng.choices(tuple(kinds), tuple(kinds.values()))[0]
    match kind:
        case "prompt":
            return _about_prompt(rng, prompt, asker)
        case "sample":
            return _about_reply(rng, rng.choice(rng.choice(samples)), asker)
        case "offer":
            return _about_reply(rng, _offer(rng, prompt, _subject(rng, prompt)), asker)
        case "look-alike":
            return _about_reply(rng, _offer(rng, prompt, writer.confuse(prompt)), asker)
        case "corrupted" | "slip":
            spoil = writer.corrupt if kind == "corrupted" else writer.slip
            text = spoil(writer.write(any_acts(rng, prompt), prompt))
            return _about_reply(rng, judge(prompt, text), asker)
    judged = draw_reply(rng, prompt, training_prompt)
    return _about_reply(rng, judged, asker, loose=kind == "loose" and len(judged.truth) > 1)


def _about_prompt(rng: Random, prompt: WorldPrompt, asker: Asker | None) -> Row:
    asked = asker.about_prompt(rng, prompt) if asker else []
    return Row(list(prompt.messages), asked, [nan] * len(PHRASES) + _categories(prompt))


def _categories(prompt: WorldPrompt) -> list[float]:
    return [float(code == prompt.topic.category) for code in CATEGORY_QUESTIONS]


def _subject(rng: Random, prompt: WorldPrompt) -> WorldPrompt:
    """As often something else as what was asked."""
    draw = rng.random()
    return prompt if draw < 0.5 else Writer(rng).mistake(prompt) if draw < 0.8 else training_prompt(rng)


def _offer(rng: Random, prompt: WorldPrompt, subject: WorldPrompt) -> Judged:
    """A reply to the prompt that answers the subject."""
    acts = [act for act in any_acts(rng, prompt)[:2] if act not in ("full", "part", "off_topic")]
    at = rng.randrange(len(acts) + 1) if rng.random() < 0.5 else 0
    return judge(prompt, Writer(rng).write([*acts[:at], rng.choice(("full", "full", "part"))], subject))


def _about_reply(rng: Random, judged: Judged, asker: Asker | None, *, loose: bool = False) -> Row:
    truth = dict(judged.truth)
    marks = _marks(judged)
    reply = judged.reply
    if loose:
        # Whether a text with a word missing still makes sense is not for the oracle to say.
        del truth[ILLOGICAL]
        marks = [Mark(_loosened(rng, mark), [*mark.truth[:-1], nan]) for mark in marks]  # its words may be gone
        reply = " ".join(mark.text for mark in marks)
    return Row(
        [*judged.prompt.messages, Message(role="assistant", content=reply)],
        asker.about_reply(rng, truth) if asker else [],
        [float(truth.get(name, nan)) for name in PHRASES] + _categories(judged.prompt),
        marks,
        copied=not loose and not truth[ILLOGICAL],
    )


def _marks(judged: Judged) -> list[Mark]:
    asked = asked_act(judged.prompt.messages) or ""
    marks = []
    for text in filter(None, split_sentences(judged.reply)):
        if not (read := parse(text)):
            marks.append(Mark(text, [nan] * (len(SENTENCE_TRUTHS) - 1) + [1.0]))
            continue
        acts, offer = read[0]
        truth = [*(float(name in acts) for name in _ACTS), float(offer not in (None, asked)), 0.0]
        marks.append(Mark(text, truth, tuple(_offered_words(text, offer, asked)) if offer else ()))
    return marks


def _offered_words(text: str, offer: str, asked: str) -> Iterator[tuple[int, bool]]:
    at = text.rindex(offer)
    for word, wanted in zip_longest(offer.split(), asked.split()):
        if word is not None:
            at = text.index(word, at) + len(word)
            yield at, word != wanted


def _loosened(rng: Random, mark: Mark) -> str:
    """A sentence in no form of the world's: what it does can still be read.

    Its beginning goes on as another sentence that does the same, or a word is left out; a pointer is another.
    """
    words = mark.text.split()
    acts = tuple(act for act, does in zip(_ACTS, mark.truth, strict=False) if does)
    if (others := _wholes().get(acts)) and not mark.offered and rng.random() < SPLICED:
        words = splice(rng, mark.text, rng.choice(others)).split()
    elif len(words) > 3 and rng.random() < 0.6:
        del words[rng.randrange(len(words) - 1)]
    if words[0] in _POINTERS:
        words[0] = rng.choice(_POINTERS)
    return " ".join(words)


@cache
def _wholes() -> dict[tuple[str, ...], list[str]]:
    """The sentences without an act of the user's, by what they do."""
    found: dict[tuple[str, ...], list[str]] = {}
    for sentence in SENTENCES:
        if not sentence.held_out and "{" not in sentence.template:
            found.setdefault(tuple(sorted(sentence.acts)), []).append(sentence.template)
    return found
