"""Fingerprints of models: hashes that identify a model in stored grades, scores and completions."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rbr.errors import InputError
from rbr.hashing import content_hash

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_FileStats: TypeAlias = tuple[tuple[str, int, int], ...]

# The files that decide what a model computes: weights, configuration, tokenizer and chat template. `open_model` and
# `open_tokenizer` read no other file.
_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
_GENERATION = "generation_config.json"


def model_fingerprint(ref: "ModelRef") -> str:
    """Returns the hash of everything that decides what a model computes.

    For a local directory: the weights, the configuration, the tokenizer, the chat template and the end tokens. Other
    files, such as a README, logs or the state of an optimizer, do not count. For a model on the Hub: its name and
    revision. In both cases, the arguments of the chat template and a type other than float32 count, too.

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
    fingerprint = _files_fingerprint(ref)
    if ref.chat_template_kwargs:
        fingerprint = content_hash([fingerprint, ref.chat_template_kwargs])
    if ref.dtype != "float32":
        fingerprint = content_hash([fingerprint, ref.dtype])
    return fingerprint


def check_pinned(ref: "ModelRef") -> None:
    """Checks that a reference always means the same model.

    Raises:
        InputError: `ref` is not a local directory and has no revision.

    Example:
        >>> from rbr.profile import ModelRef
        >>> check_pinned(ModelRef(path="org/model", revision="4c0bd2a"))
    """
    if ref.revision is None and not Path(ref.path).is_dir():
        raise InputError(
            f"'{ref.path}' is not a local directory and has no revision",
            where="models",
            hint="Pin a commit hash as revision, or give the directory of a downloaded model.",
        )


def _files_fingerprint(ref: "ModelRef") -> str:
    check_pinned(ref)
    path = Path(ref.path)
    if path.is_dir():
        return _directory_fingerprint(str(path.resolve()), _file_stats(path))
    return content_hash({"model": ref.path, "revision": ref.revision})


def _file_stats(path: Path) -> _FileStats:
    """Returns name, size in bytes and modification time in nanoseconds of each file that counts, by name."""
    files = {file for pattern in (*_PATTERNS, _GENERATION) for file in path.glob(pattern) if file.is_file()}
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@lru_cache(maxsize=64)
def _directory_fingerprint(path: str, file_stats: _FileStats) -> str:
    # The stats are an argument because the cache is keyed by arguments: a changed file gives a new key.
    digests = []
    for name, _, _ in file_stats:
        if name != _GENERATION:
            with (Path(path) / name).open("rb") as file:
                digests.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    return content_hash([digests, _end_tokens(Path(path) / _GENERATION)])


def _end_tokens(file: Path) -> object:
    """Returns the end tokens from the generation settings, the one entry that counts: sampling has its own settings."""
    try:
        settings = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return settings.get("eos_token_id") if isinstance(settings, dict) else None
