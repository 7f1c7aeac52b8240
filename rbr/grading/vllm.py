"""A grader that runs vLLM in this process, with continuous batching and a prefix cache, for large models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import OnProgress
from rbr.grading.answers import Answer, Answers, Reading, answer_tokens
from rbr.grading.distinct import distinct_conversations, put, too_long
from rbr.grading.in_process.prompt_tokens import PromptTokens
from rbr.grading.prompt import Question

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

_PROMPTS_PER_CALL = 2048
"""Number of prompts after which the progress is reported; vLLM chooses how many of them run together."""


class VllmGrader:
    """A grader that generates one token and reads the log probabilities of the most probable tokens.

    The option ``prompt_logprobs`` would need no generation, but it bypasses the prefix cache.

    Args:
        ref: The model; its tokenizer needs a chat template.
        settings: Section `grader` of a profile. This backend reads `prompt_template`, `few_shot`, `yes`, `no`,
            `min_mass`, `max_bound`, `top_logprobs` and `vllm`. vLLM chooses the batch size.

    Raises:
        InputError: vLLM is not installed, the chat template changes the text of a message, or no spelling of yes or no
            is a single token.

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
        self._reading = Reading(settings.min_mass, settings.max_bound)
        self._engine: Any = vllm.LLM(**engine_options(ref, settings))
        self._sampling = vllm.SamplingParams(max_tokens=1, temperature=0.0, logprobs=settings.top_logprobs)
        self._tokenizer = self._engine.get_tokenizer()
        # A prompt needs room for the token of the answer.
        self._limit = self._engine.llm_engine.model_config.max_model_len - 1
        self._tokens = PromptTokens(self._tokenizer, ref, settings)
        self._yes = answer_tokens(self._tokenizer, settings.yes, ref.path)
        self._no = answer_tokens(self._tokenizer, settings.no, ref.path)

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        """See `rbr.grading.Grader.grade`.

        Equal conversations are graded once. An answer is unreadable if P(yes) + P(no) is below `min_mass`, if tokens
        that vLLM does not list could change it by more than `max_bound`, or if the prompt exceeds the model's context.
        """
        answers = Answers.none(len(conversations), len(questions))
        distinct = distinct_conversations(conversations)
        size = max(1, _PROMPTS_PER_CALL // max(1, len(questions)))
        done = 0
        for start in range(0, len(distinct) if questions else 0, size):
            group = distinct[start : start + size]
            # 1. Encode the prompts of a group of conversations. Those that vLLM cannot read are answered without it.
            prompts: list[list[int]] = []
            cells: list[tuple[list[int], int]] = []  # rows and column of each prompt
            for rows, shared in zip(
                group, self._tokens.encode([conversations[rows[0]] for rows in group], questions), strict=True
            ):
                for column, tail in enumerate(shared.tails):
                    prompt = [*shared.prefix, *tail]
                    if len(prompt) > self._limit:
                        put(answers, rows, column, too_long(len(prompt), self._limit))
                    else:
                        prompts.append(prompt)
                        cells.append((rows, column))
            # 2. Ask vLLM for one token after each of the others.
            outputs = self._engine.generate(
                [{"prompt_token_ids": prompt} for prompt in prompts], self._sampling, use_tqdm=False
            )
            for (rows, column), output in zip(cells, outputs, strict=True):
                listed = {token: entry.logprob for token, entry in output.outputs[0].logprobs[0].items()}
                put(answers, rows, column, read_answer(self._reading, listed, self._yes, self._no, self._tokenizer))
            done += sum(map(len, group))
            if on_progress:
                on_progress(done, "")
        return answers


def engine_options(ref: "ModelRef", settings: "GraderSettings") -> dict[str, Any]:
    """Returns the options of vLLM's engine.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> options = engine_options(profile.models.grader, profile.grader)
        >>> options["max_logprobs"], options["gpu_memory_utilization"], options["max_model_len"]
        (20, 0.9, None)
    """
    return {
        "model": ref.path,
        "revision": ref.revision,
        "dtype": settings.vllm.dtype,
        "max_model_len": settings.vllm.max_model_len,
        "gpu_memory_utilization": settings.vllm.gpu_memory_utilization,
        "tensor_parallel_size": settings.vllm.tensor_parallel_size,
        "max_logprobs": settings.top_logprobs,
        "enable_prefix_caching": True,
        "seed": 0,
    }


def read_answer(
    reading: Reading, listed: dict[int, float], yes: Sequence[int], no: Sequence[int], tokenizer: Any
) -> Answer:
    """Reads an answer from the log probabilities of the most probable tokens; a reason shows them as text.

    Args:
        reading: The rules of reading.
        listed: Natural log of the probability, by token id.
        yes: Ids that mean yes.
        no: Ids that mean no.
        tokenizer: Tokenizer of the model.

    Example:
        >>> from math import log
        >>> from transformers import AutoTokenizer
        >>> tokenizer = AutoTokenizer.from_pretrained("rbr_sandbox/models/grader")
        >>> [yes], [no], [other] = (tokenizer.encode(text) for text in ("yes", "no", "A"))
        >>> listed = {other: log(0.8), yes: log(0.1), no: log(0.05)}
        >>> read_answer(Reading(min_mass=0.5, max_bound=0.01), listed, [yes], [no], tokenizer).reason
        "P(yes) + P(no) is 0.150, below min_mass; likeliest tokens: 'A' 0.800, 'yes' 0.100, 'no' 0.050"
    """

    class Token(int):
        """An id that is shown as text."""

        def __repr__(self) -> str:
            return repr(tokenizer.decode([int(self)]))

    shown: dict[int, float] = {Token(token): value for token, value in listed.items()}
    return reading.from_top_logprobs(shown, yes, no)
