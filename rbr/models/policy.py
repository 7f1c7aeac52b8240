"""Sampling replies so that each one depends on its own seed and not on its neighbors in a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LogitsProcessor, LogitsProcessorList

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.models.pretrained import context_length, open_model, open_tokenizer

if TYPE_CHECKING:
    from rbr.profile import ModelRef


@dataclass(frozen=True)
class Completion:
    """A sampled reply.

    Attributes:
        text: The reply without special tokens and surrounding white space.
        n_tokens: Tokens sampled, the end token included.
        finished: Whether the model ended the reply itself; False where `max_new_tokens` cut it.
    """

    text: str
    n_tokens: int
    finished: bool


class Policy:
    """A causal language model that replies to conversations.

    Args:
        ref: The model; its tokenizer needs a chat template.
        batch_size: Rows generated together. It moves the speed, not the replies.

    Raises:
        InputError: The model cannot be opened or has no chat template.
    """

    def __init__(self, ref: "ModelRef", batch_size: int) -> None:
        self._where = ref.path
        self._batch_size = batch_size
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForCausalLM, ref)
        self._end = _end_tokens(self._model, self._tokenizer)
        # `generate` fills what a call leaves open from here, and a Hub model may bring penalties and top_k.
        self._model.generation_config = GenerationConfig()

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

        Each row draws its tokens by inverse CDF from its own random stream, one uniform a token, so it
        is the same alone and in any batch (up to floating point: a uniform within rounding error of the
        border between two tokens may fall on either side).

        Args:
            conversations: Prompts, each ending in a user turn.
            seeds: One for each conversation, in [0, 2**128).
            temperature: At least 0; 0 takes the likeliest token.
            top_p: In (0, 1]; tokens outside the smallest set with this probability are not drawn.
            max_new_tokens: At most this many tokens a reply.
            on_progress: Called after each batch with the number of replies sampled so far.

        Returns:
            Replies in the order of `conversations`.

        Raises:
            InputError: A prompt leaves no room for `max_new_tokens` in the model's context.
        """
        prompts = [self._encode(conversation) for conversation in conversations]
        self._check_room(prompts, max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
        replies: dict[int, Completion] = {}
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            draw = (
                [_InverseCdf([seeds[row] for row in rows], temperature, top_p, max_new_tokens)] if temperature else []
            )
            batch = self._generate([prompts[row] for row in rows], LogitsProcessorList(draw), max_new_tokens)
            replies.update(zip(rows, batch, strict=True))
            if on_progress:
                on_progress(len(replies))
        return [replies[row] for row in range(len(prompts))]

    def _encode(self, conversation: Conversation) -> list[int]:
        text = self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _check_room(self, prompts: list[list[int]], max_new_tokens: int) -> None:
        longest = max(map(len, prompts), default=0)
        if longest + max_new_tokens > (limit := context_length(self._model)):
            raise InputError(
                f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the context of {limit}",
                where=self._where,
                hint="Shorten the prompt, or lower max_new_tokens.",
            )

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], draw: LogitsProcessorList, max_new_tokens: int) -> list[Completion]:
        width = max(map(len, prompts))
        ids = [[self._tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        out = self._model.generate(
            input_ids=torch.tensor(ids, device=self._model.device),
            attention_mask=torch.tensor(mask, device=self._model.device),
            logits_processor=draw,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=self._end,
                pad_token_id=self._tokenizer.pad_token_id,
            ),
        )
        return [self._completion(row) for row in out[:, width:].tolist()]

    def _completion(self, tokens: list[int]) -> Completion:
        end = next((place for place, token in enumerate(tokens) if token in self._end), None)
        kept = tokens if end is None else tokens[: end + 1]
        text = self._tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Completion(text, len(kept), finished=end is not None)


class _InverseCdf(LogitsProcessor):
    """Leaves one token possible in each row: the one at which the row's uniform falls in its CDF."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float, max_new_tokens: int) -> None:
        draws = [np.random.Generator(np.random.Philox(seed)).random(max_new_tokens) for seed in seeds]
        self._uniforms = torch.from_numpy(np.stack(draws))
        self._temperature = temperature
        self._top_p = top_p
        self._step = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        probabilities = torch.softmax(scores.double() / self._temperature, dim=-1)
        if self._top_p < 1.0:
            probabilities = _nucleus(probabilities, self._top_p)
        cdf = probabilities.cumsum(dim=-1)
        total = cdf[:, -1:].contiguous()
        place = self._uniforms[:, self._step, None].to(scores.device) * total
        # The last token with any mass, for a product that rounds up to the total.
        last = torch.searchsorted(cdf, total)
        token = torch.minimum(torch.searchsorted(cdf, place, right=True), last)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    descending, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = descending.cumsum(dim=-1) - descending
    return probabilities.scatter(1, order, descending.masked_fill(before >= top_p, 0.0))


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})
