"""The Dagster code location; it only puts the parts together."""

import dagster as dg

from assets import agreement, comparisons, evaluation, prompts, report, reward, snapshots, training
from rbr_dagster.automation import automation
from rbr_dagster.environment import Environment, from_environment
from resources.artifacts import Artifacts
from resources.models import Models
from resources.progress import Progress
from resources.sources import Sources
from resources.store import Store
from resources.tracking import Tracking
from resources.trainer import Trainer

EVERYTHING = "everything"
"""Name of the job of all assets."""

MODULES = [snapshots, prompts, comparisons, agreement, reward, training, evaluation, report]


def resources(environment: Environment) -> dict[str, dg.ConfigurableResource]:
    """The outside world of one state directory, one profile and one rulebook."""
    home = str(environment.home)
    return {
        "store": Store(path=f"{home}/rbr.duckdb"),
        "sources": Sources(profile=str(environment.profile), rulebook=str(environment.rulebook)),
        "artifacts": Artifacts(home=home),
        "models": Models(),
        "progress": Progress(directory=f"{home}/progress"),
        "trainer": Trainer(directory=f"{home}/trainer"),
        "tracking": Tracking(home=home),
    }


_sensor, _schedule = automation(lambda: defs, EVERYTHING)

defs = dg.Definitions(
    assets=[
        *dg.load_assets_from_modules(MODULES),
        *training.rl_checkpoints.values(),
        *evaluation.evaluation_completions.values(),
    ],
    sensors=[_sensor],
    schedules=[_schedule],
    jobs=[
        dg.define_asset_job(
            EVERYTHING,
            selection=dg.AssetSelection.all(),
            description="All assets at once; `rbr run` selects from it what is stale.",
            executor_def=dg.multi_or_in_process_executor,
        )
    ],
    # A process for each step costs seconds, and most steps are short.
    executor=dg.in_process_executor,
    resources=resources(from_environment()),
)
