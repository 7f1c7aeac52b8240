"""The settings of the stages that fit weights or train a policy."""

from typing import Annotated, Literal

from pydantic import Field

from rbr.profile.section import Count, NotNegative, Positive, Section, Seed, Share, TopP

Constraints = Literal["order_and_signs", "none"]
"""Constraints of the fit: `FitSettings` explains them."""


class FitSettings(Section):
    """Settings for fitting the reward weights.

    Attributes:
        constraints: ``order_and_signs`` makes the weights respect the order of the classes and the signs of the
            features. ``none`` is the paper's plain fit.
        l2: Weight of the L2 penalty; the unit of a weight is the spread of R_rm within prompts.
        held_out_fraction: Expected share of prompts that are held out to measure error rates, in [0, 1].
        bootstrap: Number of bootstrap draws for the intervals of the weights.
        seed: Seed of the bootstrap draws.

    Example:
        >>> FitSettings(constraints="none", l2=0.01, held_out_fraction=0.2, bootstrap=100, seed=0).l2
        0.01
    """

    constraints: Constraints
    l2: Positive
    held_out_fraction: Share
    bootstrap: Annotated[int, Field(ge=0)]
    seed: Seed


class SftSettings(Section):
    """Settings of supervised fine-tuning on ideal and helpful replies.

    Attributes:
        epochs: Number of passes over the data.
        learning_rate: Peak learning rate.
        batch_size: Number of conversations per step.
        max_length: Maximum length of a conversation, in tokens.
        seed: Seed of the training.

    Example:
        >>> SftSettings(epochs=1, learning_rate=1e-4, batch_size=8, max_length=256, seed=0).epochs
        1
    """

    epochs: Count
    learning_rate: Positive
    batch_size: Count
    max_length: Count
    seed: Seed


class RlSettings(Section):
    """Settings of reinforcement learning with GRPO.

    Attributes:
        steps: Number of optimizer steps.
        prompts_per_step: Number of prompts per step.
        num_generations: Number of replies that are sampled for each prompt of a step, at least 2.
        learning_rate: Peak learning rate.
        beta: Weight of the KL divergence from the start checkpoint.
        temperature: Sampling temperature.
        top_p: Probability mass of nucleus sampling, in (0, 1].
        max_completion_length: Maximum length of a reply, in tokens.
        scale_rewards: ``group`` divides rewards by their standard deviation among the replies to one prompt.
            ``batch`` divides by the standard deviation in the batch. ``none`` does not scale.
        on_refusal: What happens to a reply that the grader's content filter refuses to judge: ``worst`` gives it the
            lowest R_rbr of its response type, ``mask`` leaves it out of the loss.
        max_unscored: Largest share of replies without a reward. Above it, the training fails.
        save_steps: Number of steps between two saved states, from which a stopped training goes on.
        seed: Seed of the training.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/tiny.yaml").rl.steps
        2
    """

    steps: Count
    prompts_per_step: Count
    num_generations: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    beta: NotNegative
    temperature: Positive
    top_p: TopP
    max_completion_length: Count
    scale_rewards: Literal["group", "batch", "none"]
    on_refusal: Literal["worst", "mask"]
    max_unscored: Share
    save_steps: Count
    seed: Seed
