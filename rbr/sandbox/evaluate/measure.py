"""Every figure of the model card, measured."""

import json
from pathlib import Path
from random import Random

import torch

from rbr.generation import Policy
from rbr.grading import open_grader
from rbr.profile import Profile, load_profile
from rbr.reward_model import RewardModel
from rbr.rulebook import Rulebook, load_rulebook
from rbr.sandbox.evaluate.figures import Figure
from rbr.sandbox.evaluate.grader import CATEGORY_BAR, category_figure, composed_figures, reading_figures
from rbr.sandbox.evaluate.policy import fluency_figures, instructed_samples, instruction_figures, plain_samples
from rbr.sandbox.evaluate.reward_models import blindness_figures, quality_figure, ranking_figure, refusal_figures
from rbr.sandbox.evaluate.tuned import REPLIES, read_tuned_replies
from rbr.sandbox.evaluate.world import world_figures
from rbr.sandbox.replies import draw_reply
from rbr.sandbox.training.reward_models import helpful_utility, human_utility
from rbr.sandbox.world import WorldPrompt, draw_prompts

SEED = 7
COMPOSED = 1500


def evaluation_prompts(split: str) -> list[WorldPrompt]:
    """Prompts that no training step saw: split ``test`` or ``unseen_topics``; others than the shipped ones, mostly."""
    return [prompt for prompt in draw_prompts(SEED, 500, 60) if prompt.split == split]


def measure(profile: str | Path, rulebook: str | Path) -> list[Figure]:
    """Counts what the world holds, and measures grader, policy and reward models.

    Args:
        profile: YAML file of the profile that names the models.
        rulebook: Directory of the rulebook whose wordings are the shipped ones.
    """
    torch.set_num_threads(1)
    settings, rules = load_profile(profile), load_rulebook(rulebook)
    policy = Policy(settings.models.policy, batch_size=128)
    return [
        *world_figures(rules),
        *_grader_figures(settings, rules, policy),
        *_policy_figures(policy),
        *_reward_model_figures(settings),
    ]


def _grader_figures(profile: Profile, rulebook: Rulebook, policy: Policy) -> list[Figure]:
    test, unseen = evaluation_prompts("test"), evaluation_prompts("unseen_topics")
    grader = open_grader(profile.models.grader, profile.grader)
    rng = Random(SEED)

    def other(draw: Random) -> WorldPrompt:
        return draw.choice(test)

    subjects = rng.choices(test, k=COMPOSED)
    composed = [draw_reply(rng, prompt, other) for prompt in subjects]
    new_sentences = [draw_reply(rng, prompt, other, held_out=1.0) for prompt in subjects]
    before = plain_samples(policy, test, 1) + [judged for _, judged in instructed_samples(policy, test, 2, SEED)]
    figures = reading_figures(grader, rulebook, "composed replies", composed)
    # No bar: to see slips of the policy it takes any sentence for broken that it never saw.
    figures += reading_figures(grader, rulebook, "replies in held-out sentences", new_sentences, bars={})
    figures += reading_figures(grader, rulebook, "the policy before RL", before)
    if REPLIES.exists():
        figures += reading_figures(grader, rulebook, "the policies after RL", read_tuned_replies(test))
    figures += composed_figures(grader, composed[:400], SEED)
    figures.append(category_figure(grader, rulebook, "test prompts", test, CATEGORY_BAR))
    figures.append(category_figure(grader, rulebook, "unseen topics", unseen, None))
    return figures


def _policy_figures(policy: Policy) -> list[Figure]:
    test, unseen = evaluation_prompts("test"), evaluation_prompts("unseen_topics")
    return [
        *fluency_figures("test prompts", plain_samples(policy, test, 4), barred=True),
        *fluency_figures("unseen topics", plain_samples(policy, unseen, 4), barred=False),
        *instruction_figures(instructed_samples(policy, test, 4, SEED + 1)),
    ]


def _reward_model_figures(profile: Profile) -> list[Figure]:
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
