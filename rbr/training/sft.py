"""Supervised fine-tuning on ideal and helpful replies (paper section 2, stage 7), with TRL."""

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rbr.conversation import Message
from rbr.errors import InputError
from rbr.models.chat_tokens import encode_around, encode_chat
from rbr.models.pretrained import open_tokenizer, opening
from rbr.models.thinking_turn import ThinkingTurn, thinking_turn
from rbr.training.arguments import model_arguments, shared_arguments
from rbr.training.checkpoint import TrainedPolicy
from rbr.training.recorder import Recorder

if TYPE_CHECKING:
    from rbr.profile import ModelRef, SftSettings


def train_sft(
    rows: pl.DataFrame,
    model: "ModelRef",
    settings: "SftSettings",
    *,
    on_step: Callable[[int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> TrainedPolicy:
    """Fine-tunes a policy on the tokens of the replies.

    Two kinds of rows are left out, and a message says how many: rows of more than `settings.max_length` tokens, because
    truncated rows would teach the policy not to stop; and rows whose reply is unfinished, because they would teach it
    to stop in the middle of a sentence.

    If the chat template opens a thought, the policy is trained to end the thought at once: see
    `rbr.models.thinking_turn`.

    Args:
        rows: Columns prompt (messages, a list of structs with role and content) and completion (text). Optional:
            finished (Boolean), whether the model that wrote the reply ended it.
        model: The policy before training.
        settings: Epochs, learning rate, batch size, maximum length and seed.
        on_step: Called after each step with the number of finished steps.
        on_message: Called about ten times per run with a line of text.

    Raises:
        InputError: The model cannot be opened, the chat template refuses a prompt or leaves out replies, or no row is
            left.

    Example:
        >>> from rbr.profile import ModelRef, SftSettings
        >>> rows = pl.DataFrame({"prompt": [[{"role": "user", "content": "Hi."}]], "completion": ["Hello."]})
        >>> policy = ModelRef(path="rbr_sandbox/models/policy", revision=None)
        >>> settings = SftSettings(epochs=1, learning_rate=1e-4, batch_size=1, max_length=64, seed=0)
        >>> trained = train_sft(rows, policy, settings)  # doctest: +ELLIPSIS
        {'loss': ...
        >>> trained.metrics["metric"].to_list()[:3]
        ['entropy', 'grad_norm', 'learning_rate']
    """
    recorder = Recorder(on_step, on_message)
    tokenizer = open_tokenizer(model)
    with tempfile.TemporaryDirectory(prefix="rbr-sft-") as scratch:
        data = _dataset(rows, model, tokenizer, settings.max_length, recorder)
        arguments = SFTConfig(
            **shared_arguments(scratch, settings.seed),
            model_init_kwargs=model_arguments(model.revision),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.batch_size,
            max_length=settings.max_length,
            completion_only_loss=True,
        )
        with opening(model):
            trainer = SFTTrainer(
                model=model.path, processing_class=tokenizer, train_dataset=data, callbacks=[recorder], args=arguments
            )
        trainer.train()
    return TrainedPolicy(trainer.model, tokenizer, recorder.metrics)


def _dataset(rows: pl.DataFrame, model: "ModelRef", tokenizer: Any, max_length: int, recorder: Recorder) -> Dataset:
    """Returns the token ids of the rows, and which tokens are trained. TRL does not encode such rows again."""
    if rows.is_empty():
        raise InputError(
            "there are no training rows",
            where="sft",
            hint="Find out why no ideal reply was found: see the asset page of the training data.",
        )
    finished = rows.filter(pl.col("finished")) if "finished" in rows.columns else rows
    turn = thinking_turn(tokenizer, model.chat_template_kwargs)
    examples = [_example(row, model, tokenizer, turn) for row in finished.iter_rows(named=True)]
    short_enough = [example for example in examples if len(example["input_ids"]) <= max_length]
    unfinished, too_long = rows.height - len(examples), len(examples) - len(short_enough)
    if not short_enough and not unfinished:
        raise InputError(
            f"all {too_long} training rows are longer than {max_length} tokens",
            where="sft.max_length",
            hint="Raise sft.max_length in the profile.",
        )
    if not short_enough:
        raise InputError(
            f"none of {rows.height} training rows is left: the replies of {unfinished} are unfinished, "
            f"and {too_long} are longer than {max_length} tokens",
            where="sft.max_length",
            hint="Raise synthesis.max_new_tokens and sft.max_length in the profile.",
        )
    if unfinished:
        recorder.send(f"{unfinished} of {rows.height} rows have an unfinished reply and are left out")
    if too_long:
        recorder.send(f"{too_long} of {rows.height} rows exceed sft.max_length and are left out")
    return Dataset.from_list(short_enough)


def _example(row: dict[str, Any], model: "ModelRef", tokenizer: Any, turn: ThinkingTurn | None) -> dict[str, list[int]]:
    """Encodes a row; only the tokens of the reply are trained.

    If the template opens a thought, the row is the prompt as it is sampled from, then the end of the thought and the
    reply. Otherwise the policy would learn to write the reply inside the thought.

    In other templates, the reply begins at the first token that the conversation and the prompt do not share. That is
    not always after the prompt: a template can end a prompt with an empty thought, and leave it out of a conversation.
    """
    kwargs = model.chat_template_kwargs
    prompt = encode_chat(tokenizer, row["prompt"], add_generation_prompt=True, chat_template_kwargs=kwargs)
    if turn is not None:
        trained = encode_around(tokenizer, turn.before, row["completion"], turn.after)
        return {"input_ids": prompt + trained, "completion_mask": [0] * len(prompt) + [1] * len(trained)}
    reply = Message(role="assistant", content=row["completion"])
    whole = encode_chat(tokenizer, [*row["prompt"], reply], chat_template_kwargs=kwargs)
    start = next((k for k, pair in enumerate(zip(prompt, whole, strict=False)) if pair[0] != pair[1]), len(prompt))
    return {"input_ids": whole, "completion_mask": [0] * start + [1] * (len(whole) - start)}
