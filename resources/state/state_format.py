"""Checks the format of a state directory.

The file `format.json` in the state directory contains the format, an integer. Raise `STATE_FORMAT` whenever a stored
table, column or file changes its name or its meaning. Otherwise, this version would misread old state directories.
"""

import json
import os
from pathlib import Path

from rbr.errors import InputError

STATE_FORMAT = 4
"""The format that this version reads and writes. State directories of the first versions have no `format.json`."""

STORE_FILE = "rbr.duckdb"
"""Name of the DuckDB file in a state directory."""

DAGSTER_DIRECTORY = "dagster"
"""Name of the directory of the Dagster instance in a state directory."""

FORMAT_FILE = "format.json"

_HINT = "Set RBR_HOME to a new directory, or move the old one away."


def check_state(home: Path) -> None:
    """Checks that this version can read a state directory, without writing anything.

    A directory that does not exist, or that has no state yet, passes the check.

    Args:
        home: The state directory.

    Raises:
        InputError: Another version of rbr-dagster has written the directory, its format file is damaged, or `home` is
            not a directory.
    """
    if home.exists() and not home.is_dir():
        raise InputError("is not a directory", where=str(home), hint="Set RBR_HOME to a directory.")
    # Look for state before the format. The format is written first, so state that exists now must have a format.
    has_state = any((home / name).exists() for name in (STORE_FILE, DAGSTER_DIRECTORY))
    file = home / FORMAT_FILE
    try:
        stored_format = json.loads(file.read_text(encoding="utf-8"))["state_format"]
    except (FileNotFoundError, NotADirectoryError):
        if has_state:
            what = "the state directory was written by an earlier version of rbr-dagster"
            raise InputError(what, where=str(home), hint=_HINT) from None
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("the file is damaged", where=str(file), hint=_HINT) from error
    # Not isinstance: True is an int, too.
    if type(stored_format) is not int:
        raise InputError("the file is damaged", where=str(file), hint=_HINT)
    if stored_format != STATE_FORMAT:
        which = "an earlier" if stored_format < STATE_FORMAT else "a later"
        raise InputError(
            f"the state directory was written by {which} version of rbr-dagster"
            f" (its format is {stored_format}; this version reads format {STATE_FORMAT})",
            where=str(home),
            hint=_HINT,
        )


def mark_state(home: Path) -> None:
    """Writes the format to a state directory that has none. Creates the directory if it does not exist.

    If the directory already has a format, it is only checked.

    Args:
        home: The state directory.

    Raises:
        InputError: `check_state` refuses the directory, or it cannot be written.
    """
    check_state(home)
    file = home / FORMAT_FILE
    if file.exists():
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Replace the whole file, so that another process never reads half of it.
        new = file.with_name(f"{FORMAT_FILE}.{os.getpid()}.new")
        new.write_text(f"{json.dumps({'state_format': STATE_FORMAT})}\n", encoding="utf-8")
        os.replace(new, file)
    except OSError as error:
        what = f"the state directory cannot be written: {error.strerror}"
        raise InputError(what, where=str(home), hint="Set RBR_HOME to a directory that you may write to.") from error
