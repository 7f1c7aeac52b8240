"""Loads a rulebook from a directory or from a git revision."""

import io
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

from rbr.errors import InputError, Location
from rbr.rulebook import Rulebook, load_rulebook


def load_rulebook_or_revision(directory_or_revision: str, rulebook: Path) -> Rulebook:
    """Loads a rulebook from a directory or from a git revision.

    Args:
        directory_or_revision: Directory of a rulebook, or a git revision such as ``HEAD~1``.
        rulebook: Directory in a git repository. If a revision is given, its version of this directory is loaded.

    Raises:
        InputError: The argument is neither a directory nor a revision, or the rulebook cannot be used.
    """
    if Path(directory_or_revision).is_dir():
        return load_rulebook(directory_or_revision)
    if not rulebook.is_dir():
        hint = "Check the path of the rulebook."
        raise InputError("the directory does not exist", where=Location(str(rulebook)), hint=hint)
    with tempfile.TemporaryDirectory(prefix="rbr-diff-") as directory:
        _unpack(directory_or_revision, rulebook, directory)
        try:
            return load_rulebook(directory)
        except InputError as error:
            at_revision = f"{directory_or_revision}:{rulebook}"
            raise InputError.collect(_moved(problem, directory, at_revision) for problem in error.problems) from error


def _moved(problem: InputError, directory: str, at_revision: str) -> InputError:
    """Returns a problem with the revision instead of the temporary directory in its location."""
    if not isinstance(problem.where, Location):
        return problem
    file = f"{at_revision}/{Path(problem.where.file).relative_to(directory).as_posix()}"
    return InputError(problem.what, where=replace(problem.where, file=file), hint=problem.hint)


def _unpack(revision: str, rulebook: Path, directory: str) -> None:
    """Writes the files that a rulebook has at a revision into a directory."""
    git = shutil.which("git")
    if git is None:
        what = "the directory does not exist, and git is not installed to look for a revision with this name"
        raise InputError(what, where=revision, hint="Give the path of a directory, or install git.")
    command = [git, "-C", str(rulebook), "archive", "--end-of-options", revision, "."]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode != 0:
        what = f"neither a directory nor a revision of {rulebook}"
        raise InputError(what, where=revision, hint=archive.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
