"""Reads which assets have not passed their blocking checks.

Dagster stores an asset before it evaluates the checks of the asset, and it stops only the run in which a blocking check
fails. Here, the check stays a gate in every later run: the asset is stale until a later materialization passes.
"""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from rbr_dagster.run.staleness import AssetGraph, StaleReason
from resources.pages.check_results import UNDECIDED

_NOT_EVALUATED = "It was not evaluated for the latest content of the asset."


def unpassed_checks(instance: dg.DagsterInstance, graph: AssetGraph) -> dict[dg.AssetKey, list[StaleReason]]:
    """Returns the blocking checks that the latest materialization of each asset has not passed.

    A check has not passed if it failed with the severity ERROR, or if it was not evaluated for the latest
    materialization. The latter happens if a run is killed between the two, or if the check is new.

    Args:
        instance: Records the materializations and the results of the checks.
        graph: The assets.

    Returns:
        One reason per check, by asset. An asset that passed every check, or that was never materialized, is left out.
    """
    keys = [dg.AssetCheckKey(asset, name) for asset, names in graph.blocking_checks.items() for name in names]
    evaluations = _latest_evaluations(instance, keys)
    unpassed: dict[dg.AssetKey, list[StaleReason]] = {}
    for record in instance.get_asset_records(list(graph.blocking_checks)):
        asset, materialization = record.asset_entry.asset_key, record.asset_entry.last_materialization_record
        if materialization is not None:
            reasons = list(_reasons(materialization, evaluations, graph.blocking_checks[asset], asset))
            if reasons:
                unpassed[asset] = reasons
    return unpassed


def describe_failure(check: str, description: str | None) -> str:
    """Returns what happened to a check that did not pass, in words.

    Args:
        check: Name of the check.
        description: What the result of the check says; it begins with `UNDECIDED` if there was too little data.

    Returns:
        For example ``check weights_are_optimal failed: The largest gap is 0.1.``
    """
    words = description or ""
    if words.startswith(UNDECIDED):
        return f"check {check} is undecided: {words.removeprefix(UNDECIDED)}"
    return f"check {check} failed: {words}" if words else f"check {check} failed"


def _latest_evaluations(
    instance: dg.DagsterInstance, keys: list[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]:
    """Returns the latest result of each check. A check without a result is left out."""
    storage = instance.event_log_storage
    # One query for all checks.
    records = dict(storage.get_latest_asset_check_execution_by_key(keys))
    for key, record in list(records.items()):
        # A run plans its checks at the start. If it ended before the evaluation, the result before it is the latest.
        if record.status == AssetCheckExecutionRecordStatus.PLANNED:
            del records[key]
            for earlier in storage.get_asset_check_execution_history(
                key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
            ):
                records[key] = earlier
    return records


def _reasons(
    materialization: dg.EventLogRecord,
    evaluations: Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord],
    checks: tuple[str, ...],
    asset: dg.AssetKey,
) -> Iterator[StaleReason]:
    for name in checks:
        record = evaluations.get(dg.AssetCheckKey(asset, name))
        if record is None or record.evaluation is None or not _is_about(record, materialization):
            yield StaleReason(f"its {describe_failure(name, UNDECIDED + _NOT_EVALUATED)}", check=name)
        elif not record.evaluation.passed and record.evaluation.severity == dg.AssetCheckSeverity.ERROR:
            yield StaleReason(f"its {describe_failure(name, record.evaluation.description)}", check=name)


def _is_about(record: AssetCheckExecutionRecord, materialization: dg.EventLogRecord) -> bool:
    """Returns True if a check was evaluated for this materialization. A run materializes an asset at most once."""
    target = record.evaluation.target_materialization_data if record.evaluation is not None else None
    same_run = record.run_id == materialization.run_id
    return same_run or (target is not None and target.storage_id == materialization.storage_id)
