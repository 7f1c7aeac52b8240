"""The Dagster code location: builds the definitions from assets, job, sensor, schedule and resources."""

import dagster as dg

from assets import (
    agreement,
    class_agreement,
    comparisons,
    evaluation,
    grader_attacks,
    prompts,
    report,
    reward,
    reward_audit,
    snapshots,
    training,
)
from rbr_dagster.automation import build_automation
from rbr_dagster.environment import Environment
from rbr_dagster.run.staleness import AssetGraph
from resources.models import Models

EVERYTHING = "everything"
"""Name of the job with all assets."""

MODULES = [
    snapshots,
    prompts,
    comparisons,
    agreement,
    grader_attacks,
    class_agreement,
    reward,
    reward_audit,
    training,
    evaluation,
    report,
]


def build_definitions(environment: Environment) -> dg.Definitions:
    """Builds the definitions for one state directory, profile and rulebook. Reads no file."""
    # Steps and servers may run in another working directory.
    environment = environment.absolute()
    # The sensor and the schedule call this lambda at each tick, when `definitions` is assigned.
    sensor, schedule = build_automation(lambda: AssetGraph.from_definitions(definitions), EVERYTHING)
    definitions = dg.Definitions(
        assets=[
            *dg.load_assets_from_modules(MODULES),
            *training.rl_checkpoints.values(),
            *evaluation.evaluation_completions.values(),
        ],
        sensors=[sensor],
        schedules=[schedule],
        jobs=[
            dg.define_asset_job(
                EVERYTHING,
                selection=dg.AssetSelection.all(),
                description="All assets. `rbr run`, the sensor and the schedule select the stale assets of this job.",
                executor_def=dg.multi_or_in_process_executor,
            )
        ],
        # Most steps are short, and the start of a process would take longer than the step.
        executor=dg.in_process_executor,
        resources={
            "store": environment.store,
            "sources": environment.sources,
            "artifacts": environment.artifacts,
            "models": Models(),
            "progress": environment.progress,
            "trainer": environment.trainer,
            "tracking": environment.tracking,
        },
    )
    return definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Returns the definitions that `workspace.yaml` loads, for the paths that the environment variables name."""
    return build_definitions(Environment.from_variables())
