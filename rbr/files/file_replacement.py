"""Replaces files as a whole: one file, or the text of several files, of all of them or of none."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from rbr.errors import InputError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def replace_texts(texts: Mapping[Path, str]) -> None:
    """Replaces the text of existing files. Permissions and byte order marks stay, and a link stays a link.

    Args:
        texts: New text by path of a UTF-8 file.

    Raises:
        InputError: A file cannot be written. All files have their old text then.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "a.yaml"
        >>> _ = path.write_text("classes: [ideal]")
        >>> replace_texts({path: "classes: [ideal, bad]"})
        >>> path.read_text()
        'classes: [ideal, bad]'
    """
    written: list[tuple[Path, Path]] = []  # New file and the file that it replaces.
    replaced: list[tuple[Path, bytes]] = []  # Replaced file and its old content.
    current = Path()
    try:
        for current, text in texts.items():
            target = current.resolve()
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            written.append((Path(name), target))
            mark = _BYTE_ORDER_MARK if target.read_bytes().startswith(_BYTE_ORDER_MARK) else b""
            with os.fdopen(handle, "wb") as stream:
                stream.write(mark + text.encode())
            shutil.copymode(target, name)
        for new, current in written:
            old = current.read_bytes()
            os.replace(new, current)
            replaced.append((current, old))
    except OSError as error:
        for target, old in replaced:
            target.write_bytes(old)
        what = f"the file cannot be written: {error.strerror}"
        hint = "No file was changed. Check the permissions of the directory."
        raise InputError(what, where=str(current), hint=hint) from error
    finally:
        for new, _ in written:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the operating system about a file into one for people.

    Raises:
        InputError: The file cannot be written, for example because the disk is full.

    Example:
        >>> with writing(Path("nowhere/grades.csv")):
        ...     Path("nowhere/grades.csv").write_text("")
        Traceback (most recent call last):
        rbr.errors.InputError: nowhere/grades.csv: the file cannot be written: No such file or directory
          Free some space, check the permissions, or choose another directory.
    """
    try:
        yield
    except OSError as error:
        what = f"the file cannot be written: {error.strerror or error}"
        hint = "Free some space, check the permissions, or choose another directory."
        raise InputError(what, where=str(path), hint=hint) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a new file that takes the place of `path` at the end. If an exception is raised, `path` stays as it is.

    A file that exists keeps its permissions, and a link stays a link.

    Raises:
        InputError: The file cannot be written, for example because the disk is full.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "grades.csv"
        >>> with whole_file(path) as stream:
        ...     _ = stream.write(b"completion_id")
        >>> path.read_text()
        'completion_id'
    """
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.resolve().parent)
    try:
        with writing(path):
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            # A temporary file belongs to its owner alone; a new file gets the usual permissions.
            os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else usual_mode())
            os.replace(name, path.resolve())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def usual_mode() -> int:
    """Returns the permissions of a new file: 0o666 without the bits of the umask.

    Example:
        >>> usual_mode() & 0o600 == 0o600
        True
    """
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
