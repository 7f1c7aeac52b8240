"""A grader that runs vLLM in this process, with continuous batching and a prefix cache, for large models."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import answer_tokens, p_yes_from_logprobs
from rbr.grading.prompt import Question, render_prompt

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_TOP_LOGPROBS = 20  # The default limit of vLLM.


class VllmGrader:
    """A grader that generates one token and reads the log probabilities of the most probable tokens.

    The option ``prompt_logprobs`` would need no generation, but it bypasses the prefix cache.

    Args:
        ref: The model; its tokenizer needs a chat template.
        settings: Section `grader` of a profile. This backend reads `yes`, `no`, `min_mass` and `few_shot`; vLLM
            chooses the batch size.

    Raises:
        InputError: vLLM is not installed, or no spelling of yes or no is a single token.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/gpu.yaml")
        >>> grader = VllmGrader(profile.models.grader, profile.grader)  # doctest: +SKIP
        >>> grader.grade(conversations, questions)  # doctest: +SKIP
    """

    def __init__(self, ref: "ModelRef", settings: "GraderSettings") -> None:
        try:
            import vllm
        except ImportError as error:
            raise InputError(
                "vLLM is not installed",
                where="grader.backend",
                hint="Run `pip install 'rbr-dagster[vllm]'`, or set grader.backend to transformers or openai.",
            ) from error
        self._settings = settings
        self._engine: Any = vllm.LLM(model=ref.path, revision=ref.revision, enable_prefix_caching=True, seed=0)
        self._sampling = vllm.SamplingParams(max_tokens=1, temperature=0.0, logprobs=_TOP_LOGPROBS)
        self._tokenizer = self._engine.get_tokenizer()
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """See `rbr.grading.Grader.grade`.

        A grade is NaN if P(yes) + P(no) is below `min_mass`, or if the prompt exceeds the model's context.
        """
        grades = np.full((len(conversations), len(questions)), np.nan)
        # One prompt per (conversation, question), in the order of `grades.flat`.
        prompts = [self._encode(messages, question) for messages in conversations for question in questions]
        limit = self._engine.llm_engine.model_config.max_model_len
        in_context = [index for index, prompt in enumerate(prompts) if len(prompt) < limit]
        outputs = self._engine.generate(
            [{"prompt_token_ids": prompts[index]} for index in in_context], self._sampling, use_tqdm=False
        )
        for index, output in zip(in_context, outputs, strict=True):
            logprobs = {token: entry.logprob for token, entry in output.outputs[0].logprobs[0].items()}
            grades.flat[index] = p_yes_from_logprobs(logprobs, self._yes, self._no, self._settings.min_mass)
        if on_progress:
            on_progress(len(conversations))
        return grades

    def _encode(self, messages: Conversation, question: Question) -> list[int]:
        content = render_prompt(messages, question, self._settings.few_shot)
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return self._tokenizer.encode(text, add_special_tokens=False)
