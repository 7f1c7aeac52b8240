"""Predicts which checks a run would not pass, from the assets that ran on the copy and from the last run."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from assets.prompts import check_prompt_counts, read_prompt_counts
from rbr_dagster.run.staleness import StaleReason
from resources.pages.check_results import UNDECIDED
from resources.store import Store

PROMPT_COUNTS = dg.AssetKey("prompt_counts")


@dataclass(frozen=True)
class PlannedProblem:
    """A check that a run would not pass, or may not pass.

    Attributes:
        asset: Name of the asset.
        check: Name of the check.
        stops: True if the check stops the run; False if it warns.
        certain: True if the run will not pass the check; False if that depends on content that is not known yet.
        text: What is wrong, in words.
    """

    asset: str
    check: str
    stops: bool
    certain: bool
    text: str


def problems_on_copy(asset: dg.AssetKey, results: Sequence[dg.AssetCheckResult]) -> Iterator[PlannedProblem]:
    """Yields the checks that failed when an asset ran on the copy with the inputs that a run would use."""
    for result in results:
        if not result.passed:
            yield _problem(asset, result, certain=True)


def problems_of_counts(store: Store, uncounted: Collection[str]) -> Iterator[PlannedProblem]:
    """Yields the checks of the prompt counts that the prompts with a known category do not pass.

    Args:
        store: The copy.
        uncounted: Ids of the prompts whose category the grader has yet to find.
    """
    quarantined = set(store.read("quarantined_prompts")["prompt_id"]) - set(uncounted)
    for result in check_prompt_counts(read_prompt_counts(store, without=uncounted), len(quarantined)):
        if not result.passed:
            note = (
                " 1 prompt has no category yet and is not counted."
                if len(uncounted) == 1
                else f" {len(uncounted)} prompts have no category yet and are not counted."
            )
            yield _problem(PROMPT_COUNTS, result, certain=False, note=note)


def problems_of_last_run(asset: dg.AssetKey, reasons: Sequence[StaleReason]) -> Iterator[PlannedProblem]:
    """Yields the blocking checks that an asset did not pass in the last run, if it would be made from the same inputs.

    Args:
        asset: The asset.
        reasons: All reasons why the asset is stale.
    """
    if all(reason.check is not None for reason in reasons):
        for reason in reasons:
            yield PlannedProblem(asset.to_user_string(), reason.check or "", True, False, reason.text)


def _problem(asset: dg.AssetKey, result: dg.AssetCheckResult, *, certain: bool, note: str = "") -> PlannedProblem:
    name, words = result.check_name or "", result.description or ""
    outcome = "be undecided" if words.startswith(UNDECIDED) else "fail"
    text = f"its check {name} {'will' if certain else 'may'} {outcome}: {words.removeprefix(UNDECIDED)}{note}"
    stops = result.severity == dg.AssetCheckSeverity.ERROR
    return PlannedProblem(asset.to_user_string(), name, stops, certain, text)
