"""Fingerprints of models: hashes that identify a model in stored grades, scores and completions."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rbr.errors import InputError
from rbr.files.json_document import read_json_object
from rbr.hashing import content_hash

if TYPE_CHECKING:
    from rbr.profile import ModelRef

_FileStats: TypeAlias = tuple[tuple[str, int, int], ...]

_INDEX = "*.safetensors.index.json"
_ADAPTER = "adapter_config.json"
# The files that decide what a model computes: weights, configuration, tokenizer and chat template. `open_model` and
# `open_tokenizer` read no other file.
_PATTERNS = (
    "*.safetensors",
    _INDEX,
    "config.json",
    _ADAPTER,
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


def model_fingerprint(ref: "ModelRef", *, writes: bool = True) -> str:
    """Returns the hash of everything that decides what a model computes.

    For a local directory: the weights, the configuration, the tokenizer, the chat template and the end tokens. Weights
    in other directories count if an index of weights names them. So does the base model of an adapter. Other files,
    such as a README, logs or the state of an optimizer, do not count. For a model on the Hub: its name and revision. In
    both cases, the arguments of the chat template and a type other than float32 count, too.

    A process reads the files of a directory once, and again if the name, size or modification time of a file changes.
    Other calls are cheap.

    Args:
        ref: A local directory, or a Hub id with a revision.
        writes: Whether the model writes replies. The end tokens change nothing about a grader or a reward model.

    Returns:
        16 hexadecimal characters. A copy of a directory has the same fingerprint as the original.

    Raises:
        InputError: `ref` is not a local directory and has no revision, or is an adapter whose base model is not a local
            directory. Without a revision, the files on the Hub may change.

    Example:
        >>> from rbr.profile import ModelRef
        >>> model_fingerprint(ModelRef(path="org/model", revision="4c0bd2a"))
        '1355e6d4e0f0175b'
    """
    fingerprint = _files_fingerprint(ref, writes)
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


def _files_fingerprint(ref: "ModelRef", writes: bool) -> str:
    check_pinned(ref)
    path = Path(ref.path)
    if not path.is_dir():
        return content_hash({"model": ref.path, "revision": ref.revision})
    fingerprint = _directory_fingerprint(str(path.resolve()), _file_stats(path), writes)
    base = _base_model(path)
    if base is None:
        return fingerprint
    return content_hash([fingerprint, _directory_fingerprint(str(base.resolve()), _file_stats(base), writes)])


def _base_model(path: Path) -> Path | None:
    """Returns the directory of the model that an adapter changes; None for a whole model."""
    name = read_json_object(path / _ADAPTER).get("base_model_name_or_path")
    # As in transformers: an adapter beside the configuration of a model belongs to the model of this directory.
    if not isinstance(name, str) or (path / "config.json").is_file():
        return None
    if not Path(name).is_dir():
        raise InputError(
            f"the base model '{name}' of the adapter is not a local directory, so its files may change",
            where=str(path / _ADAPTER),
            hint="Set `base_model_name_or_path` to the directory of a downloaded model, or merge the adapter into it.",
        )
    return Path(name)


def _file_stats(path: Path) -> _FileStats:
    """Returns name, size in bytes and modification time in nanoseconds of each file that counts, by name."""
    names = {file.relative_to(path).as_posix() for pattern in (*_PATTERNS, _GENERATION) for file in path.glob(pattern)}
    for index in path.glob(_INDEX):
        weights = read_json_object(index).get("weight_map")
        if isinstance(weights, dict):
            names |= {Path(name).as_posix() for name in weights.values() if isinstance(name, str)}
    stats = [(name, (path / name).stat()) for name in names if (path / name).is_file()]
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@lru_cache(maxsize=64)
def _directory_fingerprint(path: str, file_stats: _FileStats, writes: bool) -> str:
    # The stats are an argument because the cache is keyed by arguments: a changed file gives a new key.
    digests = []
    for name, _, _ in file_stats:
        if name != _GENERATION:
            with (Path(path) / name).open("rb") as file:
                digests.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    # Of the generation settings, only the end tokens count: sampling has its own settings.
    end_tokens = read_json_object(Path(path) / _GENERATION).get("eos_token_id") if writes else None
    return content_hash([digests, end_tokens])
