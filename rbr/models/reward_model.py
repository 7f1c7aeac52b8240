"""R_rm: the score that a reward model gives to a reply (paper section 1). Its coefficient in R_tot is 1."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from rbr.conversation import Conversation, Message
from rbr.errors import InputError
from rbr.models.chat_tokens import encode_chat, read_chat
from rbr.models.copied_text import changed_texts
from rbr.models.length_batches import exact_batch_size, length_batches
from rbr.models.pretrained import context_length, open_model, open_tokenizer

if TYPE_CHECKING:
    from rbr.profile import ModelRef


class RewardModel:
    """A sequence classifier with one output, which scores a prompt and its reply in the model's chat template.

    Args:
        ref: The model; its tokenizer needs a chat template.
        batch_size: Number of replies that are scored together; affects the speed, not the scores.

    Raises:
        InputError: The model cannot be opened, has no chat template, or does not have exactly one output; or the chat
            template changes the text of a reply.

    Example:
        >>> from rbr.profile import ModelRef
        >>> path = "rbr_sandbox/models/helpful_reward_model"
        >>> reward_model = RewardModel(ModelRef(path=path, revision=None), batch_size=2)
        >>> prompt = [{"role": "user", "content": "How do I boil an egg?"}]
        >>> reward_model.score([prompt, prompt], ["Boil it for ten minutes.", "I'm sorry, I can't."]).shape
        (2,)
    """

    def __init__(self, ref: "ModelRef", batch_size: int) -> None:
        self._tokenizer: Any = open_tokenizer(ref)
        self._model: Any = open_model(AutoModelForSequenceClassification, ref)
        outputs = self._model.config.num_labels
        if outputs != 1:
            raise InputError(
                f"the reward model has {outputs} outputs instead of 1",
                where=ref.path,
                hint="Use a model with num_labels = 1.",
            )
        self._chat_template_kwargs = ref.chat_template_kwargs
        self._check_template(ref)
        self._limit = context_length(self._model, self._tokenizer)
        self._batch_size = exact_batch_size(batch_size, self._model, self._tokenizer, self._forward)

    def score(
        self,
        conversations: Sequence[Conversation],
        replies: Sequence[str],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """Scores one reply to each conversation.

        Args:
            conversations: Prompts, each ending in a user turn.
            replies: One reply per prompt.
            on_progress: Called after each batch with the number of replies scored so far.

        Returns:
            float64[N], unbounded, in the order of `conversations`: the head's value at the last token. NaN if prompt
            and reply exceed the model's context, because the score of a truncated reply is not the score of the reply;
            or if the value is not finite.

        Raises:
            InputError: The chat template refuses a prompt.
        """
        pairs = zip(conversations, replies, strict=True)
        rows = [self._encode([*messages, {"role": "assistant", "content": reply}]) for messages, reply in pairs]
        scores = np.full(len(rows), np.nan)
        fitting = [row for row in range(len(rows)) if len(rows[row]) <= self._limit]
        lengths = [len(rows[row]) for row in fitting]
        done = len(rows) - len(fitting)
        for numbers in length_batches(self._model.config, lengths, self._batch_size):
            batch = [fitting[number] for number in numbers]
            scores[batch] = self._forward([rows[row] for row in batch])
            done += len(batch)
            if on_progress:
                on_progress(done)
        return scores

    def _encode(self, messages: Conversation) -> list[int]:
        return encode_chat(self._tokenizer, messages, chat_template_kwargs=self._chat_template_kwargs)

    def _check_template(self, ref: "ModelRef") -> None:
        """Checks that the model reads a reply as it is, apart from white space at its ends."""
        prompt = Message(role="user", content="Hi")

        def copies(text: str) -> bool:
            turns = [prompt, Message(role="assistant", content=text)]
            contents, rendered = read_chat(self._tokenizer, turns, False, self._chat_template_kwargs)
            return contents[-1].strip() in rendered

        if changed := changed_texts(copies):
            raise InputError(
                f"the chat template changes the text of a reply: {', '.join(changed)}",
                where=ref.path,
                hint="Use a model whose chat template copies the reply unchanged.",
            )

    @torch.inference_mode()
    def _forward(self, rows: list[list[int]]) -> NDArray[np.float64]:
        width = max(map(len, rows))
        # The classifier reads the last token that is not the padding token. If the template ends in that token, pad
        # with another one: the mask hides the padding, and no row may end in it.
        padding = _padding(rows, self._tokenizer.pad_token_id)
        self._model.config.get_text_config().pad_token_id = padding
        ids = [row + [padding] * (width - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        device = self._model.device
        logits = self._model(
            input_ids=torch.tensor(ids, device=device), attention_mask=torch.tensor(mask, device=device)
        ).logits
        scores = logits[:, 0].double().cpu().numpy()
        return np.where(np.isfinite(scores), scores, np.nan)


def _padding(rows: Sequence[list[int]], preferred: int | None) -> int:
    """Returns a token that no row ends in: the preferred one, or the first of the vocabulary."""
    last = {row[-1] for row in rows}
    candidates = (preferred, *range(len(last) + 1))
    return next(token for token in candidates if token is not None and token not in last)
