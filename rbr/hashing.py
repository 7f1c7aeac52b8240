"""Fixed-width content hashes: equal content gives equal text on every machine and in every process."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from rbr.errors import InputError

_WIDTH = 16


def content_hash(value: object) -> str:
    """Hashes a value by its content.

    Args:
        value: JSON-like data; pydantic models, dataclasses, tuples and NumPy scalars are accepted too.
            Mapping order does not count, sequence order does; ``1`` and ``1.0`` differ.

    Returns:
        16 hexadecimal characters: the head of the SHA-256 of the canonical JSON.

    Raises:
        TypeError: The value holds something without a canonical form (a set, a path, a key that is no text).
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:_WIDTH]


def frame_hash(frame: pl.DataFrame) -> str:
    """Hashes a frame: column names in their order, then the rows in theirs.

    Args:
        frame: Any frame of plain or nested columns. Row order counts; the integer width of a column does
            not, and NaN is null.

    Returns:
        16 hexadecimal characters.
    """
    # Newline-delimited JSON: the fastest text form that tells all plain types apart.
    rows = frame.write_ndjson()
    return hashlib.sha256(f"{_canonical(frame.columns)}\n{rows}".encode()).hexdigest()[:_WIDTH]


def directory_digest(path: str | Path) -> str:
    """Hashes the files of a directory tree by relative name and bytes.

    Args:
        path: The directory. Times, permissions and empty directories do not count.

    Returns:
        16 hexadecimal characters.

    Raises:
        InputError: `path` is no directory.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError("there is no such directory", where=str(path), hint="Check the path.")
    digest = hashlib.sha256()
    files = {file.relative_to(root).as_posix(): file for file in root.rglob("*") if file.is_file()}
    for name, file in sorted(files.items()):
        # Two fixed-width digests a file, so that no name can run into the bytes that follow it.
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:_WIDTH]


def _canonical(value: object) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: object) -> Any:
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
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"no canonical form for {type(value).__name__}: {value!r}")


def _text_key(key: object) -> str:
    # JSON would write the key 1 as "1", and two different mappings would share a hash.
    if not isinstance(key, str):
        raise TypeError(f"mapping keys must be text, not {type(key).__name__}: {key!r}")
    return key
