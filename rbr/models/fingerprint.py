"""Fingerprints of models: hashes that identify a model in stored grades, scores and completions."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rbr.errors import InputError
from rbr.hashing import content_hash, directory_digest

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_FileStats: TypeAlias = tuple[tuple[str, int, int], ...]


def model_fingerprint(ref: "ModelRef") -> str:
    """Returns the hash of a model's files, or of its name and revision if it is on the Hub.

    A process reads the files of a directory once, and again if the name, size or modification time of a file changes.
    Other calls are cheap.

    Args:
        ref: A local directory, or a Hub id with a revision.

    Returns:
        16 hexadecimal characters. A copy of a directory has the same fingerprint as the original.

    Raises:
        InputError: `ref` is not a local directory and has no revision. Without one, the files on the Hub may change.

    Example:
        >>> from rbr.profile import ModelRef
        >>> model_fingerprint(ModelRef(path="org/model", revision="4c0bd2a"))
        '1355e6d4e0f0175b'
    """
    path = Path(ref.path)
    if path.is_dir():
        return _directory_fingerprint(str(path.resolve()), _file_stats(path))
    if ref.revision is None:
        raise InputError(
            f"'{ref.path}' is not a local directory and has no revision",
            where="models",
            hint="Pin a commit hash as revision, or give the directory of a downloaded model.",
        )
    return content_hash({"model": ref.path, "revision": ref.revision})


def _file_stats(path: Path) -> _FileStats:
    """Returns name, size in bytes and modification time in nanoseconds of each file below a directory."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=64)
def _directory_fingerprint(path: str, file_stats: _FileStats) -> str:
    # The stats are an argument only because the cache is keyed by arguments: a changed file gives a new key.
    del file_stats
    return directory_digest(path)
