"""Measures every figure of the model card."""

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
from rbr_sandbox.annotators import helpful_utility, human_utility
from rbr_sandbox.measure.figures import Figure
from rbr_sandbox.measure.measure_grader import (
    CATEGORY_BAR,
    category_figure,
    composed_figures,
    look_alike_figure,
    reading_figures,
)
from rbr_sandbox.measure.measure_policy import (
    fluency_figures,
    instruction_figures,
    sample_instructed_replies,
    sample_plain_replies,
)
from rbr_sandbox.measure.measure_reward_models import (
    blindness_figures,
    quality_figure,
    ranking_figure,
    refusal_figures,
)
from rbr_sandbox.measure.measure_world import world_figures
from rbr_sandbox.measure.tuned_replies import REPLIES, read_tuned_replies
from rbr_sandbox.replies import JudgedReply, draw_reply
from rbr_sandbox.world import draw_prompts
from rbr_sandbox.world_prompt import WorldPrompt

SEED = 7
COMPOSED_REPLIES = 1500


def evaluation_prompts(split: str) -> list[WorldPrompt]:
    """Draws prompts of the split ``test`` or ``unseen_topics``. No training step uses them, and few of them ship."""
    return [prompt for prompt in draw_prompts(SEED, 500, 60) if prompt.split == split]


def measure_models(profile: str | Path, rulebook: str | Path) -> list[Figure]:
    """Measures the world, the grader, the policy and the reward models, in two processes.

    Args:
        profile: YAML file of the profile that names the models.
        rulebook: Directory of the rulebook with the shipped wordings.
    """
    settings, rules = load_profile(profile), load_rulebook(rulebook)
    parts = [
        _grader_on_composed_replies,
        _grader_on_held_out_sentences,
        _grader_before_rl,
        _grader_after_rl,
        _grader_on_questions_and_categories,
        _policy,
        _reward_models,
    ]
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), **one_thread) as pool:
        measured = [pool.submit(part, settings, rules) for part in parts]
        return [*world_figures(rules), *chain.from_iterable(part.result() for part in measured)]


def _grader_on_composed_replies(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    return reading_figures(_open_grader(profile), rulebook, "composed replies", _compose_replies()[0])


def _grader_on_held_out_sentences(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    # These figures have no bar: to detect slips of the policy, the grader has to call every unknown sentence broken.
    return reading_figures(
        _open_grader(profile), rulebook, "replies in held-out sentences", _compose_replies()[1], bars={}
    )


def _grader_before_rl(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    policy, test = _open_policy(profile), evaluation_prompts("test")
    replies = sample_plain_replies(policy, test, 1)
    replies += [judged for _, judged in sample_instructed_replies(policy, test, 2, SEED)]
    return reading_figures(_open_grader(profile), rulebook, "the policy before RL", replies)


def _grader_after_rl(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    if not REPLIES.exists():
        return []
    replies = read_tuned_replies(evaluation_prompts("test"))
    return reading_figures(_open_grader(profile), rulebook, "the policies after RL", replies)


def _grader_on_questions_and_categories(profile: Profile, rulebook: Rulebook) -> list[Figure]:
    grader = _open_grader(profile)
    return [
        *composed_figures(grader, _compose_replies()[0][:400], SEED),
        look_alike_figure(grader, rulebook, evaluation_prompts("test"), SEED),
        category_figure(grader, rulebook, "test prompts", evaluation_prompts("test"), CATEGORY_BAR),
        category_figure(grader, rulebook, "unseen topics", evaluation_prompts("unseen_topics"), None),
    ]


def _policy(profile: Profile, _: Rulebook) -> list[Figure]:
    policy, test, unseen = _open_policy(profile), evaluation_prompts("test"), evaluation_prompts("unseen_topics")
    return [
        *fluency_figures("test prompts", sample_plain_replies(policy, test, 4), with_bars=True),
        *fluency_figures("unseen topics", sample_plain_replies(policy, unseen, 4), with_bars=False),
        *instruction_figures(sample_instructed_replies(policy, test, 4, SEED + 1)),
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


def _compose_replies() -> tuple[list[JudgedReply], list[JudgedReply]]:
    """Composes replies to test prompts. Returns replies in training sentences, and replies in held-out sentences."""
    rng, test = Random(SEED), evaluation_prompts("test")
    prompts = rng.choices(test, k=COMPOSED_REPLIES)

    def compose(held_out: float) -> list[JudgedReply]:
        return [draw_reply(rng, prompt, lambda r: r.choice(test), held_out) for prompt in prompts]

    return compose(0.0), compose(1.0)
