"""Renders the difference between two rulebooks as text or JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.markup import escape

from rbr_dagster.diff.rulebook_diff import MovedReplies, ReplayDiff, RulebookDiff

_MAX_EXAMPLE_LENGTH = 70


def as_json(difference: RulebookDiff) -> str:
    """Returns the difference as a JSON object."""
    return json.dumps(asdict(difference), indent=2, ensure_ascii=False)


def as_text(difference: RulebookDiff) -> str:
    """Returns the difference as lines of rich markup."""
    return "\n".join(_lines(difference)) or "The two rulebooks mean the same."


def _lines(difference: RulebookDiff) -> Iterator[str]:
    for part, lines in difference.changes.items():
        yield f"[bold]{part}[/bold]"
        yield from (f"  {escape(line)}" for line in lines)
    for response_type, moves in difference.moves.items():
        yield f"[bold]Classes of {response_type}[/bold]"
        yield from (f"  {move.old} -> {move.new}  [dim]{move.example}[/dim]" for move in moves)
    if difference.changes and difference.replay is None:
        yield "Nothing is stored yet, so there are no replies whose class could change."
    elif difference.changes and difference.replay is not None:
        yield from _replay_lines(difference.replay)


def _replay_lines(replay: ReplayDiff) -> Iterator[str]:
    total = sum(group.count for group in replay.moved)
    yield f"[bold]Stored replies[/bold]: {total:,} of {replay.replies:,} change class"
    for group in replay.moved:
        yield f"  {group.count:>5}  {_class_change(group)}"
        for completion_id, prompt, reply in group.examples:
            yield f"         [dim]{completion_id[:8]}  {escape(_short(prompt))}  ->  {escape(_short(reply))}[/dim]"
    (_, kept), *others = replay.comparisons.items()
    changes = ", ".join(f"{count:,} {change}" for change, count in others if count) or "no changes"
    yield f"[bold]Comparisons[/bold]: {changes}; {kept:,} kept"
    grades = ", ".join(f"{proposition} {count:,}" for proposition, count in replay.grades_to_make.items())
    missing = f"{grades}; the new class of these replies is not known yet" if grades else "none"
    yield f"[bold]Missing grades[/bold]: {missing}"


def _class_change(group: MovedReplies) -> str:
    (old_response_type, old_class), (new_response_type, new_class) = group.old, group.new
    if old_response_type == new_response_type:
        return f"{new_response_type}: {old_class} -> {new_class}"
    return f"{old_response_type} {old_class} -> {new_response_type} {new_class}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_EXAMPLE_LENGTH else f"{line[: _MAX_EXAMPLE_LENGTH - 1]}…"
