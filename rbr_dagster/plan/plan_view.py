"""Renders a plan as text or JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.text import Text

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


def as_text(plan: Plan) -> Text:
    """Returns the plan as lines of text."""
    if not plan.assets:
        nothing = Text("Everything is up to date: `rbr run` would make nothing.")
        return Text("\n").join([*_unchecked(plan), nothing])
    return Text("\n").join(_lines(plan))


def _lines(plan: Plan) -> Iterator[Text]:
    if plan.problems:
        yield Text("Problems", "bold red")
        for problem in plan.problems:
            yield Text.assemble(f"  {problem.asset}  {problem.text} ", (_effect(problem), "dim"))
    if plan.changes:
        yield Text("Changed", "bold")
        yield from (Text(f"  {change.part}  {line}") for change in plan.changes for line in change.lines)
    yield from _unchecked(plan)
    yield Text.assemble(("Will be made", "bold"), f" ({len(plan.certain)})")
    for asset in plan.certain:
        yield Text.assemble(f"  {asset.name}", (_work(asset), "yellow"), ("  " + "; ".join(asset.because), "dim"))
    if plan.possible:
        depends_on = "the new content and the checks of the assets above"
        yield Text.assemble(("May be made", "bold"), f" ({len(plan.possible)}), depending on {depends_on}")
        yield from (Text.assemble(f"  {asset.name}", (_work(asset), "yellow")) for asset in plan.possible)
    yield Text("Cost", "bold")
    yield Text(f"  missing now     {_cell_counts(plan.cells_missing)}")
    yield Text(f"  expected later  {_cell_counts(plan.cells_expected)}")
    yield Text(f"  trainings       {_trainings(plan)}")
    yield from map(Text, _estimate_lines(plan.estimate))
    yield Text(_CELL, "dim")


def _unchecked(plan: Plan) -> Iterator[Text]:
    if plan.unchecked:
        yield Text("Not checked", "bold")
        yield from (Text(f"  {part}  counts as unchanged, because the server is away") for part in plan.unchecked)


def _effect(problem: PlannedProblem) -> str:
    if not problem.stops:
        return "(a warning)"
    return "(stops the run)" if problem.certain else "(would stop the run)"


def _work(asset: PlannedAsset) -> str:
    if asset.samples is not None:
        return "  trains"
    return f"  {asset.cells:,} cells" if asset.cells else ""


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
