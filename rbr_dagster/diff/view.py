"""What two rulebooks mean differently, for people and for programs."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.markup import escape

from rbr_dagster.diff.compare import Difference, MovedReplies, Replay


def as_json(difference: Difference) -> str:
    """The difference as a JSON object."""
    return json.dumps(asdict(difference), indent=2, ensure_ascii=False)


def as_text(difference: Difference) -> str:
    """The difference as lines of rich markup."""
    return "\n".join(_lines(difference)) or "The two rulebooks mean the same."


def _lines(difference: Difference) -> Iterator[str]:
    for part, lines in difference.changes.items():
        yield f"[bold]{part}[/bold]"
        yield from (f"  {escape(line)}" for line in lines)
    for kind, moves in difference.moves.items():
        yield f"[bold]Classes of {kind}[/bold]"
        yield from (f"  {move.old} -> {move.new}  [dim]{move.example}[/dim]" for move in moves)
    if difference.changes and difference.replay is None:
        yield "Nothing is stored yet that the rules could be replayed over."
    elif difference.changes and difference.replay is not None:
        yield from _replay_lines(difference.replay)


def _replay_lines(replayed: Replay) -> Iterator[str]:
    total = sum(group.count for group in replayed.moved)
    yield f"[bold]Stored replies[/bold]: {total:,} of {replayed.replies:,} change their class"
    for group in replayed.moved:
        yield f"  {group.count:>5}  {_change(group)}"
        for cell, prompt, reply in group.examples:
            yield f"         [dim]{cell[:8]}  {escape(_short(prompt))}  ->  {escape(_short(reply))}[/dim]"
    kept, *others = replayed.comparisons.items()
    told = ", ".join(f"{count:,} {what}" for what, count in others if count) or "none changes"
    yield f"[bold]Comparisons[/bold]: {told}; {kept[1]:,} stay"
    made = ", ".join(f"{name} {count:,}" for name, count in replayed.grades_to_make.items())
    told = f"{made}; the class of these replies stays open" if made else "none"
    yield f"[bold]Grades to be made[/bold]: {told}"


def _change(group: MovedReplies) -> str:
    (kind_before, before), (kind, now) = group.old, group.new
    if kind_before == kind:
        return f"{kind}: {before} -> {now}"
    return f"{kind_before} {before} -> {kind} {now}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 70 else f"{flat[:69]}…"
