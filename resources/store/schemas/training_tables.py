"""The tables about checkpoints and their training."""

import pandera.polars as pa
import polars as pl

from resources.store.schemas.columns import CHECKPOINT, VARIANT, column, count


class Checkpoints(pa.DataFrameModel):
    """Trained checkpoints."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)
    path: str = column(description="directory of the weights, relative to the state directory")
    chat_template_kwargs: str = column(
        nullable=True, description="arguments of the chat template in training and sampling, as JSON; null if none"
    )
    dtype: str = column(isin=("float32", "bfloat16", "float16"), description="type of the weights in sampling")
    fingerprint: str = column(description="fingerprint of the weights, these arguments and the type")
    mlflow_run_id: str = column(nullable=True, description="id of the training run in MLflow")


class CurrentCheckpoints(pa.DataFrameModel):
    """The current checkpoint of each variant."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)


class TrainingMetrics(pa.DataFrameModel):
    """Training curves."""

    variant: str = column(description=f"sft, {VARIANT}")
    checkpoint: str = column(description=CHECKPOINT)
    step: pl.Int32 = count(description="optimizer step")
    metric: str = column(description="name of the metric")
    value: float = column(nullable=True, description="value of the metric; null if it is not finite")
