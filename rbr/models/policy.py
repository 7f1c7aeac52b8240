"""Samples replies from a policy. A reply depends on its own seed, and not on the other replies of its batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, GenerationConfig, LogitsProcessor, LogitsProcessorList

from rbr.conversation import Conversation
from rbr.errors import InputError, printable
from rbr.models.chat_tokens import encode_chat
from rbr.models.length_batches import exact_batch_size, length_batches
from rbr.models.pretrained import context_length, open_model, open_tokenizer
from rbr.models.reply_text import ReplyReader

if TYPE_CHECKING:
    from rbr.profile import ModelRef


@dataclass(frozen=True)
class Completion:
    """A sampled reply.

    Attributes:
        text: The reply, without thoughts, special tokens and surrounding white space; see `rbr.thoughts`.
        n_tokens: Number of sampled tokens, including thoughts and the end token.
        finished: Whether the model ended the reply; False if `max_new_tokens` cut it off.
        thought: Text of the thoughts; None if there was none.
        unclosed_thought: Whether the last thought did not end. A model that is cut in its first thought has no reply.
        unopened_thought: Whether the reply contains a closing mark that ends no thought.
        special_tokens: Number of special tokens between words of the reply.

    Example:
        >>> Completion("I'm sorry.", n_tokens=4, finished=True).text
        "I'm sorry."
    """

    text: str
    n_tokens: int
    finished: bool
    thought: str | None = None
    unclosed_thought: bool = False
    unopened_thought: bool = False
    special_tokens: int = 0


class Policy:
    """A causal language model that replies to conversations.

    Args:
        ref: The model; its tokenizer needs a chat template.
        batch_size: Number of replies that are generated together; affects the speed, not the replies.

    Raises:
        InputError: The model cannot be opened, or `open_tokenizer` refuses its chat template.

    Example:
        >>> from rbr.profile import ModelRef
        >>> policy = Policy(ModelRef(path="rbr_sandbox/models/policy", revision=None), batch_size=2)
        >>> prompt = [{"role": "user", "content": "How do I boil an egg?"}]
        >>> first, again = policy.sample([prompt, prompt], [7, 7], temperature=1.0, top_p=1.0, max_new_tokens=8)
        >>> first == again
        True
    """

    def __init__(self, ref: "ModelRef", batch_size: int) -> None:
        self._path = ref.path
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForCausalLM, ref)
        self._chat_template_kwargs = ref.chat_template_kwargs
        self._replies = ReplyReader(self._tokenizer, ref.chat_template_kwargs)
        self._end_tokens = _end_tokens(self._model, self._tokenizer, ref.path)
        # If a call omits a setting, `generate` takes it from this object, where a Hub model may set penalties or top_k.
        self._model.generation_config = GenerationConfig()
        self._limit = context_length(self._model, self._tokenizer)
        self._batch_size = exact_batch_size(batch_size, self._model, self._tokenizer, self._first_logits)

    def sample(
        self,
        conversations: Sequence[Conversation],
        seeds: Sequence[int],
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Samples one reply to each conversation.

        Each reply has its own random stream with one uniform number per token. The inverse CDF turns the number into a
        token. A reply is therefore the same alone and in any batch, with one exception: if a number is within rounding
        error of the border between two tokens, either token may be sampled.

        Args:
            conversations: Prompts, each ending in a user turn.
            seeds: Seed of each conversation, in [0, 2**128).
            temperature: Sampling temperature, at least 0; at 0, the reply consists of the most probable tokens.
            top_p: Probability of the nucleus, in (0, 1]. Only tokens of the nucleus are sampled: the smallest set of
                most probable tokens with at least this probability.
            max_new_tokens: Largest number of tokens in a reply.
            on_progress: Called after each batch with the number of replies sampled so far.

        Returns:
            One reply per conversation, in the order of `conversations`.

        Raises:
            InputError: The longest prompt and `max_new_tokens` together exceed the model's context, or the chat
                template refuses a prompt. `rbr.models.prompt_check` finds such prompts before a model works. Or the
                model computes logits that are not finite, as in a type that is too small for its weights.
        """
        prompts = [self._encode(conversation) for conversation in conversations]
        self._check_context(prompts, max_new_tokens)
        lengths = [len(prompt) for prompt in prompts]
        replies: dict[int, Completion] = {}
        for rows in length_batches(self._model.config, lengths, self._batch_size, max_new_tokens):
            processors = LogitsProcessorList([_FiniteLogits(self._path, self._model.dtype)])
            if temperature:
                processors.append(_InverseCdf([seeds[row] for row in rows], temperature, top_p, max_new_tokens))
            batch = self._generate([prompts[row] for row in rows], processors, max_new_tokens)
            replies.update(zip(rows, batch, strict=True))
            if on_progress:
                on_progress(len(replies))
        return [replies[row] for row in range(len(prompts))]

    def _encode(self, conversation: Conversation) -> list[int]:
        kwargs = self._chat_template_kwargs
        return encode_chat(self._tokenizer, conversation, add_generation_prompt=True, chat_template_kwargs=kwargs)

    def _check_context(self, prompts: list[list[int]], max_new_tokens: int) -> None:
        longest = max(map(len, prompts), default=0)
        if longest + max_new_tokens > self._limit:
            raise InputError(
                f"a prompt of {longest} tokens and {max_new_tokens} new tokens exceed the context of "
                f"{self._limit} tokens",
                where=self._path,
                hint="Shorten or remove the longest prompt, or lower max_new_tokens in the profile.",
            )

    @torch.inference_mode()
    def _generate(
        self, prompts: list[list[int]], processors: LogitsProcessorList, max_new_tokens: int
    ) -> list[Completion]:
        settings = GenerationConfig(
            do_sample=False,  # if the temperature is above 0, the processor samples
            max_new_tokens=max_new_tokens,
            eos_token_id=self._end_tokens,
        )
        out = self._run(prompts, settings, processors)
        return [self._completion(row) for row in out[:, max(map(len, prompts)) :].tolist()]

    @torch.inference_mode()
    def _first_logits(self, prompts: list[list[int]]) -> NDArray[np.float64]:
        """Returns the logits of the first two tokens after each prompt, float64[prompts, 2, vocabulary]."""
        settings = GenerationConfig(do_sample=False, max_new_tokens=2, output_logits=True, return_dict_in_generate=True)
        return torch.stack(self._run(prompts, settings).logits, dim=1).double().cpu().numpy()

    def _run(
        self, prompts: list[list[int]], settings: GenerationConfig, processors: LogitsProcessorList | None = None
    ) -> Any:
        # Pad the prompts on the left, so that the reply begins in the same column in every row.
        width = max(map(len, prompts))
        ids = [[self._tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        settings.pad_token_id = self._tokenizer.pad_token_id
        return self._model.generate(
            input_ids=torch.tensor(ids, device=self._model.device),
            attention_mask=torch.tensor(mask, device=self._model.device),
            logits_processor=processors,
            generation_config=settings,
        )

    def _completion(self, tokens: list[int]) -> Completion:
        end = next((index for index, token in enumerate(tokens) if token in self._end_tokens), None)
        reply = self._replies.read(tokens[:end])
        return Completion(
            reply.text,
            n_tokens=len(tokens) if end is None else end + 1,
            finished=end is not None,
            thought=reply.thought,
            unclosed_thought=reply.unclosed,
            unopened_thought=reply.unopened,
            special_tokens=reply.special_tokens,
        )


class _FiniteLogits(LogitsProcessor):
    """Refuses logits from which no token can be chosen. A token may be impossible, with a logit of minus infinity."""

    def __init__(self, path: str, dtype: torch.dtype) -> None:
        self._path = path
        self._dtype = str(dtype).removeprefix("torch.")

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not bool(torch.isfinite(scores.amax(dim=-1)).all()):  # The largest of NaN and anything is NaN.
            raise InputError(
                f"the model computes logits that are not finite in {self._dtype}, so no token can be sampled",
                where=self._path,
                hint="Set the dtype of the model to float32 or bfloat16. If it has this type, its weights are broken.",
            )
        return scores


class _InverseCdf(LogitsProcessor):
    """Samples a token for each row by inverse CDF and makes every other token impossible.

    A row's token is the first one at which the cumulative probability exceeds the row's uniform number.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float, max_new_tokens: int) -> None:
        streams = [np.random.Generator(np.random.Philox(seed)).random(max_new_tokens) for seed in seeds]
        self._uniforms = torch.from_numpy(np.stack(streams))  # [rows, max_new_tokens], in [0, 1)
        self._temperature = temperature
        self._top_p = top_p
        self._step = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # 1. Probabilities of the next token, float64[rows, vocabulary], and their running sum.
        probabilities = torch.softmax(scores.double() / self._temperature, dim=-1)
        if self._top_p < 1.0:
            probabilities = _nucleus(probabilities, self._top_p)
        cdf = probabilities.cumsum(dim=-1)
        # 2. Scale each row's uniform number to the row's total, which is below 1 if only the nucleus is left.
        total = cdf[:, -1:].contiguous()  # [rows, 1]
        target = self._uniforms[:, self._step, None].to(scores.device) * total  # [rows, 1]
        # 3. Find the token. If rounding makes the target equal to the total, take the last token with any probability.
        last = torch.searchsorted(cdf, total)
        token = torch.minimum(torch.searchsorted(cdf, target, right=True), last)  # [rows, 1]
        self._step += 1
        # 4. Give the token the logit 0 and every other token minus infinity.
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Sets the probabilities outside the nucleus to 0; argument and result are [rows, vocabulary].

    The nucleus is the smallest set of most probable tokens whose probabilities sum to at least `top_p`.
    """
    descending, order = probabilities.sort(dim=-1, descending=True, stable=True)
    sum_before = descending.cumsum(dim=-1) - descending
    return probabilities.scatter(1, order, descending.masked_fill(sum_before >= top_p, 0.0))


def _end_tokens(model: Any, tokenizer: Any, path: str) -> list[int]:
    """Returns the ids of the tokens that end a reply, from the model's generation settings and from the tokenizer."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    for token in listed:
        if token is not None and (not isinstance(token, int) or isinstance(token, bool) or token < 0):
            raise InputError(
                f"eos_token_id has {printable(repr(token))}, which is not the id of a token",
                where=str(Path(path) / "generation_config.json"),
                hint="Write the id of the end token, or a list of ids.",
            )
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})
