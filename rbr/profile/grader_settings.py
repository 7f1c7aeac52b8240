"""The settings of the grader."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from rbr.files.schema_errors import schema_problem
from rbr.profile.section import Count, NotNegative, Options, Positive, Section, Share, Spellings, Text


class VllmSettings(Section):
    """Settings of the in-process backend ``vllm``; the vLLM documentation explains them.

    Attributes:
        dtype: Type of the weights and activations: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        max_model_len: Largest number of tokens of a prompt; None for the model's own limit.
        gpu_memory_utilization: Share of the GPU's memory that vLLM reserves, in (0, 1].
        tensor_parallel_size: Number of GPUs that share the model.

    Example:
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/tiny.yaml").grader.vllm.dtype
        'auto'
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    max_model_len: Count | None
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)]
    tensor_parallel_size: Count


class GraderSettings(Section):
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
        >>> from rbr.profile import load_profile
        >>> load_profile("profiles/tiny.yaml").grader.backend
        'transformers'
    """

    backend: Literal["transformers", "vllm", "openai"]
    prompt_template: Text
    few_shot: Annotated[int, Field(ge=0)]
    yes: Spellings
    no: Spellings
    min_mass: Share
    max_bound: Share
    max_unread: Share
    batch_size: Count
    category_bar: Share
    vllm: VllmSettings
    base_url: str | None
    model_name: str | None
    model_epoch: Annotated[int, Field(ge=0)]
    endpoint: Literal["chat", "completions"]
    top_logprobs: Count
    chat_template_kwargs: Options
    extra_body: Options
    max_concurrency: Count
    timeout_s: Positive
    wait_s: NotNegative

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
