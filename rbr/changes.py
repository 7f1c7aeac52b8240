"""Describes the changes between two versions of a parsed file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

# In characters.
_MAX_LENGTH = 90
_CONTEXT = 20
# Keys that identify the entries of a list. The first group of keys that all entries have is used.
_IDENTITIES = (("prompt_id", "reply"), ("prompt_id",), ("name",))


def describe_changes(old: object, new: object) -> list[str]:
    """Describes each change in one line, with its key path.

    Entries of a list are matched by ``name`` (slots), by ``prompt_id`` (prompts), or by ``prompt_id`` and ``reply``
    (gold replies). If the entries of a list only moved, the line says ``reordered``.

    Args:
        old: JSON-like content before the edit.
        new: JSON-like content after the edit.

    Returns:
        Lines in the order of the keys; empty if the contents are equal.

    Example:
        >>> describe_changes({"apology": {"question": "Is it sorry?"}}, {"apology": {"question": "Does it apologize?"}})
        ['apology.question: "Is it sorry?" -> "Does it apologize?"']
    """
    return list(_changes((), old, new))


def _changes(path: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _entry_changes(path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(path, old, new)
    else:
        yield f"{_prefix(path)}{_old_to_new(old, new)}"


def _entry_changes(path: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        if key not in new:
            yield f"{_prefix((*path, key))}removed"
        elif key not in old:
            yield f"{_prefix((*path, key))}added"
        else:
            yield from _changes((*path, key), old[key], new[key])


def _list_changes(path: tuple[str, ...], old: Sequence[Any], new: Sequence[Any]) -> Iterator[str]:
    identity = _identity([*old, *new])
    if identity == ("name",):
        changes = list(_entry_changes(path, _indexed_by_name(old), _indexed_by_name(new)))
        yield from changes or [f"{_prefix(path)}reordered"]
    elif identity is not None:
        yield f"{_prefix(path)}{_counts(_indexed(identity, old), _indexed(identity, new)) or 'reordered'}"
    elif all(isinstance(entry, Mapping) for entry in [*old, *new]):
        # The whole entry is its own key, so an edited entry counts as removed and added.
        before, after = ({json.dumps(entry, sort_keys=True): entry for entry in entries} for entries in (old, new))
        yield f"{_prefix(path)}{_counts(before, after) or 'reordered'}"
    else:
        yield f"{_prefix(path)}{_old_to_new(old, new)}"


def _identity(entries: Sequence[Any]) -> tuple[str, ...] | None:
    """Returns the keys that identify the entries of a list; None if the list has other entries."""
    if not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return next((keys for keys in _IDENTITIES if all(entry.keys() >= set(keys) for entry in entries)), None)


def _indexed(keys: tuple[str, ...], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {json.dumps([entry[key] for key in keys]): entry for entry in entries}


def _indexed_by_name(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in entries}


def _counts(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Counts the changed entries, such as ``2 added, 1 changed``; empty text if the entries are equal."""
    counts = {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(old[key] != new[key] for key in old.keys() & new.keys()),
    }
    return ", ".join(f"{count} {change}" for change, count in counts.items() if count)


def _prefix(path: tuple[str, ...]) -> str:
    return f"{'.'.join(path)}: " if path else ""


def _old_to_new(old: object, new: object) -> str:
    """Formats both values. If one is long, cuts both to the part that differs, with some context."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
    if max(map(len, texts)) <= _MAX_LENGTH:
        return " -> ".join(texts)
    head = max(_common_prefix_length(*texts) - _CONTEXT, 0)
    tail = max(_common_prefix_length(*(text[head:][::-1] for text in texts)) - _CONTEXT, 0)
    return " -> ".join(_cut(text, head, len(text) - tail) for text in texts)


def _common_prefix_length(first: str, second: str) -> int:
    """Returns the number of characters that both texts begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _cut(text: str, start: int, end: int) -> str:
    end = min(end, start + _MAX_LENGTH)
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
