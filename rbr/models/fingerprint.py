"""What a model is, as a fixed-width hash: grades, scores and completions are kept under it."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rbr.errors import InputError
from rbr.hashing import content_hash, directory_digest

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_Stamp: TypeAlias = tuple[tuple[str, int, int], ...]


def model_fingerprint(ref: "ModelRef") -> str:
    """Identifies a model by its pinned revision, or by the content of its local files.

    Local files are read once per process for each (name, size, modification time), so asking again is cheap.

    Args:
        ref: A local directory, or a Hub id with a revision.

    Returns:
        16 hexadecimal characters. A copy of a directory elsewhere has the same fingerprint.

    Raises:
        InputError: A Hub id without a revision, which may change under the same name.
    """
    path = Path(ref.path)
    if path.is_dir():
        return _directory_fingerprint(str(path.resolve()), _stamp(path))
    if ref.revision is None:
        raise InputError(
            f"'{ref.path}' is no local directory and has no revision",
            where="models",
            hint="Pin a commit hash as revision, or give the directory of a downloaded model.",
        )
    return content_hash({"model": ref.path, "revision": ref.revision})


def _stamp(path: Path) -> _Stamp:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=64)
def _directory_fingerprint(path: str, stamp: _Stamp) -> str:
    # The stamp is part of the cache key only: a changed file is read again.
    del stamp
    return directory_digest(path)
