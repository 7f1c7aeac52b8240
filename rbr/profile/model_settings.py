"""The models of a profile, and what happens to prompts that they cannot read."""

from typing import Literal

from pydantic import Field

from rbr.profile.section import Options, Section, Text


class ModelRef(Section):
    """A model: a local directory, or a Hub id pinned to a revision.

    Attributes:
        path: Directory relative to the working directory, or a Hub id such as ``org/name``.
        revision: Commit of the Hub repository; None for a local directory.
        chat_template_kwargs: Arguments of the chat template, such as ``{enable_thinking: false}``.
        dtype: Type of the weights and activations on every device: ``float32``, ``bfloat16`` or ``float16``. Answers,
            scores and samples depend on it. A training starts from float32 weights all the same; its checkpoint is
            sampled with the type of the policy.

    Example:
        >>> ModelRef(path="rbr_sandbox/models/policy", revision=None).path
        'rbr_sandbox/models/policy'
    """

    path: Text
    revision: str | None
    chat_template_kwargs: Options = Field(default_factory=dict)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class ModelSettings(Section):
    """The models of a run.

    Attributes:
        policy: Helpful-only model that writes the candidate replies and is trained.
        grader: Model that answers the propositions; None if a server has it and tokenizes for itself. Its `dtype` can
            be set only for the backend ``transformers``.
        helpful_reward_model: Reward model R_rm, trained on helpfulness alone.
        human_reward_model: Reward model of human preferences, for a baseline.
        oracle: Name of a registered judge that knows the true labels; None if there is no oracle.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/sandbox.yaml").models.oracle
        'sandbox'
    """

    policy: ModelRef
    grader: ModelRef | None
    helpful_reward_model: ModelRef
    human_reward_model: ModelRef
    oracle: Text | None


class PromptCheckSettings(Section):
    """What happens to a prompt that a model cannot read. All prompts are checked before any model works.

    Attributes:
        on_refused_turns: If a chat template refuses the turns of a prompt, such as a system turn or two user turns in a
            row: ``quarantine`` leaves the prompt out and goes on, ``stop`` ends the run. ``fold`` rewrites the prompt
            for all models, as `rbr.conversation.fold_turns` describes it, and leaves it out only if that does not help.
        on_too_long: If a prompt with the longest reply exceeds the context of a model: ``quarantine`` or ``stop``.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/sandbox.yaml").prompt_check.on_too_long
        'quarantine'
    """

    on_refused_turns: Literal["quarantine", "fold", "stop"]
    on_too_long: Literal["quarantine", "stop"]
