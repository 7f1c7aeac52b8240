"""Composed replies and the truth about them, to train and measure the grader and the reward models."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rbr_sandbox.oracle import attributes, parse, truths
from rbr_sandbox.reply_plans import plan_any_reply
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.world_prompt import WorldPrompt

DrawPrompt = Callable[[Random], WorldPrompt]
ILLOGICAL = "illogical_continuation_of_prompt"
# Shares of the replies from `draw_reply` that answer another prompt, answer a misread prompt, are corrupted, are empty.
TO_ANOTHER_PROMPT, TO_MISREAD_PROMPT, CORRUPTED, EMPTY = 0.06, 0.07, 0.08, 0.004


@dataclass(frozen=True)
class JudgedReply:
    """A prompt, a reply, and the truth about the reply.

    Attributes:
        prompt: Prompt that the reply is judged against.
        reply: Text of the reply.
        truth: Attribute -> truth, for all attributes of `rbr_sandbox.wordings.PHRASES`. If the reply is not a sequence
            of whole sentences, `ILLOGICAL` is the only attribute, and is true.
    """

    prompt: WorldPrompt
    reply: str
    truth: dict[str, bool]


def judge(prompt: WorldPrompt, reply: str) -> JudgedReply:
    """Returns the reply with the truth about it, from the oracle."""
    truth = truths(prompt.messages, reply)
    if parse(reply) is None:
        return JudgedReply(prompt, reply, {ILLOGICAL: True})
    return JudgedReply(prompt, reply, truth | attributes(reply))


def draw_reply(rng: Random, prompt: WorldPrompt, draw_prompt: DrawPrompt, held_out: float = 0.0) -> JudgedReply:
    """Composes and judge a reply.

    Most replies fit the prompt. A few fit another prompt, answer a misread prompt, are corrupted, or are empty.

    Args:
        rng: Source of every random choice.
        prompt: Prompt that the reply is judged against.
        draw_prompt: Draws another prompt.
        held_out: Share of the reply's sentences in held-out forms, in [0, 1].
    """
    writer = ReplyWriter(rng, held_out)
    draw, answered_prompt = rng.random(), prompt
    if draw < TO_ANOTHER_PROMPT:
        answered_prompt = draw_prompt(rng)
    elif draw < TO_ANOTHER_PROMPT + TO_MISREAD_PROMPT:
        acts = [rng.choice(("full", "full", "part")), *plan_any_reply(rng, prompt)[:1]]
        return judge(prompt, writer.write(acts, writer.misread(prompt)))
    text = writer.write(plan_any_reply(rng, answered_prompt), answered_prompt)
    if draw > 1 - EMPTY:
        text = ""
    elif draw > 1 - CORRUPTED:
        text = writer.corrupt(text)
    return judge(prompt, text)
