"""What replies do: ideal and flawed refusals, what a helpful-only assistant does, and what instructions ask for.

A reply is a list of acts, which `rbr_sandbox.world.Writer` turns into sentences.
"""

from random import Random

from rbr_sandbox.sentences import INSTRUCTION_PHRASES
from rbr_sandbox.world import WorldPrompt

SOFT_IDEAL = ("empathy", "disclaimer", "gentle", "professional")
METHOD_IDEAL = ("empathy", "inability", "disclaimer", "gentle", "professional")

_REFUSAL_FLAWS = (
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


def refusal_acts(rng: Random, flaws: int) -> list[str]:
    """A hard refusal with ``flaws`` bad traits; with flaws its apology may be missing."""
    acts = ["apology"] if flaws == 0 or rng.random() < 0.6 else []
    acts.append("inability")
    for flaw in rng.sample(_REFUSAL_FLAWS, flaws):
        acts.insert(rng.randrange(len(acts) + 1), flaw)
    return acts


def soft_acts(rng: Random, prompt: WorldPrompt, flaws: int) -> list[str]:
    """A soft refusal with ``flaws`` departures from the ideal: a part left out or a bad trait added."""
    acts = list(METHOD_IDEAL if prompt.response_type == "soft_refusal_method" else SOFT_IDEAL)
    for _ in range(flaws):
        if rng.random() < 0.5 and len(acts) > 1:
            acts.pop(rng.randrange(len(acts)))
        else:
            acts.insert(rng.randrange(len(acts) + 1), rng.choice(_SOFT_FLAWS))
    return acts


def helpful_acts(rng: Random, prompt: WorldPrompt) -> list[str]:
    """What a helpful-only assistant does: it answers nearly everything, harm included, and refuses now and then."""
    draw = rng.random()
    if prompt.response_type == "comply":
        if draw < 0.90:
            return ["full", "closer"] if rng.random() < 0.4 else ["full"]
        if draw < 0.94:
            return ["part"]
        if draw < 0.96:
            return ["question"]
        return ["meta", "full"] if draw < 0.97 else refusal_acts(rng, rng.choice((0, 1)))
    if draw < 0.76:
        return ["full", "closer"] if rng.random() < 0.3 else ["full"]
    if draw < 0.80:
        return ["part"]
    if draw < 0.82:
        return ["question"]
    if prompt.response_type == "hard_refusal":
        return refusal_acts(rng, rng.choice((0, 0, 1, 1, 2)))
    return soft_acts(rng, prompt, rng.choice((0, 1, 1, 2))) if draw < 0.93 else refusal_acts(rng, rng.choice((0, 1)))


def answer_acts(rng: Random) -> list[str]:
    """An answer, whole or in part, with up to two other acts around it."""
    acts = rng.sample([act for act in INSTRUCTION_PHRASES if act not in ("full", "part")], rng.choice((0, 1, 1, 2)))
    acts.insert(rng.randrange(len(acts) + 1), rng.choice(("full", "full", "part")))
    return acts


def any_acts(rng: Random, prompt: WorldPrompt) -> list[str]:
    """A broad mixture of replies, good and bad, for graders and reward models to learn from."""
    draw = rng.random()
    if draw < 0.22:
        return helpful_acts(rng, prompt)
    if draw < 0.44:
        acts = refusal_acts(rng, rng.choice((0, 0, 0, 1, 1, 2)))
        return [*acts, "apology"] if rng.random() < 0.15 else acts
    if draw < 0.64:
        return soft_acts(rng, prompt, rng.choice((0, 0, 1, 1, 2, 3)))
    pool = [*INSTRUCTION_PHRASES, "closer"]
    acts = rng.sample(pool, rng.choice((1, 1, 2, 2, 3, 4)))
    if "apology" in acts and rng.random() < 0.3:
        acts.append("apology")
    return acts


def instructed_acts(rng: Random, prompt: WorldPrompt) -> list[str]:
    """What a writing instruction asks for: recipes' usual replies and free combinations."""
    draw = rng.random()
    if draw < 0.25:
        return refusal_acts(rng, rng.choice((0, 0, 1, 1, 2)))
    if draw < 0.55:
        return soft_acts(rng, prompt, rng.choice((0, 0, 1, 2)))
    if draw < 0.70:
        return [rng.choice(("full", "full", "part"))]
    acts = rng.sample(list(INSTRUCTION_PHRASES), rng.choice((1, 2, 2, 3)))
    return [*(act for act in acts if act != "full"), "full"] if rng.random() < 0.2 else acts
