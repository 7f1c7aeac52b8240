"""Reads files that a user writes, and reports files that cannot be read."""

from pathlib import Path

from rbr.errors import InputError, Location


def read_text(path: str | Path, *, max_bytes: int | None = None) -> str:
    """Reads a UTF-8 text file.

    Args:
        path: Path of the file.
        max_bytes: Maximum size of the file; None for no limit. With a limit, the file must be a regular file, because
            reading a pipe or a device may never end.

    Returns:
        The text, without a byte order mark at its start.

    Raises:
        InputError: The file does not exist, cannot be read, is too large or is not UTF-8.

    Example:
        >>> read_text("profiles/tiny.yaml").splitlines()[1]
        'extends: sandbox'
    """
    data = read_bytes(path, max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = location_after(data[: error.start].decode("utf-8-sig"), str(path))
        raise InputError("the text is not UTF-8", where=where, hint="Save the file as UTF-8.") from error


def location_after(text: str, file: str) -> Location:
    """Returns the location of the first character after the beginning of a file.

    Args:
        text: The beginning of the file.
        file: File as the user named it.
    """
    return Location(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


def read_bytes(path: str | Path, max_bytes: int | None = None) -> bytes:
    """Reads a file.

    Args:
        path: Path of the file.
        max_bytes: As for `read_text`.

    Raises:
        InputError: The file does not exist, cannot be read or is too large.

    Example:
        >>> read_bytes("profiles/tiny.yaml").splitlines()[1]
        b'extends: sandbox'
    """
    path = Path(path)
    where = Location(str(path))
    try:
        if path.is_dir():
            raise InputError("the path is a directory, not a file", where=where, hint="Give the path of a file.")
        if not path.exists():
            raise InputError("the file does not exist", where=where, hint="Check the path, or create the file.")
        if max_bytes is not None and not path.is_file():
            raise InputError("the path is a pipe or a device", where=where, hint="Give the path of a regular file.")
        with path.open("rb") as stream:
            data = stream.read() if max_bytes is None else stream.read(max_bytes + 1)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        raise InputError(what, where=where, hint="Check the permissions of the file.") from error
    if max_bytes is not None and len(data) > max_bytes:
        raise InputError(f"the file is larger than {max_bytes} bytes", where=where, hint="Shorten the file.")
    return data
