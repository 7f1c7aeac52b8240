"""``python -m resources.trainer_process JOB.json [PARENT_PID] [LOG]``: runs one job and ends."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rbr.errors import InputError
from rbr.training.job import GrpoJob, SftJob, parse_job
from resources.progress_file import ProgressFile
from resources.trainer_process import lifeline

_PIPES = "DAGSTER_PIPES_CONTEXT"


def main(arguments: list[str]) -> int:
    """Runs the job of a file.

    Args:
        arguments: The job file; then, optional, the process to end with, and a file for everything printed.

    Returns:
        0, or 2 where an input cannot be used; the reason is the last thing printed.
    """
    if len(arguments) > 1:
        lifeline.watch(int(arguments[1]))
    if len(arguments) > 2:
        _print_to(arguments[2])
    # An interrupted training has nothing to save, and Python's own handler waits for native code to return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with _messages() as say:
            _run(parse_job(Path(arguments[0]).read_bytes()), say)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(job: SftJob | GrpoJob, say: Callable[[str], None]) -> None:
    # After the lifeline is tied: these imports take seconds.
    from rbr.training.checkpoint import save
    from rbr.training.recorder import Recorder

    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="rbr-trainer-"))
        bar = stack.enter_context(ProgressFile(job.progress, job.name, _steps(job), "steps")) if job.progress else None
        recorder = Recorder(bar.update if bar else None, say)
        if isinstance(job, SftJob):
            from rbr.training.sft import train_sft

            model, tokenizer = train_sft(job, recorder, scratch)
        else:
            from rbr.training.grpo import train_grpo

            model, tokenizer = train_grpo(job, recorder, scratch)
        save(model, tokenizer, recorder.metrics, job.output)


def _steps(job: SftJob | GrpoJob) -> int:
    if isinstance(job, GrpoJob):
        return job.settings.steps
    import polars as pl

    rows = pl.scan_parquet(job.data).select(pl.len()).collect().item()
    return job.settings.epochs * -(-rows // job.settings.batch_size)


@contextmanager
def _messages() -> Iterator[Callable[[str], None]]:
    """Where messages go: to the orchestrator that started this process, or to standard output."""
    if _PIPES not in os.environ:
        yield _say
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield context.log.info


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _print_to(path: str) -> None:
    # On the level of descriptors, so that native libraries and a crashing interpreter print there too.
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
