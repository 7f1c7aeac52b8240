"""Training in a process of its own: a crash, a leak or a kill there leaves the pipeline standing."""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from rbr.training.job import GrpoJob, SftJob

_ROOT = Path(__file__).resolve().parent.parent
_LINES = 25


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes:
        checkpoint: Directory with weights (safetensors), tokenizer and metrics.
        metrics: Columns step, metric, value.
        seconds: Wall time, start of the process included.
    """

    checkpoint: Path
    metrics: pl.DataFrame
    seconds: float


class Trainer(dg.ConfigurableResource):
    """Runs training jobs, each in a process that ends with this one.

    Attributes:
        directory: Where job file and log of a running or failed training lie.
    """

    directory: str

    def train(self, context: dg.AssetExecutionContext, job: SftJob | GrpoJob) -> TrainingResult:
        """Trains and waits.

        Args:
            context: The asset's context; messages of the trainer go to its log.
            job: What to train.

        Returns:
            The checkpoint, its metrics and the time it took.

        Raises:
            dg.Failure: The training failed; the description holds the end of its log.
        """
        work = self._work_directory(job.name)
        (work / "job.json").write_text(job.model_dump_json(indent=2), encoding="utf-8")
        log = work / "log.txt"
        started = time.monotonic()
        try:
            dg.PipesSubprocessClient(env=_environment()).run(
                context=context,
                command=[
                    sys.executable,
                    "-X",
                    "faulthandler",
                    "-m",
                    "resources.trainer_process",
                    str(work / "job.json"),
                    str(os.getpid()),
                    str(log),
                ],
            )
        except Exception as error:  # The pipes client's own error is not part of Dagster's public names.
            raise _failure(job.name, log, error) from error
        metrics = pl.read_parquet(Path(job.output) / "metrics.parquet")
        shutil.rmtree(work)
        return TrainingResult(Path(job.output), metrics, time.monotonic() - started)

    def _work_directory(self, name: str) -> Path:
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name.replace('/', '.')}-", dir=self.directory)).resolve()


def _environment() -> dict[str, str]:
    # One thread: with two and any other load on the machine a step takes ten times as long.
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    # Metrics come back in a file; importing the tracker would only cost the trainer a second.
    tracker = {"DISABLE_MLFLOW_INTEGRATION": "TRUE"}
    return {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": path, **tracker}


def _failure(name: str, log: Path, error: Exception) -> dg.Failure:
    # Only the text of the client's error holds how the process ended.
    ended = re.search(r"code -(\d+)", str(error))
    cause = f": signal {signal.Signals(int(ended[1])).name} ended it" if ended else ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    end = "\n".join(lines[-_LINES:]) or "It printed nothing."
    return dg.Failure(
        description=f"Training {name} failed{cause}. The end of {log}:\n{end}",
        metadata={"log": dg.MetadataValue.path(str(log))},
    )
