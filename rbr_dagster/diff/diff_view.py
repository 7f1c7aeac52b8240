"""Renders the difference between two rulebooks as text or JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from rbr_dagster.diff.rulebook_diff import MovedReplies, ReplayDiff, RulebookDiff

_MAX_EXAMPLE_LENGTH = 70


def as_json(difference: RulebookDiff) -> str:
    """Returns the difference as a JSON object."""
    return json.dumps(asdict(difference), indent=2, ensure_ascii=False)


def as_text(difference: RulebookDiff) -> Text:
    """Returns the difference as lines of text."""
    return Text("\n").join(_lines(difference)) or Text("The two rulebooks mean the same.")


def _lines(difference: RulebookDiff) -> Iterator[Text]:
    for part, lines in difference.changes.items():
        yield Text(part, "bold")
        yield from (Text(f"  {line}") for line in lines)
    for response_type, moves in difference.moves.items():
        yield Text(f"Classes of {response_type}", "bold")
        yield from (Text.assemble(f"  {move.old} -> {move.new}  ", (move.example, "dim")) for move in moves)
    if difference.changes and difference.replay is None:
        yield Text("Nothing is stored yet, so there are no replies whose class could change.")
    elif difference.changes and difference.replay is not None:
        yield from _replay_lines(difference.replay)


def _replay_lines(replay: ReplayDiff) -> Iterator[Text]:
    moved = sum(group.count for group in replay.moved)
    kept = replay.replies - replay.without_class - moved
    yield _titled("Stored replies", f"{moved:,} of {replay.replies:,} change class, {kept:,} keep their class")
    for group in replay.moved:
        yield Text(f"  {group.count:>5}  {_class_change(group)}")
        for completion_id, prompt, reply in group.examples:
            yield Text(f"         {completion_id[:8]}  {_short(prompt)}  ->  {_short(reply)}", "dim")
    if replay.without_class:
        yield Text(f"  {replay.without_class:>5}  have no class by the old or by the new rulebook: not compared")
    (_, kept_pairs), *others = replay.comparisons.items()
    changes = ", ".join(f"{count:,} {change}" for change, count in others if count) or "no changes"
    yield _titled("Comparisons", f"{changes}; {kept_pairs:,} kept")
    grades = ", ".join(f"{proposition} {count:,}" for proposition, count in replay.grades_to_make.items())
    missing = f"{grades}; the new class of these replies is not known yet" if grades else "none"
    yield _titled("Missing grades", missing)


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), f": {text}")


def _class_change(group: MovedReplies) -> str:
    (old_response_type, old_class), (new_response_type, new_class) = group.old, group.new
    if old_response_type == new_response_type:
        return f"{new_response_type}: {old_class} -> {new_class}"
    return f"{old_response_type} {old_class} -> {new_response_type} {new_class}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_EXAMPLE_LENGTH else f"{line[: _MAX_EXAMPLE_LENGTH - 1]}…"
