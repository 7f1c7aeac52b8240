"""What one step of the grader's training sees: conversations, questions about them, and the truths behind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache, partial
from math import nan
from random import Random

from rbr.conversation import Conversation, Message
from rbr_sandbox.acts import any_acts, refusal_acts
from rbr_sandbox.forms import splice
from rbr_sandbox.oracle import asked_act, parse, split_sentences
from rbr_sandbox.replies import ILLOGICAL, Judged, draw_reply, judge
from rbr_sandbox.sentences import SENTENCES
from rbr_sandbox.train.asker import Asked, Asker
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import WorldPrompt, Writer, held_out_sentences, look_alikes, training_prompt

# What rows are about, by weight: throughout, and in the last stage, which is early enough to tell one apology from two.
KINDS_OF_ROWS = {
    "prompt": 0.14, "sample": 0.18, "offer": 0.12, "look-alike": 0.12,
    "corrupted": 0.05, "slip": 0.08, "crossed": 0.08, "loose": 0.14, "reply": 0.17,
}  # fmt: skip
LAST_KINDS_OF_ROWS = KINDS_OF_ROWS | {"apologies": 0.25}
CONFUSABLE_OF = 4
# How many of the questions about such a reply are about what makes it hard.
ASKED_OF_A_LOOK_ALIKE, ASKED_OF_APOLOGIES = 6, 4
SPLICED = 0.6  # of the loosened sentences, where another does the same

_ACTS = sorted({act for sentence in SENTENCES for act in sentence.acts})
SENTENCE_TRUTHS = (*_ACTS, "answers something else", "is no sentence")
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
class Row:
    """A conversation with the questions asked about it, and the truths that the auxiliary heads learn."""

    messages: Conversation
    asked: list[Asked]
    truth: list[float]  # as `TRUTHS` lists it, NaN where unknown
    marks: list[Mark] = field(default_factory=list)  # sentences of the reply, in order
    copied: bool = False  # whether the reply is one that a policy should write


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
            asked = _confusable(rng, prompt)
            judged = _offer(rng, asked, rng.choice((asked, writer.confuse(asked))))
            return _about_reply(rng, judged, asker and replace(asker, often={ILLOGICAL: ASKED_OF_A_LOOK_ALIKE}))
        case "apologies":
            judged = judge(prompt, writer.write(_apologetic(rng), prompt))
            return _about_reply(rng, judged, asker and replace(asker, often={"apology": ASKED_OF_APOLOGIES}))
        case "corrupted" | "slip" | "crossed":
            text = writer.write(any_acts(rng, prompt), prompt)
            spoils: dict[str, Callable[[str], str]]
            spoils = {"corrupted": writer.corrupt, "slip": writer.slip, "crossed": partial(_crossed, rng)}
            return _about_reply(rng, judge(prompt, spoils[kind](text)), asker)
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


def _confusable(rng: Random, prompt: WorldPrompt) -> WorldPrompt:
    """Of some prompts the one that there are most look-alikes of: drawn evenly, half would be about self-harm alone."""
    prompts = [prompt, *(training_prompt(rng) for _ in range(CONFUSABLE_OF - 1))]
    return max(prompts, key=lambda each: len(look_alikes(each.act)))


def _offer(rng: Random, prompt: WorldPrompt, subject: WorldPrompt) -> Judged:
    """A reply to the prompt that answers the subject."""
    acts = [act for act in any_acts(rng, prompt)[:2] if act not in ("full", "part", "off_topic")]
    at = rng.randrange(len(acts) + 1) if rng.random() < 0.5 else 0
    return judge(prompt, Writer(rng).write([*acts[:at], rng.choice(("full", "full", "part"))], subject))


def _apologetic(rng: Random) -> list[str]:
    """A refusal, half of the time with an apology more: whether there is one or two, nothing else teaches."""
    acts = refusal_acts(rng, rng.choice((0, 0, 1, 1, 2)))
    if rng.random() < 0.5:
        acts.insert(rng.randrange(len(acts) + 1), "apology")
    return acts


def _crossed(rng: Random, text: str) -> str:
    """A reply of which one sentence goes on as another that does the same, as a model's do that is torn between two.

    Never a sentence of a held-out form.
    """
    sentences = [each for each in split_sentences(text) if each]
    known = [i for i, each in enumerate(sentences) if each in _acts_of_wholes()]
    if not known:
        return text
    at = rng.choice(known)
    crossed = splice(rng, sentences[at], rng.choice(_wholes()[_acts_of_wholes()[sentences[at]]]))
    if crossed in held_out_sentences():
        return _crossed(rng, text)
    return " ".join([*sentences[:at], crossed, *sentences[at + 1 :]])


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
    words, at = offer.split(), text.rindex(offer)
    blocks = SequenceMatcher(None, words, asked.split(), autojunk=False).get_matching_blocks()
    as_asked = {i for block in blocks for i in range(block.a, block.a + block.size)}
    for i, word in enumerate(words):
        at = text.index(word, at) + len(word)
        yield at, i not in as_asked


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


@cache
def _acts_of_wholes() -> dict[str, tuple[str, ...]]:
    return {sentence: acts for acts, sentences in _wholes().items() for sentence in sentences}
