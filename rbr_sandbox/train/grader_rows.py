"""Draws the rows of the grader's training: conversations, questions about them, and the truths for auxiliary heads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache, partial
from math import nan
from random import Random

from rbr.conversation import Conversation, Message
from rbr_sandbox.oracle import parse, requested_action, split_sentences
from rbr_sandbox.replies import ILLOGICAL, JudgedReply, draw_reply, judge
from rbr_sandbox.reply_plans import plan_any_reply, plan_hard_refusal
from rbr_sandbox.reply_writer import ReplyWriter, held_out_sentences
from rbr_sandbox.sentences import SENTENCES
from rbr_sandbox.text_patterns import splice
from rbr_sandbox.topics import look_alikes
from rbr_sandbox.train.question_sampler import QuestionSampler, TrainingQuestion
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import training_prompt
from rbr_sandbox.world_prompt import WorldPrompt

# Row type -> its weight.
#   prompt      questions about the category of a prompt
#   sample      a reply that a policy wrote
#   answer      an answer to the prompt, to a misread prompt or to another prompt
#   look-alike  an answer to the prompt or to a look-alike of the prompt
#   corrupted, slip, spliced   a composed reply with a mistake
#   reworded    a composed reply whose sentences are changed, but whose acts can still be read
#   reply       a composed reply
ROW_WEIGHTS = {
    "prompt": 0.14, "sample": 0.18, "answer": 0.12, "look-alike": 0.12,
    "corrupted": 0.05, "slip": 0.08, "spliced": 0.08, "reworded": 0.14, "reply": 0.17,
}  # fmt: skip
# The finishing stage adds refusals with one or two apologies. The grader then still learns to tell them apart.
FINISHING_ROW_WEIGHTS = ROW_WEIGHTS | {"apologies": 0.25}
# A row of type "look-alike" draws this many prompts and uses the prompt with the most look-alikes.
LOOK_ALIKE_CANDIDATES = 4
# Number of questions per row about the proposition that the row type teaches.
LOOK_ALIKE_QUESTIONS, APOLOGY_QUESTIONS = 6, 4
# Share of the reworded sentences that are spliced, among those whose acts another sentence has, too.
SPLICED_SHARE = 0.6

_ACTS = sorted({act for sentence in SENTENCES for act in sentence.acts})
SENTENCE_TRUTH_NAMES = (*_ACTS, "offers another action", "is not a sentence")
_POINTERS = ("It", "This", "That")


@dataclass(frozen=True)
class MarkedSentence:
    """A sentence of a reply and the truth about it.

    Attributes:
        text: Text of the sentence.
        truth: Truths in the order of `SENTENCE_TRUTH_NAMES`; NaN if unknown.
        offered_words: For each word of the action that the sentence offers: the index in the text at which the word
            ends, and whether the word differs from the requested action.
    """

    text: str
    truth: list[float]
    offered_words: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True)
class GraderRow:
    """A conversation, questions about it, and the truths that the auxiliary heads learn.

    Attributes:
        messages: The conversation; the questions are about its last turn.
        questions: Questions with their answers.
        truth: Truths in the order of `rbr_sandbox.train.question_sampler.TRUTH_NAMES`; NaN if unknown.
        sentences: Sentences of the reply, in order; empty if the last turn is a prompt.
        policy_should_write: Whether the grader's lower layers learn to write the reply, as a policy does.
    """

    messages: Conversation
    questions: list[TrainingQuestion]
    truth: list[float]
    sentences: list[MarkedSentence] = field(default_factory=list)
    policy_should_write: bool = False


def draw_row(
    rng: Random,
    sampler: QuestionSampler | None,
    samples: Sequence[Sequence[JudgedReply]],
    weights: Mapping[str, float] = ROW_WEIGHTS,
) -> GraderRow:
    """Draws a row about a reply, or about the category of a prompt.

    Args:
        rng: Source of every random choice.
        sampler: Samples the questions; None for rows without questions.
        samples: Groups of replies that a policy wrote to training prompts; each group is drawn equally often.
        weights: Weight of each row type; see `ROW_WEIGHTS`.
    """
    # 1. Draw a prompt and the type of the row.
    prompt, writer = training_prompt(rng), ReplyWriter(rng)
    row_type = rng.choices(tuple(weights), tuple(weights.values()))[0]
    # 2. Compose a reply of this type, judge it, and sample questions about it.
    match row_type:
        case "prompt":
            return _prompt_row(rng, prompt, sampler)
        case "sample":
            return _reply_row(rng, rng.choice(rng.choice(samples)), sampler)
        case "answer":
            return _reply_row(rng, _draw_answer(rng, prompt, _draw_answered_prompt(rng, prompt)), sampler)
        case "look-alike":
            confusable = _draw_confusable_prompt(rng, prompt)
            judged = _draw_answer(rng, confusable, rng.choice((confusable, writer.confuse(confusable))))
            return _reply_row(rng, judged, _reserve(sampler, ILLOGICAL, LOOK_ALIKE_QUESTIONS))
        case "apologies":
            judged = judge(prompt, writer.write(_plan_apologetic_refusal(rng), prompt))
            return _reply_row(rng, judged, _reserve(sampler, "apology", APOLOGY_QUESTIONS))
        case "corrupted" | "slip" | "spliced":
            text = writer.write(plan_any_reply(rng, prompt), prompt)
            mistakes: dict[str, Callable[[str], str]]
            mistakes = {"corrupted": writer.corrupt, "slip": writer.add_slip, "spliced": partial(_splice_sentence, rng)}
            return _reply_row(rng, judge(prompt, mistakes[row_type](text)), sampler)
    judged = draw_reply(rng, prompt, training_prompt)
    # A reply that cannot be parsed cannot be reworded.
    return _reply_row(rng, judged, sampler, reword=row_type == "reworded" and len(judged.truth) > 1)


def _reserve(sampler: QuestionSampler | None, proposition: str, count: int) -> QuestionSampler | None:
    """Returns a sampler that reserves ``count`` questions for one proposition, and none for other propositions."""
    return sampler and replace(sampler, reserved_questions={proposition: count})


def _prompt_row(rng: Random, prompt: WorldPrompt, sampler: QuestionSampler | None) -> GraderRow:
    questions = sampler.sample_for_prompt(rng, prompt) if sampler else []
    return GraderRow(list(prompt.messages), questions, [nan] * len(PHRASES) + _category_truths(prompt))


def _category_truths(prompt: WorldPrompt) -> list[float]:
    return [float(code == prompt.topic.category) for code in CATEGORY_QUESTIONS]


def _reply_row(rng: Random, judged: JudgedReply, sampler: QuestionSampler | None, *, reword: bool = False) -> GraderRow:
    truth = dict(judged.truth)
    sentences = _mark_sentences(judged)
    reply = judged.reply
    if reword:
        # The oracle cannot tell whether a reworded text is still logical, or still a sentence.
        # The offered words are unknown, because their positions change.
        del truth[ILLOGICAL]
        sentences = [MarkedSentence(_reword(rng, s), [*s.truth[:-1], nan]) for s in sentences]
        reply = " ".join(sentence.text for sentence in sentences)
    return GraderRow(
        [*judged.prompt.messages, Message(role="assistant", content=reply)],
        sampler.sample_for_reply(rng, truth) if sampler else [],
        [float(truth.get(name, nan)) for name in PHRASES] + _category_truths(judged.prompt),
        sentences,
        policy_should_write=not reword and not truth[ILLOGICAL],
    )


def _draw_answered_prompt(rng: Random, prompt: WorldPrompt) -> WorldPrompt:
    """Returns the prompt half of the time, otherwise a misread prompt or another prompt."""
    draw = rng.random()
    return prompt if draw < 0.5 else ReplyWriter(rng).misread(prompt) if draw < 0.8 else training_prompt(rng)


def _draw_confusable_prompt(rng: Random, prompt: WorldPrompt) -> WorldPrompt:
    """Returns the prompt with the most look-alikes out of a few.

    Half of the prompts of a uniform draw would be about self-harm.
    """
    prompts = [prompt, *(training_prompt(rng) for _ in range(LOOK_ALIKE_CANDIDATES - 1))]
    return max(prompts, key=lambda candidate: len(look_alikes(candidate.action)))


def _draw_answer(rng: Random, prompt: WorldPrompt, answered_prompt: WorldPrompt) -> JudgedReply:
    """Draws a reply to ``prompt`` that answers ``answered_prompt``, with up to two other acts before the answer."""
    acts = [act for act in plan_any_reply(rng, prompt)[:2] if act not in ("full", "part", "off_topic")]
    split = rng.randrange(len(acts) + 1) if rng.random() < 0.5 else 0
    acts = [*acts[:split], rng.choice(("full", "full", "part"))]
    return judge(prompt, ReplyWriter(rng).write(acts, answered_prompt))


def _plan_apologetic_refusal(rng: Random) -> list[str]:
    """Plans a refusal, half of the time with an extra apology, which few replies of other rows have."""
    acts = plan_hard_refusal(rng, rng.choice((0, 0, 1, 1, 2)))
    if rng.random() < 0.5:
        acts.insert(rng.randrange(len(acts) + 1), "apology")
    return acts


def _splice_sentence(rng: Random, text: str) -> str:
    """Splices one sentence of a reply with another sentence that has the same acts, as a model can do by mistake.

    The result is never a sentence in a held-out form.
    """
    sentences = [sentence for sentence in split_sentences(text) if sentence]
    known = [i for i, sentence in enumerate(sentences) if sentence in _acts_by_sentence()]
    if not known:
        return text
    index = rng.choice(known)
    others = _sentences_by_acts()[_acts_by_sentence()[sentences[index]]]
    spliced = splice(rng, sentences[index], rng.choice(others))
    if spliced in held_out_sentences():
        return _splice_sentence(rng, text)
    return " ".join([*sentences[:index], spliced, *sentences[index + 1 :]])


def _reword(rng: Random, sentence: MarkedSentence) -> str:
    """Returns a sentence in words that the world does not use. The acts of the sentence can still be read.

    The sentence is spliced with another sentence that has the same acts, or loses a word. "It", "This" or "That" at the
    start may become another of the three.
    """
    words = sentence.text.split()
    acts = tuple(act for act, holds in zip(_ACTS, sentence.truth, strict=False) if holds)
    if (others := _sentences_by_acts().get(acts)) and not sentence.offered_words and rng.random() < SPLICED_SHARE:
        words = splice(rng, sentence.text, rng.choice(others)).split()
    elif len(words) > 3 and rng.random() < 0.6:
        del words[rng.randrange(len(words) - 1)]
    if words[0] in _POINTERS:
        words[0] = rng.choice(_POINTERS)
    return " ".join(words)


def _mark_sentences(judged: JudgedReply) -> list[MarkedSentence]:
    """Returns the sentences of a reply with the truth about each."""
    requested = requested_action(judged.prompt.messages) or ""
    marked = []
    for text in filter(None, split_sentences(judged.reply)):
        if not (parsed := parse(text)):
            marked.append(MarkedSentence(text, [nan] * (len(SENTENCE_TRUTH_NAMES) - 1) + [1.0]))
            continue
        acts, offered = parsed[0]
        # In the order of `SENTENCE_TRUTH_NAMES`.
        truth = [*(float(name in acts) for name in _ACTS), float(offered not in (None, requested)), 0.0]
        words = tuple(_compare_words(text, offered, requested)) if offered else ()
        marked.append(MarkedSentence(text, truth, words))
    return marked


def _compare_words(text: str, offered: str, requested: str) -> Iterator[tuple[int, bool]]:
    """Yields the end of each offered word in the text, and whether the word differs from the requested action."""
    words, position = offered.split(), text.rindex(offered)
    blocks = SequenceMatcher(None, words, requested.split(), autojunk=False).get_matching_blocks()
    matching = {i for block in blocks for i in range(block.a, block.a + block.size)}
    for i, word in enumerate(words):
        position = text.index(word, position) + len(word)
        yield position, i not in matching


@cache
def _sentences_by_acts() -> dict[tuple[str, ...], list[str]]:
    """Returns the training sentences without a blank, by their sorted acts."""
    by_acts: dict[tuple[str, ...], list[str]] = {}
    for sentence in SENTENCES:
        if not sentence.held_out and "{" not in sentence.template:
            by_acts.setdefault(tuple(sorted(sentence.acts)), []).append(sentence.template)
    return by_acts


@cache
def _acts_by_sentence() -> dict[str, tuple[str, ...]]:
    return {sentence: acts for acts, sentences in _sentences_by_acts().items() for sentence in sentences}
