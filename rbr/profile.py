"""Profiles: the models, sizes and backends that one run of the method uses.

A profile is a complete YAML file; no setting has a default in code. With ``extends: NAME`` a profile lists only the
settings that differ from those of ``NAME.yaml`` in the same directory.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from rbr.errors import InputError
from rbr.files.profile_document import ProfileDocument, read_profile_document
from rbr.files.schema_errors import schema_problem, validate
from rbr.files.text_file import read_text
from rbr.hashing import content_hash

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
_Options = dict[str, JsonValue]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __hash__(self) -> int:
        # A section can contain a mapping, which has no hash of its own.
        return hash(content_hash(self))


class ModelRef(_Section):
    """A model: a local directory, or a Hub id pinned to a revision.

    Attributes:
        path: Directory relative to the working directory, or a Hub id such as ``org/name``.
        revision: Commit of the Hub repository; None for a local directory.
        chat_template_kwargs: Arguments of the chat template, such as ``{enable_thinking: false}``.

    Example:
        >>> ModelRef(path="rbr_sandbox/models/policy", revision=None).path
        'rbr_sandbox/models/policy'
    """

    path: _Text
    revision: str | None
    chat_template_kwargs: _Options = {}


class ModelSettings(_Section):
    """The models of a run.

    Attributes:
        policy: Helpful-only model that writes the candidate replies and is trained.
        grader: Model that answers the propositions; None if a server has it and tokenizes for itself.
        helpful_reward_model: Reward model R_rm, trained on helpfulness alone.
        human_reward_model: Reward model of human preferences, for a baseline.
        oracle: Name of a registered judge that knows the true labels; None if there is no oracle.

    Example:
        >>> load_profile("profiles/sandbox.yaml").models.oracle
        'sandbox'
    """

    policy: ModelRef
    grader: ModelRef | None
    helpful_reward_model: ModelRef
    human_reward_model: ModelRef
    oracle: _Text | None


class PromptCheckSettings(_Section):
    """What happens to a prompt that a model cannot read. All prompts are checked before any model works.

    Attributes:
        on_refused_turns: If a chat template refuses the turns of a prompt, such as a system turn or two user turns in a
            row: ``quarantine`` leaves the prompt out and goes on, ``stop`` ends the run. ``fold`` rewrites the prompt
            for all models, as `rbr.conversation.fold_turns` describes it, and leaves it out only if that does not help.
        on_too_long: If a prompt with the longest reply exceeds the context of a model: ``quarantine`` or ``stop``.

    Example:
        >>> load_profile("profiles/sandbox.yaml").prompt_check.on_too_long
        'quarantine'
    """

    on_refused_turns: Literal["quarantine", "fold", "stop"]
    on_too_long: Literal["quarantine", "stop"]


class ReplyLengths(_Section):
    """The longest reply of each stage, in tokens of the policy; see `Profile.reply_lengths`.

    Attributes:
        synthesis: Of a candidate reply.
        rl: Of a rollout.
        evaluation: Of an evaluated reply.

    Example:
        >>> ReplyLengths(synthesis=64, rl=64, evaluation=128).longest
        128
    """

    synthesis: _Count
    rl: _Count
    evaluation: _Count

    @property
    def longest(self) -> int:
        """The longest reply of all stages."""
        return max(self.synthesis, self.rl, self.evaluation)


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


class VllmSettings(_Section):
    """Settings of the in-process backend ``vllm``; the vLLM documentation explains them.

    Attributes:
        dtype: Type of the weights and activations: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        max_model_len: Largest number of tokens of a prompt; None for the model's own limit.
        gpu_memory_utilization: Share of the GPU's memory that vLLM reserves, in (0, 1].
        tensor_parallel_size: Number of GPUs that share the model.

    Example:
        >>> load_profile("profiles/tiny.yaml").grader.vllm.dtype
        'auto'
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    max_model_len: _Count | None
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)]
    tensor_parallel_size: _Count


class GraderSettings(_Section):
    """Settings of the grader: how it is asked, and how its answers are read.

    Attributes:
        backend: ``transformers`` and ``vllm`` run in process; ``openai`` calls a compatible server.
        prompt_template: Text of the prompt template, as `rbr.grading.JudgePrompt` describes it. A profile names the
            file of the template.
        few_shot: Number of examples that the grader sees before each question.
        yes: Token texts that count as yes.
        no: Token texts that count as no.
        min_mass: Smallest P(yes) + P(no) of a readable answer. Below it, the grade is missing.
        max_bound: Largest possible error of P(yes) that comes from tokens that a server does not list. Above it, the
            grade is missing.
        max_unread: Largest share of replies or prompts without a readable result, per stage and category. Above it,
            a check of the stage fails.
        batch_size: Number of questions that are answered together.
        category_bar: Smallest P(yes) at which a prompt gets its most probable category. Below it, the prompt is left
            out.
        vllm: Settings of the backend ``vllm``.
        base_url: Address of the server; only for ``openai``.
        model_name: Name of the model at the server; only for ``openai``.
        model_epoch: Raise this number if the model behind `model_name` has changed and you accept the new one: all
            grades are then made again. Only for ``openai``.
        endpoint: ``chat`` sends messages, and the server tokenizes them. ``completions`` sends token ids, with the
            tokenizer of `models.grader`; it costs less and needs the model's tokenizer files. Only for ``openai``.
        top_logprobs: Number of most probable tokens that the server lists for an answer; only for ``openai`` and
            ``vllm``.
        chat_template_kwargs: Arguments of the server's chat template, such as ``{enable_thinking: false}``; only for
            ``openai`` with the endpoint ``chat``. Other backends take the arguments of `models.grader`.
        extra_body: More fields of every request; only for ``openai``.
        max_concurrency: Maximum number of concurrent requests; only for ``openai``.
        timeout_s: Timeout of a request, in seconds; only for ``openai``.
        wait_s: How long to wait for a server that is away, starting or over its rate limit, in seconds; only for
            ``openai``.

    Example:
        >>> load_profile("profiles/tiny.yaml").grader.backend
        'transformers'
    """

    backend: Literal["transformers", "vllm", "openai"]
    prompt_template: _Text
    few_shot: Annotated[int, Field(ge=0)]
    yes: _Spellings
    no: _Spellings
    min_mass: _Share
    max_bound: _Share
    max_unread: _Share
    batch_size: _Count
    category_bar: _Share
    vllm: VllmSettings
    base_url: str | None
    model_name: str | None
    model_epoch: Annotated[int, Field(ge=0)]
    endpoint: Literal["chat", "completions"]
    top_logprobs: _Count
    chat_template_kwargs: _Options
    extra_body: _Options
    max_concurrency: _Count
    timeout_s: _Positive
    wait_s: _NotNegative

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
        on_refusal: What happens to a reply that the grader's content filter refuses to judge: ``worst`` gives it the
            lowest R_rbr of its response type, ``mask`` leaves it out of the loss.
        max_unscored: Largest share of replies without a reward. Above it, the training fails.
        save_steps: Number of steps between two saved states, from which a stopped training goes on.
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
    on_refusal: Literal["worst", "mask"]
    max_unscored: _Share
    save_steps: _Count
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
    prompt_check: PromptCheckSettings
    synthesis: SynthesisSettings
    grader: GraderSettings
    fit: FitSettings
    sft: SftSettings
    rl: RlSettings
    evaluation: EvaluationSettings

    def reply_lengths(self) -> ReplyLengths:
        """Returns the longest reply of each stage that samples replies."""
        return ReplyLengths(
            synthesis=self.synthesis.max_new_tokens,
            rl=self.rl.max_completion_length,
            evaluation=self.evaluation.max_new_tokens,
        )

    @model_validator(mode="after")
    def _check_grader(self) -> "Profile":
        needs_files = self.grader.backend != "openai" or self.grader.endpoint == "completions"
        if self.models.grader is None and needs_files:
            what = "only the backend openai with the endpoint chat works without the files of the grader"
            raise schema_problem(what, "Set the path of the model.", at=("models", "grader"))
        return self


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
    """Checks the settings of a profile document, and reads the prompt template that it names.

    The document still knows the location of each setting.

    Raises:
        InputError: Keys are missing or unknown, values are out of range, or the template cannot be read.

    Example:
        >>> document = read_profile_document("profiles/tiny.yaml")
        >>> parse_profile(document).rl.steps, document.location(("rl", "steps")).file
        (2, 'profiles/tiny.yaml')
    """
    profile = validate(Profile, document, hint_if_missing=_HINT_IF_MISSING)
    try:
        template = read_text(profile.grader.prompt_template)
    except InputError as error:
        where = document.location(("grader", "prompt_template"))
        raise InputError(
            error.what, where=where, hint="Name an existing file, such as profiles/judge_prompt.jinja."
        ) from error
    grader = profile.grader.model_copy(update={"prompt_template": template})
    return profile.model_copy(update={"grader": grader})
