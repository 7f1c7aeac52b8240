"""Every figure of the model card, measured."""

import json
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from random import Random

import torch

from rbr.grading import Grader, open_grader
from rbr.models.policy import Policy
from rbr.models.reward_model import RewardModel
from rbr.profile import Profile, load_profile
from rbr.rulebook import Rulebook, load_rulebook
from rbr_sandbox.measure.figures import Figure
from rbr_sandbox.measure.grader import (
    CATEGORY_BAR,
    category_figure,
    composed_figures,
    look_alike_figure,
    reading_figures,
)
from rbr_sandbox.measure.policy import fluency_figures, instructed_samples, instruction_figures, plain_samples
from rbr_sandbox.measure.reward_models import blindness_figures, quality_figure, ranking_figure, refusal_figures
from rbr_sandbox.measure.tuned import REPLIES, read_tuned_replies
from rbr_sandbox.measure.world import world_figures
from rbr_sandbox.replies import Judged, draw_reply
from rbr_sandbox.train.reward_models import helpful_utility, human_utility
from rbr_sandbox.world import WorldPrompt, draw_prompts

SEED = 7
COMPOSED = 1500


def evaluation_prompts(split: str) -> list[WorldPrompt]:
    """Prompts that no training step saw: split ``test`` or ``unseen_topics``; others than the shipped ones, mostly."""
    return [prompt for prompt in draw_prompts(SEED, 500, 60) if prompt.split == split]


def measure(profile: str | Path, rulebook: str | Path) -> list[Figure]:
    """Counts what the world holds, and measures grader, policy and reward models, in two processes.

    Args:
        profile: YAML file of the profile that names the models.
        rulebook: Directory of the rulebook whose wordings are the shipped ones.
    """
    settings, rules = load_profile(profile), load_rulebook(rulebook)
    parts = [_composed, _new_sentences, _before_rl, _after_rl, _questions_and_categories, _policy, _reward_models]
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), **one_thread) as pool:
        measured = [pool.submit(part, settings, rules) for part in parts]
        return [*world_figures(rules), *chain.from_iterable(part.result() for part in measured)]


def _composed(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    return reading_figures(_open_grader(profile), rulebook, "composed replies", _drawn_replies()[0])


def _new_sentences(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    # No bar: to see slips of the policy it takes any sentence for broken that it never saw.
    return reading_figures(
        _open_grader(profile), rulebook, "replies in held-out sentences", _drawn_replies()[1], bars={}
    )


def _before_rl(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    policy, test = _open_policy(profile), evaluation_prompts("test")
    replies = plain_samples(policy, test, 1) + [judged for _, judged in instructed_samples(policy, test, 2, SEED)]
    return reading_figures(_open_grader(profile), rulebook, "the policy before RL", replies)


def _after_rl(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    if not REPLIES.exists():
        return []
    replies = read_tuned_replies(evaluation_prompts("test"))
    return reading_figures(_open_grader(profile), rulebook, "the policies after RL", replies)


def _questions_and_categories(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    grader = _open_grader(profile)
    return [
        *composed_figures(grader, _drawn_replies()[0][:400], SEED),
        look_alike_figure(grader, rulebook, evaluation_prompts("test"), SEED),
        category_figure(grader, rulebook, "test prompts", evaluation_prompts("test"), CATEGORY_BAR),
        category_figure(grader, rulebook, "unseen topics", evaluation_prompts("unseen_topics"), None),
    ]


def _policy(profile: Profile, _: Rulebook) -> list[Figure]:
    policy, test, unseen = _open_policy(profile), evaluation_prompts("test"), evaluation_prompts("unseen_topics")
    return [
        *fluency_figures("test prompts", plain_samples(policy, test, 4), barred=True),
        *fluency_figures("unseen topics", plain_samples(policy, unseen, 4), barred=False),
        *instruction_figures(instructed_samples(policy, test, 4, SEED + 1)),
    ]


def _reward_models(profile: Profile, _: Rulebook) -> list[Figure]:
    test = evaluation_prompts("test")
    helpful = RewardModel(profile.models.helpful_reward_model, 64)
    human = RewardModel(profile.models.human_reward_model, 64)
    bias = json.loads((Path(profile.models.human_reward_model.path) / "config.json").read_text())["annotator_bias"]
    return [
        ranking_figure("helpful reward model", helpful, test, helpful_utility, SEED),
        quality_figure(helpful, test, SEED),
        *blindness_figures(helpful, test, SEED),
        ranking_figure("human reward model", human, test, human_utility(bias), SEED),
        *refusal_figures(human, test, bias, SEED),
    ]


def _open_grader(profile: Profile) -> Grader:
    return open_grader(profile.models.grader, profile.grader)


def _open_policy(profile: Profile) -> Policy:
    return Policy(profile.models.policy, batch_size=128)


def _drawn_replies() -> tuple[list[Judged], list[Judged]]:
    """Replies composed for test prompts, and others in sentences of held-out forms."""
    rng, test = Random(SEED), evaluation_prompts("test")
    subjects = rng.choices(test, k=COMPOSED)

    def drawn(held_out: float) -> list[Judged]:
        return [draw_reply(rng, prompt, lambda draw: draw.choice(test), held_out) for prompt in subjects]

    return drawn(0.0), drawn(1.0)
