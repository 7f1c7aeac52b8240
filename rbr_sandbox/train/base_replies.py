"""Samples replies of the base model. Unlike composed replies, they contain the mistakes of a policy."""

from pathlib import Path
from random import Random

from rbr.conversation import Conversation, with_instruction
from rbr.models.policy import Policy
from rbr.profile import ModelRef
from rbr_sandbox.replies import JudgedReply, judge
from rbr_sandbox.reply_plans import plan_instructed_reply
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.world import training_prompt


def sample_base_replies(base: Path, seed: int, count: int) -> list[JudgedReply]:
    """Samples replies of the base to training prompts, half of them with an instruction, and judges them.

    Args:
        base: Directory of the base model.
        seed: Seed of prompts and instructions.
        count: Number of replies.
    """
    rng = Random(seed)
    prompts = [training_prompt(rng) for _ in range(count)]
    conversations: list[Conversation] = [
        with_instruction(p.messages, ReplyWriter(rng).instruction(plan_instructed_reply(rng, p)))
        if rng.random() < 0.5
        else list(p.messages)
        for p in prompts
    ]
    policy = Policy(ModelRef(path=str(base), revision=None), batch_size=128)
    samples = policy.sample(conversations, list(range(count)), 1.0, 1.0, 64)
    return [judge(prompt, sample.text) for prompt, sample in zip(prompts, samples, strict=True)]
