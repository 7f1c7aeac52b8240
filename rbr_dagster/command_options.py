"""Options, exit codes and checks that the commands of `rbr` share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from rbr.errors import InputError

ProfileOption = Annotated[
    str | None, typer.Option(help="Name of a profile in profiles/, or path of a YAML file. Default: sandbox.")
]
RulebookOption = Annotated[str | None, typer.Option(help="Directory of the rulebook. Default: rulebook.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NewDirectory = Annotated[Path, typer.Argument(help="Directory to create. If it exists, it must be empty.")]

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


def check_new_or_empty(directory: Path) -> None:
    """Checks that a command may create a directory.

    Raises:
        InputError: The path exists and is not an empty directory, or the directory cannot be created there.
    """
    try:
        is_taken = directory.is_symlink() and not directory.exists()
        is_taken = is_taken or (directory.exists() and (not directory.is_dir() or any(directory.iterdir())))
        above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    except OSError as error:
        what = f"the directory cannot be created: {error.strerror}"
        raise InputError(what, where=str(directory), hint="Choose another directory.") from error
    if is_taken:
        raise InputError(
            "already exists", where=str(directory), hint="Choose a directory that is empty or does not exist."
        )
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = f"you may not write to {above}" if above.is_dir() else f"{above} is not a directory"
        what = f"the directory cannot be created: {reason}"
        raise InputError(what, where=str(directory), hint="Choose another directory.")
