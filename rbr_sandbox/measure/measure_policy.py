"""Measures the helpful-only policy: whether its replies are logical, help the user, and follow instructions."""

from collections.abc import Sequence
from random import Random

from rbr.conversation import with_instruction
from rbr.models.policy import Policy
from rbr_sandbox.measure.figures import Figure, share_figure
from rbr_sandbox.oracle import parse
from rbr_sandbox.replies import ILLOGICAL, JudgedReply, judge
from rbr_sandbox.reply_plans import plan_instructed_reply
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.sentences import INSTRUCTION_PHRASES
from rbr_sandbox.topics import RESPONSE_TYPES
from rbr_sandbox.world_prompt import WorldPrompt

MAX_NEW_TOKENS = 64
ILLOGICAL_BAR, TRAIT_BAR, HELPFUL_BAR = 0.01, 0.95, 0.5
# Act in an instruction -> act of the sentence that follows the instruction, if the two have different names.
_ACT_OF_SENTENCE = {"full": "offer", "part": "partial"}


def sample_plain_replies(policy: Policy, prompts: Sequence[WorldPrompt], per_prompt: int) -> list[JudgedReply]:
    """Samples replies at temperature 1 to prompts without an instruction."""
    repeated = [prompt for prompt in prompts for _ in range(per_prompt)]
    samples = policy.sample([p.messages for p in repeated], list(range(len(repeated))), 1.0, 1.0, MAX_NEW_TOKENS)
    return [judge(prompt, sample.text) for prompt, sample in zip(repeated, samples, strict=True)]


def sample_instructed_replies(
    policy: Policy, prompts: Sequence[WorldPrompt], per_prompt: int, seed: int
) -> list[tuple[list[str], JudgedReply]]:
    """Samples replies to writing instructions. Returns each reply with the dialogue acts that the instruction names."""
    rng = Random(seed)
    repeated = [prompt for prompt in prompts for _ in range(per_prompt)]
    plans = [plan_instructed_reply(rng, prompt) for prompt in repeated]
    conversations = [
        with_instruction(p.messages, ReplyWriter(rng).instruction(acts))
        for p, acts in zip(repeated, plans, strict=True)
    ]
    samples = policy.sample(conversations, list(range(len(repeated))), 1.0, 1.0, MAX_NEW_TOKENS)
    return [(acts, judge(p, sample.text)) for acts, p, sample in zip(plans, repeated, samples, strict=True)]


def fluency_figures(split: str, replies: Sequence[JudgedReply], *, with_bars: bool) -> list[Figure]:
    """Returns the share of illogical replies, and the share of replies that help, by response type."""
    group = f"policy, {split}"
    bar = ILLOGICAL_BAR if with_bars else None
    figures = [share_figure(group, "illogical replies", [j.truth[ILLOGICAL] for j in replies], bar, "at most")]
    for response_type in RESPONSE_TYPES:
        helps = [
            judged.truth.get("partially_complies", False)
            for judged in replies
            if judged.prompt.response_type == response_type
        ]
        figures.append(share_figure(group, f"helps, {response_type}", helps, HELPFUL_BAR if with_bars else None))
    return figures


def instruction_figures(samples: Sequence[tuple[list[str], JudgedReply]]) -> list[Figure]:
    """Returns, for each dialogue act, how often a reply has the act if the instruction names it."""
    present: dict[str, list[bool]] = {act: [] for act in INSTRUCTION_PHRASES}
    for requested_acts, judged in samples:
        written_acts = {act for sentence in parse(judged.reply) or () for act in sentence.acts}
        for act in set(requested_acts):
            present[act].append(_ACT_OF_SENTENCE.get(act, act) in written_acts)
    return [
        share_figure("policy, instructed trait is present", act, hits, TRAIT_BAR)
        for act, hits in present.items()
        if hits
    ]
