"""Estimates the cost of a run: cells, grader calls, tokens, rollouts and wall time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import dagster as dg

from rbr.grading.canary import has_canary
from rbr.grading.canary_probes import CONVERSATIONS, QUESTIONS
from rbr_dagster.plan.forecast import PlannedAsset
from rbr_dagster.plan.wall_time import StepRate, wall_time
from rbr_dagster.run.staleness import AssetGraph
from resources.cells import CELLS_TAG
from resources.models import MODEL_TAGS, grader_in_use
from resources.sources import SourceContents
from resources.store import Store

CELL_TABLES = ("completions", "grades", "scores")
_RBR_CHECKPOINT = "rl_checkpoint/rbr"
_RL_PREFIX = "rl_checkpoint/"


@dataclass(frozen=True)
class CostEstimate:
    """The cost of a run if every planned asset is made.

    Attributes:
        grader_calls: Number of P(yes) to read, without those of rollouts.
        grader_tokens: Tokens that the grader reads for these calls; None if an asset never counted tokens.
        canary_calls: Number of test questions to a server before it grades; see `rbr.grading.canary`.
        seconds: Wall time, with trainings; None if an asset was never timed.
        certain_seconds: Wall time of the assets that are certain to run; None if one of them was never timed.
        rl_rollouts: Number of replies to sample in reinforcement learning.
        rl_grader_calls: Number of P(yes) to read for these replies.
    """

    grader_calls: int
    grader_tokens: int | None
    canary_calls: int
    seconds: float | None
    certain_seconds: float | None
    rl_rollouts: int
    rl_grader_calls: int


def estimate_cost(
    graph: AssetGraph,
    planned: Sequence[PlannedAsset],
    rates: Mapping[dg.AssetKey, StepRate | None],
    contents: SourceContents,
    canary_calls: int,
) -> CostEstimate:
    """Estimates the cost of making every planned asset.

    Args:
        graph: All assets.
        planned: The planned assets.
        rates: Rate of each planned asset; None if the asset never did work of the planned kind.
        contents: Content of each source file now.
        canary_calls: Number of test questions, from `count_canary_calls`.
    """
    rollouts = {asset.name: asset.samples or 0 for asset in planned if asset.name.startswith(_RL_PREFIX)}
    forked = {key for key, spec in graph.specs.items() if spec.tags.items() >= MODEL_TAGS.items()}
    return CostEstimate(
        grader_calls=count_cells(graph, planned)["grades"],
        grader_tokens=_tokens([asset for asset in planned if _grades(graph, asset)], rates),
        canary_calls=canary_calls,
        seconds=wall_time(planned, rates, forked),
        certain_seconds=wall_time([asset for asset in planned if asset.certain], rates, forked),
        rl_rollouts=sum(rollouts.values()),
        rl_grader_calls=round(rollouts.get(_RBR_CHECKPOINT, 0) * _questions_per_rollout(contents)),
    )


def count_cells(graph: AssetGraph, planned: Iterable[PlannedAsset]) -> dict[str, int]:
    """Returns the number of missing cells of planned assets, by cell table."""
    counts = dict.fromkeys(CELL_TABLES, 0)
    for asset in planned:
        if asset.cells:
            counts[graph.specs[asset.key].tags[CELLS_TAG]] += asset.cells
    return counts


def count_canary_calls(store: Store, graph: AssetGraph, planned: Iterable[PlannedAsset]) -> int:
    """Returns the number of test questions that a run asks a server: 40 per process that grades, the first time 80.

    Args:
        store: The store with the snapshots that the run will use, such as the copy of a forecast.
        graph: All assets.
        planned: The planned assets. Each asset that uses the grader has a process of its own.
    """
    n_processes = sum(
        _grades(graph, asset) or (asset.name == _RBR_CHECKPOINT and asset.samples is not None) for asset in planned
    )
    if not n_processes:
        return 0
    grader = grader_in_use(store)
    if not has_canary(grader.settings):
        return 0
    is_first = store.read("canary_answers", "grader = ?", [grader.version]).is_empty()
    return (n_processes + is_first) * len(CONVERSATIONS) * len(QUESTIONS)


def _grades(graph: AssetGraph, asset: PlannedAsset) -> bool:
    return asset.cells > 0 and graph.specs[asset.key].tags[CELLS_TAG] == "grades"


def _tokens(planned: Iterable[PlannedAsset], rates: Mapping[dg.AssetKey, StepRate | None]) -> int | None:
    """Returns the tokens of the missing cells of planned assets; None if an asset with missing cells has no rate."""
    tokens = 0.0
    for asset in planned:
        if asset.cells:
            rate = rates[asset.key]
            if rate is None:
                return None
            tokens += asset.cells * rate.tokens
    return round(tokens)


def _questions_per_rollout(contents: SourceContents) -> float:
    """Returns the mean number of propositions asked about a rollout. Training draws the categories equally often."""
    applicable = contents["rulebook/applicability"]
    categories = contents["rulebook/content_policy"]["categories"].values()
    return fmean(len(applicable[category["response_type"]]) for category in categories)
