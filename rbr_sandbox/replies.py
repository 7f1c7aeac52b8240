"""Replies to be judged: what graders and reward models learn from and are measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rbr_sandbox.acts import any_acts
from rbr_sandbox.oracle import attributes, parse, truths
from rbr_sandbox.world import WorldPrompt, Writer

DrawPrompt = Callable[[Random], WorldPrompt]
ILLOGICAL = "illogical_continuation_of_prompt"
TO_ANOTHER_PROMPT, WITH_A_MISTAKE, CORRUPTED, EMPTY = 0.06, 0.07, 0.08, 0.004


@dataclass(frozen=True)
class Judged:
    """A prompt with a reply and what the world knows of the two.

    Attributes:
        prompt: What was asked.
        reply: What was answered.
        truth: Attribute -> truth: propositions and what else can be asked about a reply. Of a reply that is no
            sequence of whole sentences only this is known, that it is illogical.
    """

    prompt: WorldPrompt
    reply: str
    truth: dict[str, bool]


def judge(prompt: WorldPrompt, reply: str) -> Judged:
    """Asks the oracle for all that it knows of a reply."""
    truth = truths(prompt.messages, reply)
    if parse(reply) is None:
        return Judged(prompt, reply, {ILLOGICAL: True})
    return Judged(prompt, reply, truth | attributes(prompt.messages, reply))


def draw_reply(rng: Random, prompt: WorldPrompt, other: DrawPrompt, held_out: float = 0.0) -> Judged:
    """A reply composed for the prompt, mostly; at times for another, with a mistake in what it offers, or corrupted.

    Args:
        rng: Source of every choice.
        prompt: What the reply is judged against.
        other: Where other prompts come from.
        held_out: Share of sentences in held-out forms.
    """
    writer = Writer(rng, held_out)
    draw, subject = rng.random(), prompt
    if draw < TO_ANOTHER_PROMPT:
        subject = other(rng)
    elif draw < TO_ANOTHER_PROMPT + WITH_A_MISTAKE:
        text = writer.write([rng.choice(("full", "full", "part")), *any_acts(rng, prompt)[:1]], writer.mistake(prompt))
        return judge(prompt, text)
    text = writer.write(any_acts(rng, subject), subject)
    if draw > 1 - EMPTY:
        text = ""
    elif draw > 1 - CORRUPTED:
        text = writer.corrupt(text)
    return judge(prompt, text)
