"""Renders a plan as text or JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.markup import escape

from rbr_dagster.plan.estimate import CostEstimate
from rbr_dagster.plan.forecast import PlannedAsset
from rbr_dagster.plan.plan import Plan
from rbr_dagster.plan.planned_checks import PlannedProblem

_CELL = "A cell is one completion, one grade or one score. Each cell is made once and kept."


def as_json(plan: Plan) -> str:
    """Returns the plan as a JSON object."""
    return json.dumps(
        {
            "problems": [asdict(problem) for problem in plan.problems],
            "unchecked": list(plan.unchecked),
            "changed": [{"part": change.part, "changes": list(change.lines)} for change in plan.changes],
            "stale": [{"asset": asset.name, "because": list(asset.because)} for asset in plan.certain],
            "downstream": [{"asset": asset.name, "because": list(asset.because)} for asset in plan.possible],
            "cells_missing": dict(plan.cells_missing),
            "cells_expected": dict(plan.cells_expected),
            "trainings": [
                {"asset": asset.name, "certain": asset.certain, "samples": asset.samples} for asset in plan.trainings
            ],
            "estimate": asdict(plan.estimate),
        },
        indent=2,
        ensure_ascii=False,
    )


def as_text(plan: Plan) -> str:
    """Returns the plan as lines of rich markup."""
    if not plan.assets:
        return "\n".join([*_unchecked(plan), "Everything is up to date: `rbr run` would make nothing."])
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    if plan.problems:
        yield "[bold red]Problems[/bold red]"
        yield from (f"  {problem.asset}  {escape(problem.text)}{_effect(problem)}" for problem in plan.problems)
    if plan.changes:
        yield "[bold]Changed[/bold]"
        yield from (f"  {change.part}  {escape(line)}" for change in plan.changes for line in change.lines)
    yield from _unchecked(plan)
    yield f"[bold]Will be made[/bold] ({len(plan.certain)})"
    yield from (
        f"  {asset.name}{_work(asset)}  [dim]{escape('; '.join(asset.because))}[/dim]" for asset in plan.certain
    )
    if plan.possible:
        depends_on = "the new content and the checks of the assets above"
        yield f"[bold]May be made[/bold] ({len(plan.possible)}), depending on {depends_on}"
        yield from (f"  {asset.name}{_work(asset)}" for asset in plan.possible)
    yield "[bold]Cost[/bold]"
    yield f"  missing now     {_cell_counts(plan.cells_missing)}"
    yield f"  expected later  {_cell_counts(plan.cells_expected)}"
    yield f"  trainings       {_trainings(plan)}"
    yield from _estimate_lines(plan.estimate)
    yield f"[dim]{_CELL}[/dim]"


def _unchecked(plan: Plan) -> Iterator[str]:
    if plan.unchecked:
        yield "[bold]Not checked[/bold]"
        yield from (f"  {part}  counts as unchanged, because the server is away" for part in plan.unchecked)


def _effect(problem: PlannedProblem) -> str:
    if not problem.stops:
        return " [dim](a warning)[/dim]"
    return " [dim](stops the run)[/dim]" if problem.certain else " [dim](would stop the run)[/dim]"


def _work(asset: PlannedAsset) -> str:
    if asset.samples is not None:
        return "  [yellow]trains[/yellow]"
    return f"  [yellow]{asset.cells:,} cells[/yellow]" if asset.cells else ""


def _cell_counts(cells: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in cells.items() if count) or "no cells"


def _trainings(plan: Plan) -> str:
    return ", ".join(f"{asset.name}{'' if asset.certain else ' (maybe)'}" for asset in plan.trainings) or "none"


def _estimate_lines(estimate: CostEstimate) -> Iterator[str]:
    tokens = "" if estimate.grader_tokens is None else f", about {estimate.grader_tokens:,} tokens"
    canary = f", and {estimate.canary_calls:,} calls of the canary" if estimate.canary_calls else ""
    yield f"  grader          {estimate.grader_calls:,} calls{tokens}{canary}"
    if estimate.rl_rollouts:
        yield f"  RL              {estimate.rl_rollouts:,} rollouts, {estimate.rl_grader_calls:,} grader calls"
    yield f"  time            {_time(estimate)}"


def _time(estimate: CostEstimate) -> str:
    if estimate.seconds is None:
        return "unknown, because some assets never ran; their first run records their duration"
    if estimate.certain_seconds is None or estimate.certain_seconds == estimate.seconds:
        return f"about {_duration(estimate.seconds)}"
    longest, shortest = _duration(estimate.seconds), _duration(estimate.certain_seconds)
    return f"about {longest} if every asset above is made, about {shortest} if only the certain assets are made"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
