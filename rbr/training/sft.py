"""Supervised fine-tuning on ideal and helpful replies (paper section 2, stage 7), with TRL."""

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rbr.errors import InputError
from rbr.models.pretrained import open_tokenizer
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

    Rows of more than `settings.max_length` tokens are left out, because truncated rows would teach the policy not to
    stop.

    Args:
        rows: Columns prompt (messages, a list of structs with role and content) and completion (text).
        model: The policy before training.
        settings: Epochs, learning rate, batch size, maximum length and seed.
        on_step: Called after each step with the number of finished steps.
        on_message: Called about ten times per run with a line of text.

    Raises:
        InputError: The model cannot be opened, or every row is too long.

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
        trainer = SFTTrainer(
            model=model.path,
            processing_class=tokenizer,
            train_dataset=_dataset(rows, tokenizer, settings.max_length, recorder),
            callbacks=[recorder],
            args=SFTConfig(
                **shared_arguments(scratch, settings.seed),
                model_init_kwargs=model_arguments(model.revision),
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                max_length=settings.max_length,
                completion_only_loss=True,
            ),
        )
        trainer.train()
    return TrainedPolicy(trainer.model, tokenizer, recorder.metrics)


def _dataset(rows: pl.DataFrame, tokenizer: Any, max_length: int, recorder: Recorder) -> Dataset:
    examples = [
        {"prompt": row["prompt"], "completion": [{"role": "assistant", "content": row["completion"]}]}
        for row in rows.iter_rows(named=True)
    ]
    short_enough = [example for example in examples if _length(example, tokenizer) <= max_length]
    if not short_enough:
        raise InputError(
            f"all {len(examples)} training rows are longer than {max_length} tokens",
            where="sft.max_length",
            hint="Raise sft.max_length in the profile.",
        )
    if len(short_enough) < len(examples):
        recorder.send(
            f"{len(examples) - len(short_enough)} of {len(examples)} rows exceed sft.max_length and are left out"
        )
    return Dataset.from_list(short_enough)


def _length(example: dict[str, Any], tokenizer: Any) -> int:
    """Returns the number of tokens of prompt and completion."""
    text = tokenizer.apply_chat_template([*example["prompt"], *example["completion"]], tokenize=False)
    return len(tokenizer.encode(text, add_special_tokens=False))
