"""A journal: a file that one process at a time appends to, and that goes away if it is empty."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from rbr.errors import InputError, Location
from rbr.files.file_replacement import writing


class LockedJournal:
    """A text file that is locked for other processes while it is open.

    Args:
        path: The file. It need not exist.
        busy: What is wrong if another process has locked the file.
        where: The file that the error names.

    Raises:
        InputError: Another process has locked the file, or the file cannot be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "grades.csv.partial"
        >>> journal = LockedJournal(path, busy="another process writes the table", where=path)
        >>> journal.append("a line")
        >>> journal.close()
        >>> path.read_text()
        'a line'
    """

    def __init__(self, path: Path, busy: str, where: Path) -> None:
        self._path = path
        self._stream = self._locked(busy, where)

    def _locked(self, busy: str, where: Path) -> TextIO:
        while True:
            with writing(self._path):
                stream = self._path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another process may have deleted the file after it was opened here.
                if os.path.samestat(os.fstat(stream.fileno()), self._path.stat()):
                    return stream
            except BlockingIOError as error:
                stream.close()
                hint = "Wait until it ends, or stop it."
                raise InputError(busy, where=Location(str(where)), hint=hint) from error
            except FileNotFoundError:
                pass
            stream.close()

    @property
    def size(self) -> int:
        """Length of the file, in bytes."""
        return os.fstat(self._stream.fileno()).st_size

    def append(self, text: str) -> None:
        """Appends a text, and returns when it is on the disk.

        Raises:
            InputError: The text cannot be written, for example because the disk is full.
        """
        with writing(self._path):
            self._stream.write(text)
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def truncate(self, size: int = 0) -> None:
        """Cuts the file to its first bytes."""
        self._stream.truncate(size)

    def close(self) -> None:
        """Ends the lock. An empty file is deleted."""
        # What could not be written to a full disk was reported before, and fails again here.
        with suppress(OSError):
            self._stream.flush()
        with suppress(OSError):
            # Before the lock ends: later, another process may have locked the file.
            if not self.size:
                self._path.unlink()
        with suppress(OSError):
            self._stream.close()
