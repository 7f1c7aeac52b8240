"""Supervised fine-tuning on ideal and helpful replies (paper section 2, stage 7), with TRL."""

from typing import Any

import polars as pl
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rbr.errors import InputError
from rbr.models.pretrained import open_tokenizer
from rbr.training.arguments import model_arguments, shared_arguments
from rbr.training.job import SftJob
from rbr.training.recorder import Recorder


def train_sft(job: SftJob, recorder: Recorder, scratch: str) -> tuple[Any, Any]:
    """Trains on the replies' tokens only.

    Rows over `max_length` are left out: cut at the end, they would teach the policy not to stop.

    Args:
        job: What to train.
        recorder: Told of every step.
        scratch: Directory that may be written to.

    Returns:
        Model and tokenizer.

    Raises:
        InputError: No row is short enough.
    """
    settings = job.settings
    tokenizer = open_tokenizer(job.model)
    trainer = SFTTrainer(
        model=job.model.path,
        processing_class=tokenizer,
        train_dataset=_rows(job, tokenizer, recorder),
        callbacks=[recorder],
        args=SFTConfig(
            **shared_arguments(scratch, settings.seed),
            model_init_kwargs=model_arguments(job.model.revision),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            per_device_train_batch_size=settings.batch_size,
            max_length=settings.max_length,
            completion_only_loss=True,
        ),
    )
    trainer.train()
    return trainer.model, tokenizer


def _rows(job: SftJob, tokenizer: Any, recorder: Recorder) -> Dataset:
    frame = pl.read_parquet(job.data)
    examples = [
        {"prompt": row["prompt"], "completion": [{"role": "assistant", "content": row["completion"]}]}
        for row in frame.iter_rows(named=True)
    ]
    short = [example for example in examples if _length(example, tokenizer) <= job.settings.max_length]
    if not short:
        raise InputError(
            f"none of {len(examples)} rows is within sft.max_length {job.settings.max_length}",
            where=job.data,
            hint="Raise sft.max_length in the profile.",
        )
    if len(short) < len(examples):
        recorder.on_message(
            f"{len(examples) - len(short)} of {len(examples)} rows exceed sft.max_length and are left out"
        )
    return Dataset.from_list(short)


def _length(example: dict[str, Any], tokenizer: Any) -> int:
    text = tokenizer.apply_chat_template([*example["prompt"], *example["completion"]], tokenize=False)
    return len(tokenizer.encode(text, add_special_tokens=False))
