"""Measures the shipped sandbox models on prompts they were not trained on: ``python -m rbr.sandbox.evaluate``."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation, with_instruction
from rbr.generation import Policy
from rbr.grading import Grader, open_grader
from rbr.grading.prompt import Question
from rbr.profile import Profile, load_profile
from rbr.reward_model import RewardModel
from rbr.rulebook import Rulebook, load_rulebook
from rbr.sandbox.oracle import PROPOSITIONS, truths
from rbr.sandbox.questions import HELD_OUT
from rbr.sandbox.training.grader import draw_reply
from rbr.sandbox.training.reward_models import helpful_utility, human_utility
from rbr.sandbox.world import RESPONSE_TYPES, WorldPrompt, Writer, draw_prompts, instructed_acts

SEED = 7
REPLIES = 600


def balanced_accuracy(truth: NDArray[np.bool_], read: NDArray[np.float64]) -> float:
    """Mean of the shares of yes and of no that are read right at 0.5; NaN where one of them is absent."""
    if truth.all() or not truth.any():
        return float("nan")
    return float(((read[truth] > 0.5).mean() + (read[~truth] <= 0.5).mean()) / 2)


def grader_accuracy(
    grader: Grader, prompts: Sequence[WorldPrompt], replies: Sequence[str], wording: Callable[[str], str]
) -> dict[str, float]:
    """Balanced accuracy per proposition against the oracle, with the given wording of each question."""
    judged: list[Conversation] = [
        [*p.messages, {"role": "assistant", "content": reply}] for p, reply in zip(prompts, replies, strict=True)
    ]
    read = grader.grade(judged, [Question(name, wording(name)) for name in PROPOSITIONS])
    known = [truths(p.messages, reply) for p, reply in zip(prompts, replies, strict=True)]
    return {
        name: balanced_accuracy(np.array([row[name] for row in known]), read[:, i])
        for i, name in enumerate(PROPOSITIONS)
    }


def category_accuracy(grader: Grader, prompts: Sequence[WorldPrompt], rulebook: Rulebook) -> float:
    """Share of prompts whose category gets the highest P(yes) of all category questions."""
    categories = rulebook.content_policy.categories
    questions = [Question(code, category.question) for code, category in categories.items()]
    read = grader.grade([p.messages for p in prompts], questions)
    best = [list(categories)[i] for i in np.nan_to_num(read, nan=-1.0).argmax(axis=1)]
    return float(np.mean([code == p.topic.category for code, p in zip(best, prompts, strict=True)]))


def ranking_accuracy(
    model: RewardModel, prompts: Sequence[WorldPrompt], utility: Callable[[WorldPrompt, str], float]
) -> float:
    """Share of reply pairs, clearly apart in utility, that the reward model orders as the annotator does."""
    rng = Random(SEED)
    drawn = [(p, [draw_reply(rng, p, list(prompts))[0] for _ in range(2)]) for p in rng.choices(prompts, k=REPLIES)]
    margin = np.array([utility(p, a) - utility(p, b) for p, (a, b) in drawn])
    scores = [model.score([p.messages for p, _ in drawn], [pair[i] for _, pair in drawn]) for i in range(2)]
    apart = np.abs(margin) >= 1.0
    return float((np.sign(scores[0] - scores[1]) == np.sign(margin))[apart].mean())


def policy_figures(policy: Policy, prompts: Sequence[WorldPrompt]) -> tuple[dict[str, float], list[str]]:
    """Illogical share and share of disallowed content per response type, of plain samples; and the samples."""
    samples = policy.sample([p.messages for p in prompts], list(range(len(prompts))), 1.0, 1.0, 64)
    replies = [s.text for s in samples]
    known = [truths(p.messages, reply) for p, reply in zip(prompts, replies, strict=True)]
    figures = {"illogical": float(np.mean([row["illogical_continuation_of_prompt"] for row in known]))}
    for response_type in RESPONSE_TYPES:
        rows = [row for row, p in zip(known, prompts, strict=True) if p.response_type == response_type]
        figures[f"disallowed, {response_type}"] = float(np.mean([row["disallowed_content"] for row in rows]))
    return figures, replies


def instructed_share(policy: Policy, prompts: Sequence[WorldPrompt]) -> float:
    """Share of instructed replies with exactly the truths of a reply composed to the same instruction."""
    rng = Random(SEED)
    writer = Writer(rng)
    acts = [instructed_acts(rng, p) for p in prompts]
    asked = [with_instruction(p.messages, writer.instruction(a)) for p, a in zip(prompts, acts, strict=True)]
    samples = policy.sample(asked, list(range(len(prompts))), 1.0, 1.0, 64)
    wanted = [truths(p.messages, writer.write(a, p)) for p, a in zip(prompts, acts, strict=True)]
    return float(np.mean([truths(p.messages, s.text) == w for p, s, w in zip(prompts, samples, wanted, strict=True)]))


def measure(profile: Profile, rulebook: Rulebook) -> dict[str, float | dict[str, float]]:
    """Every figure of the model card, on test prompts and (last) on unseen topics."""
    rng = Random(SEED)
    prompts = [p for p in draw_prompts(SEED, 300, 60) if p.split != "train"]
    test = [p for p in prompts if p.split == "test"]
    unseen = [p for p in prompts if p.split == "unseen_topics"]
    grader = open_grader(profile.models.grader, profile.grader)
    policy = Policy(profile.models.policy, batch_size=128)
    subjects = rng.choices(test, k=REPLIES)
    composed = [draw_reply(rng, p, test)[0] for p in subjects]
    new_forms = [draw_reply(rng, p, test, held_out=1.0)[0] for p in subjects]
    figures, samples = policy_figures(policy, test)
    propositions = rulebook.propositions
    config = json.loads((Path(profile.models.human_reward_model.path) / "config.json").read_text())
    return {
        "grader, shipped wording": grader_accuracy(
            grader, subjects, composed, lambda name: propositions[name].question
        ),
        "grader, held-out sentence forms": grader_accuracy(
            grader, subjects, new_forms, lambda n: propositions[n].question
        ),
        "grader, held-out wording": grader_accuracy(grader, subjects, composed, HELD_OUT.__getitem__),
        "grader, replies of the policy": grader_accuracy(grader, test, samples, lambda n: propositions[n].question),
        "grader, category, test": category_accuracy(grader, test, rulebook),
        "grader, category, unseen topics": category_accuracy(grader, unseen, rulebook),
        "policy, test": figures,
        "policy, unseen topics": policy_figures(policy, unseen)[0],
        "policy, instruction followed": instructed_share(policy, test),
        "helpful reward model, ranking": ranking_accuracy(
            RewardModel(profile.models.helpful_reward_model, 64), test, helpful_utility
        ),
        "human reward model, ranking": ranking_accuracy(
            RewardModel(profile.models.human_reward_model, 64),
            test,
            lambda p, reply: human_utility(p, reply, config["annotator_alarms"]),
        ),
    }


def main() -> None:
    """Prints the figures: one line each, a group with its mean and its worst member."""
    for name, value in measure(load_profile("profiles/sandbox.yaml"), load_rulebook("rulebook")).items():
        if isinstance(value, float):
            print(f"{name:45s} {value:.3f}")
            continue
        print(f"{name:45s} mean {np.nanmean(list(value.values())):.3f}")
        for key, figure in value.items():
            print(f"    {key:41s} {figure:.3f}")


if __name__ == "__main__":
    main()
