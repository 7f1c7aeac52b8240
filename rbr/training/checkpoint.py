"""Writing a checkpoint: weights, tokenizer and training metrics, complete or not at all."""

import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl

METRICS = "metrics.parquet"


def save(model: Any, tokenizer: Any, metrics: pl.DataFrame, output: str) -> None:
    """Writes a checkpoint directory that equal weights and metrics give the same bytes.

    Args:
        model: A Hugging Face model; saved as safetensors, in fp32 if it was trained so.
        tokenizer: Its tokenizer.
        metrics: Columns step, metric, value.
        output: The directory. What is there is replaced.
    """
    target = Path(output)
    fresh = target.with_name(f"{target.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # Not `Trainer.save_model`: it adds a pickle of the arguments, with paths and host names in it.
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    metrics.write_parquet(fresh / METRICS)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)
