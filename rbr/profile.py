"""Profiles: the models, sizes and backends that one run of the method uses.

A profile is a complete YAML file; no setting has a default in code. With ``extends: NAME`` a profile lists only the
settings that differ from those of ``NAME.yaml`` in the same directory.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from rbr.files.profile_document import ProfileDocument, read_profile_document
from rbr.files.schema_errors import schema_problem, validate

Constraints = Literal["order_and_signs", "none"]
"""Constraints of the fit: `FitSettings` explains them."""

_HINT_IF_MISSING = "Add `{key}:`, or extend a complete profile."

_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_TopP = Annotated[float, Field(gt=0.0, le=1.0)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Spellings = Annotated[tuple[_Text, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelRef(_Section):
    """A model: a local directory, or a Hub id pinned to a revision.

    Attributes:
        path: Directory relative to the working directory, or a Hub id such as ``org/name``.
        revision: Commit of the Hub repository; None for a local directory.

    Example:
        >>> ModelRef(path="rbr_sandbox/models/policy", revision=None).path
        'rbr_sandbox/models/policy'
    """

    path: _Text
    revision: str | None


class ModelSettings(_Section):
    """The models of a run.

    Attributes:
        policy: Helpful-only model that writes the candidate replies and is trained.
        grader: Model that answers the propositions.
        helpful_reward_model: Reward model R_rm, trained on helpfulness alone.
        human_reward_model: Reward model of human preferences, for a baseline.
        oracle: Name of a registered judge that knows the true labels; None if there is no oracle.

    Example:
        >>> load_profile("profiles/sandbox.yaml").models.oracle
        'sandbox'
    """

    policy: ModelRef
    grader: ModelRef
    helpful_reward_model: ModelRef
    human_reward_model: ModelRef
    oracle: _Text | None


class SynthesisSettings(_Section):
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
        >>> load_profile("profiles/tiny.yaml").synthesis.candidates
        2
    """

    prompts_per_response_type: _Count
    candidates: _Count
    temperature: _Positive
    top_p: _TopP
    max_new_tokens: _Count
    batch_size: _Count
    seed: _Seed


class GraderSettings(_Section):
    """Settings of the grader: how it is asked, and how its answers are read.

    Attributes:
        backend: ``transformers`` and ``vllm`` run in process; ``openai`` calls a compatible server.
        few_shot: Number of examples that the grader sees before each question.
        yes: Token texts that count as yes.
        no: Token texts that count as no.
        min_mass: Smallest P(yes) + P(no) of a readable answer. Below it, the grade is missing.
        batch_size: Number of questions that are answered together.
        category_bar: Smallest P(yes) at which a prompt gets its most probable category. Below it, the prompt is left
            out.
        base_url: Address of the server; only for ``openai``.
        model_name: Name of the model at the server; only for ``openai``.
        max_concurrency: Maximum number of concurrent requests; only for ``openai``.
        timeout_s: Timeout of a request, in seconds; only for ``openai``.
        retries: Number of retries after a failed request; only for ``openai``.

    Example:
        >>> load_profile("profiles/tiny.yaml").grader.backend
        'transformers'
    """

    backend: Literal["transformers", "vllm", "openai"]
    few_shot: Annotated[int, Field(ge=0)]
    yes: _Spellings
    no: _Spellings
    min_mass: _Share
    batch_size: _Count
    category_bar: _Share
    base_url: str | None
    model_name: str | None
    max_concurrency: _Count
    timeout_s: _Positive
    retries: Annotated[int, Field(ge=0)]

    @field_validator("no")
    @classmethod
    def _check_yes_and_no(cls, no: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if shared := sorted(set(info.data.get("yes", ())) & set(no)):
            hint = "Keep the text in one of the two lists."
            raise schema_problem(f"{shared[0]!r} is in both yes and no", hint, sibling="no")
        return no

    @field_validator("model_name")
    @classmethod
    def _check_server(cls, model_name: str | None, info: ValidationInfo) -> str | None:
        # If `base_url` itself is invalid, pydantic has reported it, and `info.data` does not contain it.
        if info.data.get("backend") == "openai" and not (model_name and info.data.get("base_url", "unreadable")):
            hint = "Set `base_url` and `model_name`, or choose another backend."
            raise schema_problem("the backend openai needs base_url and model_name", hint, sibling="backend")
        return model_name


class FitSettings(_Section):
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
    l2: _Positive
    held_out_fraction: _Share
    bootstrap: Annotated[int, Field(ge=0)]
    seed: _Seed


class SftSettings(_Section):
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

    epochs: _Count
    learning_rate: _Positive
    batch_size: _Count
    max_length: _Count
    seed: _Seed


class RlSettings(_Section):
    """Settings of reinforcement learning with GRPO.

    Attributes:
        steps: Number of optimizer steps.
        prompts_per_step: Number of prompts per step.
        num_generations: Number of replies that are sampled for each prompt of a step, at least 2.
        learning_rate: Peak learning rate.
        beta: Weight of the KL divergence from the start checkpoint.
        temperature: Sampling temperature.
        max_completion_length: Maximum length of a reply, in tokens.
        scale_rewards: ``group`` divides rewards by their standard deviation among the replies to one prompt.
            ``batch`` divides by the standard deviation in the batch. ``none`` does not scale.
        seed: Seed of the training.

    Example:
        >>> load_profile("profiles/tiny.yaml").rl.steps
        2
    """

    steps: _Count
    prompts_per_step: _Count
    num_generations: Annotated[int, Field(ge=2)]
    learning_rate: _Positive
    beta: _NotNegative
    temperature: _Positive
    max_completion_length: _Count
    scale_rewards: Literal["group", "batch", "none"]
    seed: _Seed


class EvaluationSettings(_Section):
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
        >>> load_profile("profiles/tiny.yaml").evaluation.completions_per_prompt
        1
    """

    test_fraction: _Share
    completions_per_prompt: _Count
    temperature: _Positive
    top_p: _TopP
    max_new_tokens: _Count
    batch_size: _Count
    bootstrap: _Count
    seed: _Seed


class Profile(_Section):
    """The data files and the settings of one run, by stage.

    Attributes:
        prompts: Path of the prompts file.
        gold_labels: Path of the gold file.

    Example:
        >>> load_profile("profiles/tiny.yaml").prompts
        'rbr_sandbox/data/tiny_prompts.jsonl'
    """

    prompts: _Text
    gold_labels: _Text
    models: ModelSettings
    synthesis: SynthesisSettings
    grader: GraderSettings
    fit: FitSettings
    sft: SftSettings
    rl: RlSettings
    evaluation: EvaluationSettings


def load_profile(path: str | Path) -> Profile:
    """Reads a profile and the profiles that it extends.

    Args:
        path: YAML file of the profile.

    Raises:
        InputError: A file cannot be read, profiles extend each other in a circle, keys are missing or unknown, or
            values are out of range. All problems are reported, each with file, line and key.

    Example:
        >>> load_profile("profiles/tiny.yaml").evaluation.test_fraction
        0.2
    """
    return parse_profile(read_profile_document(path))


def parse_profile(document: ProfileDocument) -> Profile:
    """Checks the settings of a profile document. The document still knows the location of each setting.

    Raises:
        InputError: Keys are missing or unknown, or values are out of range.

    Example:
        >>> document = read_profile_document("profiles/tiny.yaml")
        >>> parse_profile(document).rl.steps, document.location(("rl", "steps")).file
        (2, 'profiles/tiny.yaml')
    """
    return validate(Profile, document, hint_if_missing=_HINT_IF_MISSING)
