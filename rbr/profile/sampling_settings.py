"""The settings of the stages that sample replies without training: synthesis and evaluation."""

from rbr.profile.section import Count, Positive, Section, Seed, Share, TopP


class ReplyLengths(Section):
    """The longest reply of each stage, in tokens of the policy; see `Profile.reply_lengths`.

    Attributes:
        synthesis: Of a candidate reply.
        rl: Of a rollout.
        evaluation: Of an evaluated reply.

    Example:
        >>> ReplyLengths(synthesis=64, rl=64, evaluation=128).longest
        128
    """

    synthesis: Count
    rl: Count
    evaluation: Count

    @property
    def longest(self) -> int:
        """The longest reply of all stages."""
        return max(self.synthesis, self.rl, self.evaluation)


class SynthesisSettings(Section):
    """Settings for sampling the candidate replies of synthetic comparisons.

    Attributes:
        prompts_per_response_type: Maximum number of training prompts per response type.
        candidates: Number of candidate replies per prompt and slot.
        temperature: Sampling temperature.
        top_p: Probability mass of nucleus sampling, in (0, 1].
        max_new_tokens: Maximum length of a reply, in tokens.
        batch_size: Number of replies that are sampled together.
        seed: Seed of the sampling.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/tiny.yaml").synthesis.candidates
        2
    """

    prompts_per_response_type: Count
    candidates: Count
    temperature: Positive
    top_p: TopP
    max_new_tokens: Count
    batch_size: Count
    seed: Seed


class EvaluationSettings(Section):
    """Settings of the evaluation: the test split, and the sampling of replies.

    Attributes:
        test_fraction: Expected share of test prompts, in [0, 1].
        completions_per_prompt: Number of replies that are sampled for each test prompt.
        temperature: Sampling temperature.
        top_p: Probability mass of nucleus sampling, in (0, 1].
        max_new_tokens: Maximum length of a reply, in tokens.
        batch_size: Number of replies that are sampled together.
        bootstrap: Number of bootstrap draws for the intervals of the metrics.
        seed: Seed of the sampling and of the draws.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/tiny.yaml").evaluation.completions_per_prompt
        1
    """

    test_fraction: Share
    completions_per_prompt: Count
    temperature: Positive
    top_p: TopP
    max_new_tokens: Count
    batch_size: Count
    bootstrap: Count
    seed: Seed
