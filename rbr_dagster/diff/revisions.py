"""A rulebook from a directory, or as it was at a git revision."""

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from rbr.errors import InputError
from rbr.rulebook import Rulebook, load_rulebook


def load_either(place: str, rulebook: Path) -> Rulebook:
    """Loads a rulebook from a directory or from a revision.

    Args:
        place: A directory, or a git revision such as ``HEAD~1``.
        rulebook: The directory of which the revision is meant.

    Raises:
        InputError: It is neither, or the rulebook there cannot be used.
    """
    if Path(place).is_dir():
        return load_rulebook(place)
    if not rulebook.is_dir():
        raise InputError("there is no such directory", where=str(rulebook), hint="Check the path of the rulebook.")
    with tempfile.TemporaryDirectory(prefix="rbr-diff-") as directory:
        _unpack(place, rulebook, directory)
        try:
            return load_rulebook(directory)
        except InputError as error:
            raise InputError(str(error).replace(directory, f"{place}:{rulebook}")) from error


def _unpack(revision: str, rulebook: Path, directory: str) -> None:
    git = shutil.which("git")
    if git is None:
        raise InputError("is no directory, and there is no git here", where=revision, hint="Name a directory.")
    command = [git, "-C", str(rulebook), "archive", "--end-of-options", revision, "."]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode != 0:
        what = f"is neither a directory nor a revision of {rulebook}"
        raise InputError(what, where=revision, hint=archive.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
