"""A plan for people and for programs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.markup import escape

from rbr_dagster.plan.forecast import Step
from rbr_dagster.plan.plan import CostEstimate, Plan


def as_json(plan: Plan) -> str:
    """The plan as a JSON object."""
    return json.dumps(
        {
            "changed": [{"part": change.part, "changes": list(change.lines)} for change in plan.changes],
            "stale": [{"asset": step.name, "because": list(step.because)} for step in plan.stale],
            "downstream": [{"asset": step.name, "because": list(step.because)} for step in plan.downstream],
            "cells_missing": dict(plan.cells_missing),
            "cells_expected": dict(plan.cells_expected),
            "trainings": [
                {"asset": step.name, "certain": step.certain, "samples": step.samples} for step in plan.trainings
            ],
            "estimate": asdict(plan.estimate),
        },
        indent=2,
        ensure_ascii=False,
    )


def as_text(plan: Plan) -> str:
    """The plan as lines of rich markup."""
    if not plan.steps:
        return "Everything is up to date: `rbr run` would make nothing."
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    if plan.changes:
        yield "[bold]Changed[/bold]"
        yield from (f"  {change.part}  {escape(line)}" for change in plan.changes for line in change.lines)
    yield f"[bold]Will be made[/bold] ({len(plan.stale)})"
    yield from (f"  {step.name}{_work(step)}  [dim]{escape('; '.join(step.because))}[/dim]" for step in plan.stale)
    if plan.downstream:
        yield f"[bold]May follow[/bold] ({len(plan.downstream)}), by what these turn out as"
        yield from (f"  {step.name}{_work(step)}" for step in plan.downstream)
    yield "[bold]Cost[/bold]"
    yield f"  missing now     {_counted(plan.cells_missing)}"
    yield f"  expected later  {_counted(plan.cells_expected)}"
    yield f"  trainings       {_trainings(plan)}"
    yield from _estimate(plan.estimate)


def _work(step: Step) -> str:
    if step.samples is not None:
        return "  [yellow]trains[/yellow]"
    return f"  [yellow]{step.cells:,} cells[/yellow]" if step.cells else ""


def _counted(cells: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in cells.items() if count) or "no cell"


def _trainings(plan: Plan) -> str:
    return ", ".join(f"{step.name}{'' if step.certain else ' (maybe)'}" for step in plan.trainings) or "none"


def _estimate(estimate: CostEstimate) -> Iterator[str]:
    tokens = "" if estimate.tokens is None else f", about {estimate.tokens:,} tokens"
    yield f"  grader          {estimate.grader_calls:,} calls{tokens}"
    if estimate.rl_rollouts:
        yield f"  RL              {estimate.rl_rollouts:,} rollouts, {estimate.rl_grader_calls:,} grader calls"
    yield f"  time            {_time(estimate)}"


def _time(estimate: CostEstimate) -> str:
    if estimate.seconds is None:
        return "unknown: not every step was timed yet; the first run records it"
    if estimate.certain_seconds is None or estimate.certain_seconds == estimate.seconds:
        return f"about {_duration(estimate.seconds)}"
    return f"about {_duration(estimate.seconds)} if all follow, {_duration(estimate.certain_seconds)} if nothing does"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
