"""Makes checkpoints. A checkpoint is trained once per set of inputs, and one checkpoint per variant is current.

After an edit is reverted, the old checkpoint becomes current again without training.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import dagster as dg
import polars as pl

from rbr.hashing import content_hash
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef
from rbr.training.checkpoint import read_training_metrics
from resources.artifacts import Artifacts
from resources.pages.asset_plots import curves_plot
from resources.store import Store
from resources.store.snapshot_content import PinnedModel
from resources.tracking import Tracking
from resources.trainer import Trainer
from resources.trainer_process.job import GrpoJob, SftJob

VARIANTS = ("rbr", "helpful", "human")
"""The policies that are trained and compared: the method, and two baselines that use no rules."""

# Metadata keys of asset pages. `rbr plan` reads the last two from earlier runs, so they must not change.
TRAINED = "trained"
TRAINING_SECONDS = "seconds to train"
SAMPLES = "samples"


@dataclass(frozen=True)
class Checkpoint:
    """A trained policy.

    Attributes:
        variant: sft, rbr, helpful or human.
        checkpoint: Hash of everything that the policy was trained from.
        path: Directory of the weights, relative to the state directory.
        chat_template_kwargs: Arguments of the chat template in training, as JSON; None if there are none. The policy is
            sampled with the same arguments.
        dtype: Type in which the policy is sampled, as in `ModelRef`: that of the policy before training.
        fingerprint: Hash of the weights, these arguments and the type.
        mlflow_run_id: MLflow run of the training; None if the training was not logged.
    """

    variant: str
    checkpoint: str
    path: str
    chat_template_kwargs: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    fingerprint: str
    mlflow_run_id: str | None

    @property
    def version(self) -> str:
        """Data version of the checkpoint's asset: a hash of the inputs and the weights."""
        return content_hash([self.checkpoint, self.fingerprint])

    def model(self, artifacts: Artifacts) -> PinnedModel:
        """Returns the model to open, with its fingerprint."""
        path = str(artifacts.absolute(self.path))
        kwargs = json.loads(self.chat_template_kwargs or "{}")
        ref = ModelRef(path=path, revision=None, chat_template_kwargs=kwargs, dtype=self.dtype)
        return PinnedModel(ref, self.fingerprint)


@dataclass(frozen=True)
class TrainingFiles:
    """The files of a training job.

    Attributes:
        data: Parquet file of the training rows.
        reward: Directory for a copy of the reward artifact. The original may be replaced during the training.
        output: Directory of the checkpoint.
        saved_state: Directory of the states of an unfinished training. It is deleted when the checkpoint is written.
    """

    data: str
    reward: str
    output: str
    saved_state: str


@dataclass(frozen=True)
class CheckpointRecipe:
    """Everything that a checkpoint is trained from.

    Attributes:
        variant: sft, rbr, helpful or human.
        start: The policy before training.
        inputs: Everything that the weights depend on, as JSON-like data. Its hash is the name of the checkpoint.
        rows: Training rows, in the format that the trainer reads.
        samples: Amount of work: rollouts of reinforcement learning, or rows times epochs of fine-tuning.
        job: Returns the training job for a set of files.
        params: Parameters to log to MLflow.
    """

    variant: str
    start: ModelRef
    inputs: Mapping[str, object]
    rows: pl.DataFrame
    samples: int
    job: Callable[[TrainingFiles], SftJob | GrpoJob]
    params: Mapping[str, object]

    @property
    def name(self) -> str:
        """Name of the checkpoint: the hash of the inputs."""
        return content_hash(self.inputs)


@dataclass(frozen=True)
class CheckpointMaker:
    """Trains checkpoints, logs the trainings, and stores which checkpoint of each variant is current."""

    store: Store
    artifacts: Artifacts
    trainer: Trainer
    tracking: Tracking

    def make(
        self,
        context: dg.AssetExecutionContext,
        recipe: CheckpointRecipe,
        before_training: Callable[[], Mapping[str, str]] = dict,
    ) -> dg.MaterializeResult:
        """Trains the checkpoint of a recipe unless it exists, and makes it the current one of its variant.

        Args:
            context: Context of the asset.
            recipe: What the checkpoint is trained from.
            before_training: Called before the training starts, and not at all if the checkpoint exists. It returns
                metadata for the page of the asset.

        Returns:
            The result of the asset. Its data version is a hash of the inputs and the weights.

        Raises:
            dg.Failure: The training failed.
        """
        name = recipe.name
        directory = self.artifacts.checkpoint(recipe.variant, name)
        work: dict[str, bool | float | str] = {TRAINED: not directory.is_dir()}
        if work[TRAINED]:
            work |= before_training()
            job_directory = self.artifacts.training(recipe.variant, name)
            job_directory.mkdir(parents=True, exist_ok=True)
            files = TrainingFiles(
                data=str(job_directory / "rows.parquet"),
                reward=str(job_directory / "reward"),
                output=str(directory),
                saved_state=str(self.artifacts.saved_state(recipe.variant, name)),
            )
            recipe.rows.write_parquet(files.data)
            work[TRAINING_SECONDS] = self.trainer.train(context, recipe.job(files))
            work[SAMPLES] = recipe.samples
        kwargs = recipe.start.chat_template_kwargs
        dtype = recipe.start.dtype
        trained = ModelRef(path=str(directory), revision=None, chat_template_kwargs=kwargs, dtype=dtype)
        fingerprint = model_fingerprint(trained)
        metrics = read_training_metrics(directory)
        tags = {
            "rbr.fingerprint": fingerprint,
            # Not context.run, which a test that calls the asset as a function does not have.
            "rbr.dagster_run_id": context.op_execution_context.run_id,
        }
        run_id = self.tracking.log_training(recipe.variant, name, recipe.params, metrics, tags)
        path = self.artifacts.relative(directory)
        kwargs_text = json.dumps(kwargs, sort_keys=True) if kwargs else None
        checkpoint = Checkpoint(recipe.variant, name, path, kwargs_text, dtype, fingerprint, run_id)
        self._save(checkpoint, metrics)
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

    def _save(self, checkpoint: Checkpoint, metrics: pl.DataFrame) -> None:
        texts = {"mlflow_run_id": pl.String, "chat_template_kwargs": pl.String}
        row = pl.DataFrame([asdict(checkpoint)], schema_overrides=texts)
        key = row.select("variant", "checkpoint")
        # Replace, not append: a checkpoint that was deleted and trained again may have other weights.
        within = key.row(0, named=True)
        self.store.replace("training_metrics", key.join(metrics, how="cross"), within=within)
        self.store.replace("checkpoints", row, within=within)
        self.store.replace("current_checkpoints", key, within={"variant": checkpoint.variant})


def read_checkpoint(store: Store, variant: str) -> Checkpoint:
    """Reads the current checkpoint of a variant.

    Raises:
        RuntimeError: The variant has no checkpoint yet.
    """
    current = store.read("current_checkpoints", "variant = ?", [variant])
    if current.is_empty():
        raise RuntimeError(f"{variant} has no checkpoint yet. Materialize its checkpoint first, or run `rbr run`.")
    rows = store.read("checkpoints", "variant = ? AND checkpoint = ?", [variant, current["checkpoint"].item()])
    return Checkpoint(**rows.row(0, named=True))
