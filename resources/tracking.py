"""Training runs and their evaluations in MLflow."""

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
    """One MLflow run per checkpoint, in a SQLite file below the state directory.

    Attributes:
        home: The state directory: ``mlflow.db`` and ``mlartifacts/`` lie in it.
        experiment: Name of the MLflow experiment.
    """

    home: str
    experiment: str = "rbr"

    @property
    def uri(self) -> str:
        """The tracking URI, for ``mlflow ui --backend-store-uri``."""
        return f"sqlite:///{(Path(self.home) / 'mlflow.db').absolute()}"

    def log_training(
        self,
        variant: str,
        checkpoint: str,
        params: Mapping[str, object],
        metrics: pl.DataFrame,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Records the training run of a checkpoint, once: a second call finds the first one's run.

        Args:
            variant: ``sft``, ``rbr``, ``helpful`` or ``human``; part of the run's name.
            checkpoint: Hash of everything the checkpoint was trained from.
            params: Settings by name.
            metrics: Columns ``step``, ``metric``, ``value``; values that are not finite are left out.
            tags: Further tags.

        Returns:
            The MLflow run id.
        """
        client, experiment = self._open()
        ours = {"rbr.variant": variant, "rbr.checkpoint": checkpoint}
        filters = " and ".join(f"tags.`{name}` = '{value}'" for name, value in ours.items())
        for earlier in client.search_runs([experiment], filters):
            if earlier.info.status == "FINISHED":
                return earlier.info.run_id
            client.set_terminated(earlier.info.run_id, "KILLED")
        run = client.create_run(
            experiment, run_name=f"{variant}-{checkpoint[:8]}", tags={**(tags or {}), **ours}
        ).info.run_id
        with _ended(client, run):
            _log_params(client, run, params)
            _log_metrics(client, run, metrics)
        return run

    def log_evaluation(
        self, run_id: str, metrics: Mapping[str, float | None], tags: Mapping[str, str] | None = None
    ) -> None:
        """Adds evaluation metrics to a checkpoint's run; a newer evaluation comes on top of an older one.

        Args:
            run_id: Run of `log_training`.
            metrics: Value by name, such as ``grader.test.f1``; None and NaN are left out.
            tags: Tags to set on the run, such as the rulebook's hash.
        """
        client, _ = self._open()
        rows = [{"step": 0, "metric": name, "value": value} for name, value in metrics.items()]
        _log_metrics(client, run_id, pl.DataFrame(rows, schema={"step": pl.Int64, "metric": str, "value": float}))
        for name, value in (tags or {}).items():
            client.set_tag(run_id, name, value)

    def _open(self) -> tuple["MlflowClient", str]:
        # Usage reports go out over the network; this must stand before the import.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        home = Path(self.home).absolute()
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / "mlflow.lock"):
            client = MlflowClient(tracking_uri=self.uri)
            found = client.get_experiment_by_name(self.experiment)
            if found is not None:
                return client, found.experiment_id
            artifacts = (home / "mlartifacts").as_uri()
            return client, client.create_experiment(self.experiment, artifact_location=artifacts)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    # Two processes that both create the database's tables would trip over each other.
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _ended(client: "MlflowClient", run: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")


def _log_params(client: "MlflowClient", run: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    rows = [Param(name, str(value)) for name, value in params.items()]
    for start in range(0, len(rows), _PARAMS_PER_BATCH):
        client.log_batch(run, params=rows[start : start + _PARAMS_PER_BATCH])


def _log_metrics(client: "MlflowClient", run: str, metrics: pl.DataFrame) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [
        Metric(metric, value, now, step)
        for step, metric, value in metrics.select("step", "metric", "value").iter_rows()
        if value is not None and math.isfinite(value)
    ]
    for start in range(0, len(rows), _METRICS_PER_BATCH):
        client.log_batch(run, metrics=rows[start : start + _METRICS_PER_BATCH])
