"""What changed between two versions of a parsed file, in words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

_LONGEST = 90
_AROUND = 20
_IDENTITIES = (("prompt_id", "reply"), ("prompt_id",), ("name",))


def describe_changes(old: object, new: object) -> list[str]:
    """Says what changed, one line for each place, with the keys of the file as the path.

    Entries of a list are told apart by their ``name`` (slots) or by what they are about (prompts, gold
    replies), so that an entry that moved within its file is no change.

    Args:
        old: JSON-able content before.
        new: JSON-able content now.

    Returns:
        Lines such as ``apology.question: "Is there an apology?" -> "Does it apologise?"``, in the order of
        the keys; empty where the two are equal.
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
        yield f"{_at(path)}{_both(old, new)}"


def _entry_changes(path: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        if key not in new:
            yield f"{_at((*path, key))}removed"
        elif key not in old:
            yield f"{_at((*path, key))}added"
        else:
            yield from _changes((*path, key), old[key], new[key])


def _list_changes(path: tuple[str, ...], old: Sequence[Any], new: Sequence[Any]) -> Iterator[str]:
    identity = _identity([*old, *new])
    if identity == ("name",):
        by_name = list(_entry_changes(path, _named(old), _named(new)))
        yield from by_name or [f"{_at(path)}another order"]
    elif identity is not None:
        yield f"{_at(path)}{_counts(_by(identity, old), _by(identity, new)) or 'another order'}"
    elif all(isinstance(entry, Mapping) for entry in [*old, *new]):
        before, after = ({json.dumps(entry, sort_keys=True): entry for entry in entries} for entries in (old, new))
        yield f"{_at(path)}{_counts(before, after) or 'another order'}"
    else:
        yield f"{_at(path)}{_both(old, new)}"


def _identity(entries: Sequence[Any]) -> tuple[str, ...] | None:
    if not all(isinstance(entry, Mapping) for entry in entries):
        return None
    return next((keys for keys in _IDENTITIES if all(entry.keys() >= set(keys) for entry in entries)), None)


def _by(keys: tuple[str, ...], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {json.dumps([entry[key] for key in keys]): entry for entry in entries}


def _named(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in entries}


def _counts(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    counts = {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(old[key] != new[key] for key in old.keys() & new.keys()),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _at(path: tuple[str, ...]) -> str:
    return f"{'.'.join(path)}: " if path else ""


def _both(old: object, new: object) -> str:
    """Both values; of two long ones, what differs and a little around it."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
    if max(map(len, texts)) <= _LONGEST:
        return " -> ".join(texts)
    head = max(_common(*texts) - _AROUND, 0)
    tail = max(_common(*(text[head:][::-1] for text in texts)) - _AROUND, 0)
    return " -> ".join(_cut(text, head, len(text) - tail) for text in texts)


def _common(one: str, other: str) -> int:
    """Length of what both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _cut(text: str, start: int, end: int) -> str:
    end = min(end, start + _LONGEST)
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
