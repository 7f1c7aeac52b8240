"""A grader on vLLM in this process: continuous batching and a prefix cache, for models that need a GPU."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import answer_tokens, grade_of
from rbr.grading.prompt import Question, render_prompt

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_TOP = 20  # vLLM's own limit unless it is raised at start.


class VllmGrader:
    """Samples one token with its likeliest alternatives (``prompt_logprobs`` would skip the prefix cache).

    Args:
        ref: The model.
        settings: `yes`, `no`, `min_mass` and `few_shot`; vLLM batches by itself.

    Raises:
        InputError: vLLM is not installed, or no spelling of yes or of no is one token.
    """

    def __init__(self, ref: "ModelRef", settings: "GraderSettings") -> None:
        try:
            import vllm
        except ImportError as error:
            raise InputError(
                "vLLM is not installed",
                where="profile grader.backend",
                hint="Install the extra with pip install 'rbr-dagster[vllm]', or use transformers or openai.",
            ) from error
        self._settings = settings
        self._engine: Any = vllm.LLM(model=ref.path, revision=ref.revision, enable_prefix_caching=True, seed=0)
        self._sampling = vllm.SamplingParams(max_tokens=1, temperature=0.0, logprobs=_TOP)
        self._tokenizer = self._engine.get_tokenizer()
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """See `rbr.grading.Grader.grade`; NaN where the context or P(yes) + P(no) is too small."""
        grades = np.full((len(conversations), len(questions)), np.nan)
        prompts = [self._encode(messages, question) for messages in conversations for question in questions]
        limit = self._engine.llm_engine.model_config.max_model_len
        fitting = [cell for cell, prompt in enumerate(prompts) if len(prompt) < limit]
        outputs = self._engine.generate(
            [{"prompt_token_ids": prompts[cell]} for cell in fitting], self._sampling, use_tqdm=False
        )
        for cell, output in zip(fitting, outputs, strict=True):
            likeliest = {token: entry.logprob for token, entry in output.outputs[0].logprobs[0].items()}
            grades.flat[cell] = grade_of(likeliest, self._yes, self._no, self._settings.min_mass)
        if on_progress:
            on_progress(len(conversations))
        return grades

    def _encode(self, messages: Conversation, question: Question) -> list[int]:
        content = render_prompt(messages, question, self._settings.few_shot)
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return self._tokenizer.encode(text, add_special_tokens=False)
