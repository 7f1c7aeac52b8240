"""Replaces the text of several files: of all of them, or of none."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
