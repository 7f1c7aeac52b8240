"""Content hashes of 16 characters. Equal content has the same hash on every machine and in every process."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from rbr.errors import InputError, Location

_WIDTH = 16
_PLAIN_TYPES = frozenset({str, int, float, bool})
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def content_hash(value: object) -> str:
    """Hashes a value by its content.

    Args:
        value: JSON-like data; may contain pydantic models, dataclasses, tuples and NumPy scalars. The order of keys in
            a mapping does not change the hash. The order of a sequence does. ``1`` and ``1.0`` have different hashes.

    Returns:
        16 hexadecimal characters: the beginning of the SHA-256 of the canonical JSON.

    Raises:
        TypeError: The value contains something without a canonical form: a set, a path, or a key that is not text.

    Example:
        >>> content_hash({"a": 1, "b": [2]}) == content_hash({"b": (2,), "a": 1})
        True
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:_WIDTH]


def frame_hash(frame: pl.DataFrame) -> str:
    """Hashes a frame: its column names and its rows, both in order.

    Args:
        frame: Columns may be nested. The order of the rows changes the hash. The width of an integer column does not.
            NaN has the same hash as null.

    Returns:
        16 hexadecimal characters.

    Example:
        >>> frame = pl.DataFrame({"a": [1, 2]})
        >>> frame_hash(frame) == frame_hash(frame.cast(pl.Int8)), frame_hash(frame) == frame_hash(frame.reverse())
        (True, False)
    """
    # Newline-delimited JSON is the fastest text form that distinguishes all plain types.
    rows = frame.write_ndjson()
    return hashlib.sha256(f"{_canonical(frame.columns)}\n{rows}".encode()).hexdigest()[:_WIDTH]


def directory_digest(path: str | Path) -> str:
    """Hashes a directory tree: the relative path and the bytes of each file.

    Args:
        path: Directory. File times, permissions and empty directories do not change the hash.

    Returns:
        16 hexadecimal characters.

    Raises:
        InputError: `path` is not a directory.

    Example:
        >>> len(directory_digest("rulebook"))
        16
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError("the directory does not exist", where=Location(str(path)), hint="Check the path.")
    digest = hashlib.sha256()
    files = {file.relative_to(root).as_posix(): file for file in root.rglob("*") if file.is_file()}
    for name, file in sorted(files.items()):
        # Two digests of fixed width per file, so that a name cannot run into the bytes that follow it.
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:_WIDTH]


def _canonical(value: object) -> str:
    return _ENCODER.encode(_plain(value))


def _plain(value: object) -> Any:
    if value is None or type(value) in _PLAIN_TYPES:  # The most frequent case.
        return value
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_text_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"cannot hash a value of type {type(value).__name__}: {value!r}")


def _text_key(key: object) -> str:
    # JSON would write the key 1 as "1", so two different mappings would have the same hash.
    if not isinstance(key, str):
        raise TypeError(f"mapping keys must be text, not {type(key).__name__}: {key!r}")
    return key
