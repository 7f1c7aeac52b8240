"""Runs training in a separate process, so that a crash or a memory leak there does not end the pipeline."""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from resources.trainer_process.job import GrpoJob, SftJob

_ROOT = Path(__file__).resolve().parent.parent
_LOG_LINES_SHOWN = 25


class Trainer(dg.ConfigurableResource):
    """Runs each training job in a process of its own, which ends if this process ends.

    Attributes:
        directory: Directory for job files and logs. They are deleted after a successful training.
    """

    directory: str

    def train(self, context: dg.AssetExecutionContext, job: SftJob | GrpoJob) -> float:
        """Runs a job and waits until its checkpoint is written to ``job.output``.

        Args:
            context: Context of the asset. The messages of the training go to its log.
            job: The training to run.

        Returns:
            Wall time in seconds, including the start of the process.

        Raises:
            dg.Failure: The training failed. The description contains the last lines of its log.
        """
        work_directory = self._work_directory(job.name)
        job_file, log = work_directory / "job.json", work_directory / "log.txt"
        job_file.write_text(job.model_dump_json(indent=2), encoding="utf-8")
        started = time.monotonic()
        try:
            dg.PipesSubprocessClient(env=trainer_environment()).run(
                context=context,
                command=[
                    sys.executable,
                    "-X",
                    "faulthandler",
                    "-m",
                    "resources.trainer_process",
                    str(job_file),
                    str(os.getpid()),
                    str(log),
                ],
            )
        except Exception as error:  # The error class of the pipes client is not public.
            raise _failure(job.name, log, error) from error
        shutil.rmtree(work_directory)
        return time.monotonic() - started

    def _work_directory(self, name: str) -> Path:
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name.replace('/', '.')}-", dir=self.directory)).resolve()


def trainer_environment() -> dict[str, str]:
    """Returns the environment variables of the trainer process that differ from those of this process."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {
        # With two threads and any other load on the machine, a step takes ten times as long.
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": path,
        # The trainer writes its metrics to a file and does not need MLflow, whose import takes a second.
        "DISABLE_MLFLOW_INTEGRATION": "TRUE",
        # TRL trains on one GPU per process, and stops if it sees several.
        **_one_gpu(os.environ.get(_VISIBLE_GPUS)),
    }


_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def _one_gpu(visible: str | None) -> dict[str, str]:
    """Returns the variable that leaves the trainer the first visible GPU; empty if the user chose one GPU, or none.

    Args:
        visible: The user's choice, such as ``2,3``; None if there is none, so that all GPUs are visible.
    """
    chosen = ["0"] if visible is None else visible.split(",")
    return {} if visible is not None and len(chosen) == 1 else {_VISIBLE_GPUS: chosen[0].strip()}


def _failure(name: str, log: Path, error: Exception) -> dg.Failure:
    # The client's error has the exit code only in its text.
    exit_code = re.search(r"code -(\d+)", str(error))
    cause = f": killed by signal {signal.Signals(int(exit_code[1])).name}" if exit_code else ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    last_lines = "\n".join(lines[-_LOG_LINES_SHOWN:]) or "The log is empty."
    return dg.Failure(
        description=f"Training {name} failed{cause}. The last lines of {log}:\n{last_lines}",
        metadata={"log": dg.MetadataValue.path(str(log))},
    )
