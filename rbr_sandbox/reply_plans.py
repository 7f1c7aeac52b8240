"""Plans replies: ideal and flawed refusals, helpful answers and instructed replies.

A plan is a list of dialogue acts, which `rbr_sandbox.reply_writer.ReplyWriter` turns into sentences.
"""

from random import Random

from rbr_sandbox.sentences import INSTRUCTION_PHRASES
from rbr_sandbox.world_prompt import WorldPrompt

# Response types soft_refusal_intent and soft_refusal_method.
_IDEAL_SOFT_REFUSAL = ("empathy", "disclaimer", "gentle", "professional")
_IDEAL_METHOD_REFUSAL = ("empathy", "inability", "disclaimer", "gentle", "professional")

# Acts that make a refusal worse.
_HARD_FLAWS = (
    "judgement",
    "meta",
    "policy",
    "threat",
    "insult",
    "question",
    "professional",
    "reason",
    "we",
)
_SOFT_FLAWS = (
    "definitive",
    "resource",
    "remedy",
    "judgement",
    "meta",
    "policy",
    "question",
    "we",
    "inability",
    "apology",
)


def plan_hard_refusal(rng: Random, flaws: int) -> list[str]:
    """Plans a hard refusal with ``flaws`` bad acts. If it has bad acts, the apology may be missing."""
    acts = ["apology"] if flaws == 0 or rng.random() < 0.6 else []
    acts.append("inability")
    for flaw in rng.sample(_HARD_FLAWS, flaws):
        acts.insert(rng.randrange(len(acts) + 1), flaw)
    return acts


def plan_soft_refusal(rng: Random, prompt: WorldPrompt, flaws: int) -> list[str]:
    """Plans a soft refusal with ``flaws`` changes to the ideal: an act is left out, or a bad act is added."""
    acts = list(_IDEAL_METHOD_REFUSAL if prompt.response_type == "soft_refusal_method" else _IDEAL_SOFT_REFUSAL)
    for _ in range(flaws):
        if rng.random() < 0.5 and len(acts) > 1:
            acts.pop(rng.randrange(len(acts)))
        else:
            acts.insert(rng.randrange(len(acts) + 1), rng.choice(_SOFT_FLAWS))
    return acts


def plan_reply_with_flaws(rng: Random, prompt: WorldPrompt, flaws: int) -> list[str]:
    """Plans an ideal refusal or an answer, and adds ``flaws`` bad acts of any refusal."""
    hard, soft = plan_hard_refusal(rng, flaws=0), plan_soft_refusal(rng, prompt, flaws=0)
    acts = list(rng.choice((soft if prompt.response_type.startswith("soft") else hard, ["full"], ["part"])))
    for flaw in rng.sample(list(dict.fromkeys((*_HARD_FLAWS, *_SOFT_FLAWS))), flaws):
        acts.insert(rng.randrange(len(acts) + 1), flaw)
    return acts


def plan_helpful_reply(rng: Random, prompt: WorldPrompt) -> list[str]:
    """Plans the reply of a helpful-only assistant: it answers nearly every prompt, even harmful ones."""
    draw = rng.random()
    if prompt.response_type == "comply":
        if draw < 0.90:
            return ["full", "closer"] if rng.random() < 0.4 else ["full"]
        if draw < 0.94:
            return ["part"]
        if draw < 0.96:
            return ["question"]
        return ["meta", "full"] if draw < 0.97 else plan_hard_refusal(rng, rng.choice((0, 1)))
    if draw < 0.76:
        return ["full", "closer"] if rng.random() < 0.3 else ["full"]
    if draw < 0.80:
        return ["part"]
    if draw < 0.82:
        return ["question"]
    if prompt.response_type == "hard_refusal":
        return plan_hard_refusal(rng, rng.choice((0, 0, 1, 1, 2)))
    return (
        plan_soft_refusal(rng, prompt, rng.choice((0, 1, 1, 2)))
        if draw < 0.93
        else plan_hard_refusal(rng, rng.choice((0, 1)))
    )


def plan_answer(rng: Random) -> list[str]:
    """Plans a full or partial answer with up to two other acts around it."""
    acts = rng.sample([act for act in INSTRUCTION_PHRASES if act not in ("full", "part")], rng.choice((0, 1, 1, 2)))
    acts.insert(rng.randrange(len(acts) + 1), rng.choice(("full", "full", "part")))
    return acts


def plan_any_reply(rng: Random, prompt: WorldPrompt) -> list[str]:
    """Plans a reply from a broad mixture of good and bad replies, to train graders and reward models."""
    draw = rng.random()
    if draw < 0.22:
        return plan_helpful_reply(rng, prompt)
    if draw < 0.44:
        acts = plan_hard_refusal(rng, rng.choice((0, 0, 0, 1, 1, 2)))
        return [*acts, "apology"] if rng.random() < 0.15 else acts
    if draw < 0.64:
        return plan_soft_refusal(rng, prompt, rng.choice((0, 0, 1, 1, 2, 3)))
    pool = [*INSTRUCTION_PHRASES, "closer"]
    acts = rng.sample(pool, rng.choice((1, 1, 2, 2, 3, 4)))
    if "apology" in acts and rng.random() < 0.3:
        acts.append("apology")
    return acts


def plan_instructed_reply(rng: Random, prompt: WorldPrompt) -> list[str]:
    """Plans a reply that a writing instruction can ask for: a refusal, an answer, or any combination of acts."""
    draw = rng.random()
    if draw < 0.25:
        return plan_hard_refusal(rng, rng.choice((0, 0, 1, 1, 2)))
    if draw < 0.55:
        return plan_soft_refusal(rng, prompt, rng.choice((0, 0, 1, 2)))
    if draw < 0.70:
        return [rng.choice(("full", "full", "part"))]
    acts = rng.sample(list(INSTRUCTION_PHRASES), rng.choice((1, 2, 2, 3)))
    return [*(act for act in acts if act != "full"), "full"] if rng.random() < 0.2 else acts
