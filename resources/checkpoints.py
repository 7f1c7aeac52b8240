"""Checkpoints: trained once per set of inputs, found again after a reverted edit, one per variant in use."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import dagster as dg
import polars as pl

from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef
from rbr.training.job import GrpoJob, SftJob
from resources.artifacts import Artifacts
from resources.pages.plots import curves_plot
from resources.store import Store
from resources.tracking import Tracking
from resources.trainer import Trainer

TRAINED = "trained"
TRAINING_SECONDS = "seconds to train"
SAMPLES = "samples"


@dataclass(frozen=True)
class Checkpoint:
    """A trained policy.

    Attributes:
        variant: sft, rbr, helpful or human.
        checkpoint: Hash of everything it was trained from.
        path: Directory of the weights, relative to the state directory.
        fingerprint: Of the weights.
        mlflow_run_id: Its training run; None where none was logged.
    """

    variant: str
    checkpoint: str
    path: str
    fingerprint: str
    mlflow_run_id: str | None

    @property
    def version(self) -> str:
        """Its data version: covers the inputs and the weights."""
        return content_hash([self.checkpoint, self.fingerprint])


@dataclass(frozen=True)
class Files:
    """Where a training job reads and writes.

    Attributes:
        data: Parquet file of the training rows.
        reward: Directory for the reward that is trained on: a copy, since a newer one may replace the original.
        output: Directory of the checkpoint.
    """

    data: str
    reward: str
    output: str


@dataclass(frozen=True)
class CheckpointRecipe:
    """What a checkpoint is made from.

    Attributes:
        variant: sft, rbr, helpful or human.
        inputs: Everything the weights depend on, JSON-able; its hash names the checkpoint.
        rows: Training rows, as the trainer reads them.
        samples: What the trainer works through: rollouts of RL, rows times epochs of fine-tuning.
        job: The training job, given its files.
        params: Shown in MLflow.
        tags: Shown in MLflow.
    """

    variant: str
    inputs: Mapping[str, object]
    rows: pl.DataFrame
    samples: int
    job: Callable[[Files], SftJob | GrpoJob]
    params: Mapping[str, object]
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """Hash of the inputs: the checkpoint's name."""
        return content_hash(self.inputs)


@dataclass(frozen=True)
class Checkpoints:
    """Makes checkpoints."""

    store: Store
    artifacts: Artifacts
    trainer: Trainer
    tracking: Tracking

    def make(self, context: dg.AssetExecutionContext, recipe: CheckpointRecipe) -> dg.MaterializeResult:
        """Trains, or finds, the checkpoint of a recipe and makes it the current one of its variant.

        Returns:
            A result whose data version covers the inputs and the weights.
        """
        name = recipe.name
        directory = self.artifacts.checkpoint(recipe.variant, name)
        work: dict[str, bool | float] = {TRAINED: not directory.is_dir()}
        if work[TRAINED]:
            given = self.artifacts.training(recipe.variant, name)
            given.mkdir(parents=True, exist_ok=True)
            files = Files(str(given / "rows.parquet"), str(given / "reward"), str(directory))
            recipe.rows.write_parquet(files.data)
            work[TRAINING_SECONDS] = self.trainer.train(context, recipe.job(files)).seconds
            work[SAMPLES] = recipe.samples
        fingerprint = model_fingerprint(ModelRef(path=str(directory), revision=None))
        metrics = pl.read_parquet(directory / "metrics.parquet")
        tags = {
            "rbr.fingerprint": fingerprint,
            # Not context.run, which an asset that is called as a function does not have.
            "rbr.dagster_run_id": context.op_execution_context.run_id,
            **recipe.tags,
        }
        run_id = self.tracking.log_training(recipe.variant, name, recipe.params, metrics, tags)
        checkpoint = Checkpoint(recipe.variant, name, self.artifacts.relative(directory), fingerprint, run_id)
        self._keep(checkpoint, metrics)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(checkpoint.version),
            metadata={
                "checkpoint": dg.MetadataValue.path(str(directory)),
                "fingerprint": fingerprint,
                "training rows": recipe.rows.height,
                "mlflow run": run_id,
                "curves": curves_plot(metrics),
                **work,
            },
        )

    def _keep(self, checkpoint: Checkpoint, metrics: pl.DataFrame) -> None:
        row = pl.DataFrame([asdict(checkpoint)], schema_overrides={"mlflow_run_id": pl.String})
        owner = row.select("variant", "checkpoint")
        # Replaced, not appended: a checkpoint that was deleted and trained again may have other weights.
        own = owner.row(0, named=True)
        self.store.replace("training_metrics", owner.join(metrics, how="cross"), within=own)
        self.store.replace("checkpoints", row, within=own)
        self.store.replace("current_checkpoints", owner, within={"variant": checkpoint.variant})


def read_checkpoint(store: Store, variant: str) -> Checkpoint:
    """The current checkpoint of a variant.

    Raises:
        RuntimeError: None was ever made.
    """
    current = store.read("current_checkpoints", "variant = ?", [variant])
    if current.is_empty():
        raise RuntimeError(f"There is no checkpoint of {variant}. Materialize it first, or run `rbr run`.")
    found = store.read("checkpoints", "variant = ? AND checkpoint = ?", [variant, current["checkpoint"].item()])
    return Checkpoint(**found.row(0, named=True))
