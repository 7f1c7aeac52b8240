"""Logs trainings and their evaluations to MLflow."""

import fcntl
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100


class Tracking(dg.ConfigurableResource):
    """Logs one MLflow run per checkpoint, to a SQLite file in the state directory.

    Attributes:
        home: The state directory. MLflow writes ``mlflow.db`` and ``mlartifacts/`` in it.
        experiment: Name of the MLflow experiment.
    """

    home: str
    experiment: str = "rbr"

    @property
    def uri(self) -> str:
        """Tracking URI, for ``mlflow ui --backend-store-uri``."""
        return f"sqlite:///{(Path(self.home) / 'mlflow.db').absolute()}"

    @property
    def artifacts_uri(self) -> str:
        """URI of the directory of artifacts, for ``mlflow server --default-artifact-root``."""
        return (Path(self.home) / "mlartifacts").absolute().as_uri()

    def log_training(
        self,
        variant: str,
        checkpoint: str,
        params: Mapping[str, object],
        metrics: pl.DataFrame,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Logs the training of a checkpoint, unless MLflow already has a finished run of this training.

        Args:
            variant: ``sft``, ``rbr``, ``helpful`` or ``human``; part of the name of the MLflow run.
            checkpoint: Hash of everything the checkpoint was trained from.
            params: Settings by name.
            metrics: Columns ``step``, ``metric``, ``value``; values that are not finite are left out.
            tags: Additional tags of the MLflow run.

        Returns:
            Id of the new or existing MLflow run.
        """
        client, experiment = self._open()
        identity = {"rbr.variant": variant, "rbr.checkpoint": checkpoint}
        filters = " and ".join(f"tags.`{name}` = '{value}'" for name, value in identity.items())
        for earlier in client.search_runs([experiment], filters):
            if earlier.info.status == "FINISHED":
                return earlier.info.run_id
            # The process that logged this run was killed, so the run is incomplete.
            client.set_terminated(earlier.info.run_id, "KILLED")
        run_id = client.create_run(
            experiment, run_name=f"{variant}-{checkpoint[:8]}", tags={**(tags or {}), **identity}
        ).info.run_id
        with _terminated(client, run_id):
            _log_params(client, run_id, params)
            _log_metrics(client, run_id, metrics.filter(pl.col("value").is_finite()))
        return run_id

    def log_evaluation(
        self, run_id: str, metrics: Mapping[str, float | None], tags: Mapping[str, str] | None = None
    ) -> None:
        """Logs evaluation metrics to the run of a checkpoint. A newer evaluation replaces an older one.

        Args:
            run_id: Id that `log_training` returned.
            metrics: Value by name, such as ``grader.test.f1``. None is logged as NaN, so that the run does not show the
                value of an earlier evaluation.
            tags: Tags to set on the run, such as the rulebook's hash.
        """
        client, _ = self._open()
        rows = [(0, name, math.nan if value is None else float(value)) for name, value in metrics.items()]
        frame = pl.DataFrame(rows, schema={"step": pl.Int64, "metric": str, "value": float}, orient="row")
        _log_metrics(client, run_id, frame)
        for name, value in (tags or {}).items():
            client.set_tag(run_id, name, value)

    def _open(self) -> tuple["MlflowClient", str]:
        # MLflow must not send usage reports. It reads this variable when it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        home = Path(self.home).absolute()
        home.mkdir(parents=True, exist_ok=True)
        with _file_lock(home / "mlflow.lock"):
            client = MlflowClient(tracking_uri=self.uri)
            experiment = client.get_experiment_by_name(self.experiment)
            if experiment is not None:
                return client, experiment.experiment_id
            return client, client.create_experiment(self.experiment, artifact_location=self.artifacts_uri)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    # If two processes created the tables of the database at the same time, one would fail.
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _terminated(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """Ends an MLflow run as FINISHED; as FAILED if an exception is raised."""
    try:
        yield
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    rows = [Param(name, str(value)) for name, value in params.items()]
    for start in range(0, len(rows), _PARAMS_PER_BATCH):
        client.log_batch(run_id, params=rows[start : start + _PARAMS_PER_BATCH])


def _log_metrics(client: "MlflowClient", run_id: str, metrics: pl.DataFrame) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [
        Metric(metric, value, now, step)
        for step, metric, value in metrics.select("step", "metric", "value").iter_rows()
        if value is not None and not math.isinf(value)
    ]
    for start in range(0, len(rows), _METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=rows[start : start + _METRICS_PER_BATCH])
