"""``python -m resources.trainer_process JOB.json [PARENT_PID] [LOG]``: trains one job and exits."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.errors import InputError
from resources.progress_file import ProgressFile
from resources.state import lifeline
from resources.trainer_process.job import GrpoJob, RewardSource, SftJob, parse_job

if TYPE_CHECKING:
    from rbr.reward import RuleBasedReward

_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


def main(arguments: list[str]) -> int:
    """Runs a training job.

    Args:
        arguments: Path of the job file. Optional: the id of a process, and the path of a log file. When that process
            ends, this process ends too. The log file gets all output.

    Returns:
        Exit code: 0, or 2 if an input cannot be used. The last output is then the reason.
    """
    if len(arguments) > 1:
        lifeline.watch(int(arguments[1]))
    if len(arguments) > 2:
        _redirect_output(arguments[2])
    # Ctrl-C ends the process at once. There is nothing to save, and Python's handler would wait for native code.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with _messages() as on_message:
            _run(parse_job(Path(arguments[0]).read_bytes()), on_message)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(job: SftJob | GrpoJob, on_message: Callable[[str], None]) -> None:
    # These imports take seconds, so the process first starts to watch its parent.
    import polars as pl

    from rbr.training import train_grpo, train_sft

    rows = pl.read_parquet(job.data)
    with _progress(job, n_rows=rows.height) as on_step:
        if isinstance(job, SftJob):
            policy = train_sft(rows, job.model, job.settings, on_step=on_step, on_message=on_message)
        else:
            reward = _open_reward(job.reward)
            policy = train_grpo(rows, job.model, job.settings, reward, on_step=on_step, on_message=on_message)
        policy.save(job.output)


@contextmanager
def _progress(job: SftJob | GrpoJob, n_rows: int) -> Iterator[Callable[[int], None] | None]:
    """Yields a function that writes the number of finished steps to the progress file; None if the job has no file."""
    if job.progress is None:
        yield None
        return
    with ProgressFile(job.progress, job.name, _steps(job, n_rows), "steps") as progress_file:
        yield progress_file.update


def _open_reward(source: RewardSource) -> "RuleBasedReward":
    from rbr.models.reward_model import RewardModel
    from rbr.reward import RuleBasedReward

    if source.artifact is None or source.grader_settings is None:
        return RuleBasedReward(RewardModel(source.reward_model, source.batch_size))
    return RuleBasedReward.open(
        source.artifact, source.reward_model, source.grader, source.grader_settings, source.batch_size
    )


def _steps(job: SftJob | GrpoJob, n_rows: int) -> int:
    """Returns the number of optimizer steps of a job."""
    if isinstance(job, GrpoJob):
        return job.settings.steps
    steps_per_epoch = -(-n_rows // job.settings.batch_size)
    return job.settings.epochs * steps_per_epoch


@contextmanager
def _messages() -> Iterator[Callable[[str], None]]:
    """Yields a function that sends a message to Dagster; if Dagster did not start this process, it prints."""
    if _PIPES_VARIABLE not in os.environ:
        yield _print
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield context.log.info


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _redirect_output(path: str) -> None:
    # Redirect the file descriptors, so that native libraries and a crashing interpreter also write to the log.
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
