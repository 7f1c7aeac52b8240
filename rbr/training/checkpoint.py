"""Checkpoint directories: weights, tokenizer and training metrics."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

_METRICS_FILE = "metrics.parquet"


@dataclass(frozen=True)
class TrainedPolicy:
    """A trained policy with its training metrics.

    Attributes:
        model: The Hugging Face model.
        tokenizer: The tokenizer of the model.
        metrics: Columns step (from 1), metric and value, sorted by step and metric.
        state_directory: Directory of the states that the training saved; None if it saved none.

    Example:
        >>> import tempfile
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> from transformers import AutoModelForCausalLM
        >>> path = "rbr_sandbox/models/policy"
        >>> tokenizer = open_tokenizer(ModelRef(path=path, revision=None))
        >>> metrics = pl.DataFrame({"step": [1], "metric": ["loss"], "value": [0.5]})
        >>> policy = TrainedPolicy(AutoModelForCausalLM.from_pretrained(path), tokenizer, metrics)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     policy.save(f"{directory}/checkpoint")
        ...     read_training_metrics(f"{directory}/checkpoint").rows()
        [(1, 'loss', 0.5)]
    """

    model: Any
    tokenizer: Any
    metrics: pl.DataFrame
    state_directory: Path | None = None

    def save(self, directory: str | Path) -> None:
        """Writes the checkpoint directory, and replaces an existing one.

        A directory that exists is complete, because the files are written to another directory first. Equal weights
        and metrics give equal bytes. Afterward, the states that the training saved are deleted.
        """
        target = Path(directory)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # `Trainer.save_model` would add a pickle of the arguments, which contains paths and host names.
        self.model.save_pretrained(partial)
        self.tokenizer.save_pretrained(partial)
        self.metrics.write_parquet(partial / _METRICS_FILE)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        if self.state_directory is not None:
            shutil.rmtree(self.state_directory, ignore_errors=True)


def read_training_metrics(directory: str | Path) -> pl.DataFrame:
    """Reads the training metrics of a checkpoint directory.

    Returns:
        Columns step, metric and value, as in `TrainedPolicy.metrics`.

    Example:
        >>> import tempfile
        >>> metrics = pl.DataFrame({"step": [1], "metric": ["loss"], "value": [0.5]})
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     metrics.write_parquet(f"{directory}/metrics.parquet")
        ...     read_training_metrics(directory).columns
        ['step', 'metric', 'value']
    """
    return pl.read_parquet(Path(directory) / _METRICS_FILE)
