"""One wave: assets that can be made now, as one ordinary Dagster run."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rbr_dagster.definitions import EVERYTHING, defs
from resources.asset_tags import MODEL_WORK
from resources.trainer_process import lifeline

CONCURRENT_STEPS = 2
# Steps are forked from one process that has these loaded: their imports, seconds each, are paid once.
_PRELOADED = [
    "rbr_dagster.run.waves",
    "rbr.models.policy",
    "rbr.grading.transformers",
    "rbr.models.reward_model",
    "transformers.models.llama.modeling_llama",
    "mlflow.tracking",
]
# Dagster logs every event to the console; the driver shows what matters by itself.
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
_INPUT_ERRORS = {"InputError"}


@dataclass(frozen=True)
class Failure:
    """Why an asset could not be made.

    Attributes:
        asset: Its name.
        message: The reason, for people.
        is_input: Whether an input is at fault and the message says all there is to know.
    """

    asset: str
    message: str
    is_input: bool


@dataclass(frozen=True)
class WaveResult:
    """What came of a wave.

    Attributes:
        run_id: Its Dagster run.
        seconds: Wall time by asset made.
        failures: Empty after a good wave; failed blocking checks count.
        warnings: Failed checks that block nothing, by asset and check.
    """

    run_id: str
    seconds: Mapping[str, float]
    failures: Sequence[Failure]
    warnings: Sequence[str]


def asset_job() -> dg.JobDefinition:
    """The job of all assets, as each process of a parallel wave opens it.

    Such a process then ends with the driver, however the driver ended.
    """
    driver = os.environ.get(lifeline.DRIVER_PID, "")
    if driver.isdigit() and int(driver) != os.getpid():
        lifeline.watch(int(driver))
    return defs.resolve_job_def(EVERYTHING)


def make(keys: Sequence[dg.AssetKey], instance: dg.DagsterInstance) -> WaveResult:
    """Makes some assets in one run.

    Assets that run models get processes of their own, two at a time; the rest runs in this one.

    Args:
        keys: The assets.
        instance: Where the run is recorded.
    """
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    runs_models = any(specs[key].tags.items() >= MODEL_WORK.items() for key in keys)
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


def close_abandoned(instance: dg.DagsterInstance) -> None:
    """Ends the runs of drivers that were killed, which Dagster would show as running for ever.

    Args:
        instance: Where they are recorded; the caller holds the lease, so that none of them is at work.
    """
    for run in instance.get_runs(dg.RunsFilter(tags=_TAGS, statuses=_UNFINISHED)):
        instance.report_run_canceled(run, "The process that drove this run was killed.")


def _seconds(events: Iterable[dg.DagsterEvent]) -> dict[str, float]:
    made: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for event in events:
        if event.is_step_materialization and event.asset_key is not None:
            made.setdefault(event.step_key or "", []).append(event.asset_key.to_user_string())
        elif event.is_step_success:
            for asset in made.get(event.step_key or "", []):
                seconds[asset] = event.step_success_data.duration_ms / 1000
    return seconds


def _failures(events: Sequence[dg.DagsterEvent]) -> list[Failure]:
    failures = [
        _failure(event.step_key or "", event.event_specific_data)
        for event in events
        if event.event_type_value == "STEP_FAILURE"
    ]
    failed_checks = [
        Failure(check.asset_key.to_user_string(), f"the check {check.check_name} failed", is_input=False)
        for check in _checks(events)
        if check.blocking and check.severity == dg.AssetCheckSeverity.ERROR and not check.passed
    ]
    if not failures and not failed_checks and any(event.event_type_value == "PIPELINE_FAILURE" for event in events):
        return [Failure("the run", "it failed; its events say why", is_input=False)]
    return failed_checks or failures


def _warnings(events: Sequence[dg.DagsterEvent]) -> list[str]:
    return [
        f"{check.asset_key.to_user_string()}: the check {check.check_name} failed"
        for check in _checks(events)
        if not check.passed and check.severity == dg.AssetCheckSeverity.WARN
    ]


def _checks(events: Sequence[dg.DagsterEvent]) -> list[Any]:
    return [event.event_specific_data for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"]


def _failure(step: str, data: Any) -> Failure:
    asset = step.replace("__", "/")
    if data.user_failure_data is not None and data.user_failure_data.description:
        return Failure(asset, data.user_failure_data.description, is_input=False)
    error = data.error
    while error.cause is not None:
        error = error.cause
    kind, _, message = error.message.strip().partition(": ")
    is_input = error.cls_name in _INPUT_ERRORS
    return Failure(asset, message if is_input else f"{kind.rpartition('.')[2]}: {message}", is_input)
