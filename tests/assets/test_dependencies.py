"""Provenance is only as good as the dependencies that are declared: no asset may read anything else.

An undeclared input would be a hidden one: its edit would leave the asset looking fresh.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.agreement import category_agreement
from assets.class_agreement import class_agreement
from assets.evaluation import evaluation_completions, evaluation_grades, evaluation_metrics
from assets.grader_attacks import attacked_classes, grader_attacks
from assets.report import safety_report
from assets.reward_audit import reward_audit
from assets.training import rl_checkpoints, sft_checkpoint
from resources.store import Store
from tests.assets.conftest import UP_TO_THE_REWARD
from tests.assets.evaluated import REPLIES, fill_test_prompts, judged
from tests.assets.project import ROOT, Project, TrainingWanted

pytestmark = pytest.mark.slow

ASSETS = (
    *UP_TO_THE_REWARD,
    category_agreement,
    class_agreement,
    grader_attacks,
    attacked_classes,
    reward_audit,
    sft_checkpoint,
    *rl_checkpoints.values(),
    *evaluation_completions.values(),
    evaluation_grades,
    evaluation_metrics,
    safety_report,
)
CELLS = {"completions", "grades", "scores"}
TRAINED = {"sft_checkpoint", *(f"rl_checkpoint/{variant}" for variant in rl_checkpoints)}
OWNERS = {
    "fit_certificates": {"fitted_weights"},
    "reward_error_rates": {"reward_audit"},
    "wrongly_ordered_pairs": {"fitted_weights"},
    "quarantined_prompts": {"labeled_prompts"},
    "evaluation_completions": {f"evaluation_completions/{variant}" for variant in evaluation_completions},
    "checkpoints": TRAINED,
    "current_checkpoints": TRAINED,
}
"""Assets that write a table, where it is not the asset of the table's name."""

NO_CONTENT = {
    # Which MLflow run the figures are logged to.
    ("evaluation_metrics", "checkpoints"),
    ("evaluation_metrics", "current_checkpoints"),
    # The asset's own table, which it reads back for its data version.
    ("reward_audit", "reward_error_rates"),
}
"""Reads that are no inputs."""


class WatchedStore(Store):
    """A store that notes on disk what is read, since Dagster copies resources."""

    notes: str

    def read(self, table: str, sql_where: str = "", params: Sequence[object] = ()) -> pl.DataFrame:
        with Path(self.notes).open("a", encoding="utf-8") as notes:
            notes.write(f"{params[0] if table == 'snapshots' else table}\n")
        return super().read(table, sql_where, params)


class WatchedProject(Project):
    """A project whose store notes what is read."""

    @property
    def resources(self) -> dict:
        store = WatchedStore(path=str(self.root / "state" / "rbr.duckdb"), notes=str(self.root / "notes.txt"))
        return {**super().resources, "store": store}


@pytest.fixture(scope="module")
def watched(_filled: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _filled.copy(tmp_path_factory.mktemp("watched"))
    fill_test_prompts(project)
    judged(project, REPLIES)
    # Every checkpoint is the policy before training.
    fingerprint = project.store.snapshot("models/policy")["fingerprint"]
    rows = []
    for variant in ("sft", *rl_checkpoints):
        directory = project.artifacts.checkpoint(variant, "0")
        directory.parent.mkdir(parents=True)
        directory.symlink_to(ROOT / "rbr_sandbox" / "models" / "policy")
        path = project.artifacts.relative(directory)
        rows.append({"variant": variant, "checkpoint": "0", "path": path, "fingerprint": fingerprint})
    project.fill("current_checkpoints", rows)
    project.fill("checkpoints", rows)
    return project


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.key.to_user_string())
def test_an_asset_reads_its_dependencies_and_nothing_else(
    asset: dg.AssetsDefinition, watched: Project, tmp_path: Path
) -> None:
    copied = watched.copy(tmp_path / "project")
    project = WatchedProject(copied.root, copied.trainer)
    with suppress(TrainingWanted):
        project.make(asset)
    name = asset.key.to_user_string()
    declared = {key.to_user_string() for key in asset.dependency_keys}
    read = set((project.root / "notes.txt").read_text(encoding="utf-8").split()) - CELLS
    # An asset reads its own table back, for its data version.
    hidden = {
        source
        for source in read - {name.split("/")[0]}
        if not OWNERS.get(source, {source}) & declared and (name, source) not in NO_CONTENT
    }
    assert hidden == set()
    snapshots = {name for name in declared if name.split("/")[0] in ("rulebook", "profile", "data")}
    assert snapshots - read == set(), "an edit of these would make the asset stale for nothing"
