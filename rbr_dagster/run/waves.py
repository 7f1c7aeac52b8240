"""Runs one wave: the assets that are stale and have no stale ancestor, as one ordinary Dagster run."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rbr_dagster.definitions import EVERYTHING, build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.run.gates import describe_failure
from rbr_dagster.run.staleness import AssetGraph
from resources.models import MODEL_TAGS
from resources.pages.asset_pages import WARNING
from resources.state import lifeline

CONCURRENT_STEPS = 2
# Steps are forked from a process that has already imported these modules. Each import takes seconds.
_PRELOADED = [
    "rbr_dagster.run.waves",
    "rbr.models.policy",
    "rbr.grading.transformers",
    "rbr.models.reward_model",
    "transformers.models.llama.modeling_llama",
    "mlflow.tracking",
]
# Without this setting, Dagster logs every event to the console. The driver prints what users need.
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_IN_PROCESS = {"execution": {"config": {"in_process": {}}}}
_FORKED = {
    "execution": {
        "config": {
            "multiprocess": {
                "max_concurrent": CONCURRENT_STEPS,
                "start_method": {"forkserver": {"preload_modules": _PRELOADED}},
            }
        }
    }
}
_TAGS = {"rbr/driver": "rbr run"}
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_INPUT_ERROR, _SERVER_AWAY = "InputError", "ServerAway"


@dataclass(frozen=True)
class AssetFailure:
    """The reason why an asset could not be made.

    Attributes:
        asset: Name of the asset.
        message: What went wrong.
        is_input: True if a file or setting of the user is wrong.
        is_explained: True if the message says everything that the user needs.
    """

    asset: str
    message: str
    is_input: bool
    is_explained: bool = False


@dataclass(frozen=True)
class WaveResult:
    """The outcome of a wave.

    Attributes:
        run_id: Id of the Dagster run.
        seconds: Wall time of each asset that was made.
        failures: Failed blocking checks and failed assets. Empty if the wave succeeded.
        warnings: Failed checks that do not block, and the warnings of assets; one line with the asset and the words for
            each.
    """

    run_id: str
    seconds: Mapping[str, float]
    failures: Sequence[AssetFailure]
    warnings: Sequence[str]


def asset_job() -> dg.JobDefinition:
    """Builds the job of all assets. Each forked step calls this function again.

    The environment comes from the variables that the driver has set. A forked step ends when the driver ends, even
    if the driver is killed.
    """
    driver = os.environ.get(lifeline.DRIVER_PID, "")
    if driver.isdigit() and int(driver) != os.getpid():
        lifeline.watch(int(driver))
    return build_definitions(Environment.from_variables()).resolve_job_def(EVERYTHING)


def run_wave(keys: Sequence[dg.AssetKey], graph: AssetGraph, instance: dg.DagsterInstance) -> WaveResult:
    """Runs assets in one Dagster run.

    If one of the assets runs a model, the steps run in forked processes, two at a time. Otherwise the steps run in this
    process.

    Args:
        keys: The assets to run.
        graph: A graph that contains the assets.
        instance: Records the run.
    """
    runs_models = any(graph.specs[key].tags.items() >= MODEL_TAGS.items() for key in keys)
    with dg.execute_job(
        dg.reconstructable(asset_job),
        instance=instance,
        run_config=_SILENT | (_FORKED if runs_models else _IN_PROCESS),
        tags=_TAGS,
        asset_selection=list(keys),
    ) as result:
        return WaveResult(
            run_id=result.run_id,
            seconds=_seconds(result.all_events),
            failures=_failures(result.all_events),
            warnings=_warnings(result.all_events),
        )


def cancel_abandoned_runs(instance: dg.DagsterInstance) -> None:
    """Cancels the runs of drivers that were killed. Dagster would show them as running forever.

    Args:
        instance: Records the runs. The caller holds the lease on its state directory, so no run is in progress.
    """
    for run in instance.get_runs(dg.RunsFilter(tags=_TAGS, statuses=_UNFINISHED)):
        instance.report_run_canceled(run, "The process that drove this run was killed.")


def _seconds(events: Iterable[dg.DagsterEvent]) -> dict[str, float]:
    assets_by_step: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for event in events:
        if event.is_step_materialization and event.asset_key is not None:
            assets_by_step.setdefault(event.step_key or "", []).append(event.asset_key.to_user_string())
        elif event.is_step_success:
            for asset in assets_by_step.get(event.step_key or "", []):
                seconds[asset] = event.step_success_data.duration_ms / 1000
    return seconds


def _failures(events: Sequence[dg.DagsterEvent]) -> list[AssetFailure]:
    failed_checks = [
        AssetFailure(
            check.asset_key.to_user_string(),
            f"the {describe_failure(check.check_name, check.description)}",
            is_input=False,
        )
        for check in _checks(events)
        if check.blocking and check.severity == dg.AssetCheckSeverity.ERROR and not check.passed
    ]
    failed_steps = [
        _step_failure(event.step_key or "", event.event_specific_data)
        for event in events
        if event.event_type_value == "STEP_FAILURE" and not _is_check_failure(event.event_specific_data)
    ]
    if failed_checks or failed_steps:
        return [*failed_checks, *failed_steps]
    if any(event.event_type_value == "PIPELINE_FAILURE" for event in events):
        return [AssetFailure("the run", "the run failed; its events say why", is_input=False)]
    return []


def _warnings(events: Sequence[dg.DagsterEvent]) -> list[str]:
    of_assets = [
        f"{event.asset_key.to_user_string()}: {warning.value}"
        for event in events
        if event.is_step_materialization and event.asset_key is not None
        if (warning := event.step_materialization_data.materialization.metadata.get(WARNING)) is not None
    ]
    return of_assets + [
        f"{check.asset_key.to_user_string()}: the {describe_failure(check.check_name, check.description)}"
        for check in _checks(events)
        if not check.passed and not (check.blocking and check.severity == dg.AssetCheckSeverity.ERROR)
    ]


def _checks(events: Sequence[dg.DagsterEvent]) -> list[Any]:
    return [event.event_specific_data for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"]


def _is_check_failure(data: Any) -> bool:
    """Returns True if a step failed only because Dagster ends the step after a failed blocking check."""
    return data.error is not None and data.error.cls_name == "DagsterAssetCheckFailedError"


def _step_failure(step: str, data: Any) -> AssetFailure:
    asset = step.replace("__", "/")
    if data.user_failure_data is not None and data.user_failure_data.description:
        return AssetFailure(asset, data.user_failure_data.description, is_input=False)
    # The innermost error says what happened.
    error = data.error
    while error.cause is not None:
        error = error.cause
    error_type, _, message = error.message.strip().partition(": ")
    if error.cls_name in (_INPUT_ERROR, _SERVER_AWAY):
        return AssetFailure(asset, message, is_input=error.cls_name == _INPUT_ERROR, is_explained=True)
    return AssetFailure(asset, f"{error_type.rpartition('.')[2]}: {message}", is_input=False)
