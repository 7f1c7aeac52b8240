"""A complete small project in one directory: profile, rulebook, data files, store and models."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.snapshots import data_snapshots, model_snapshots, profile_snapshots, rulebook_snapshots
from rbr.conversation import prompt_id
from resources.artifacts import Artifacts
from resources.asset_testing import fill_table
from resources.models import Models
from resources.progress import Progress
from resources.sources import Sources
from resources.store import Store
from resources.tracking import Tracking
from resources.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
SMALL = Path(__file__).parent / "small"


class TrainingWanted(Exception):
    """Raised by `AskedTrainer`; holds the job that a checkpoint asset passed to the trainer."""

    def __init__(self, job: Any) -> None:
        super().__init__(job.name)
        self.job = job


class AskedTrainer(Trainer):
    """A trainer that raises `TrainingWanted` instead of training for minutes."""

    def train(self, context: dg.AssetExecutionContext, job: Any) -> Any:
        raise TrainingWanted(job)


@dataclass(frozen=True)
class Project:
    """Calls assets as functions on the files and the store below one directory.

    Attributes:
        root: Directory of the project.
        trainer: The trainer resource.
    """

    root: Path
    trainer: Trainer

    @classmethod
    def create(
        cls, root: Path, profile: Path = SMALL / "profile.yaml", rulebook: Path = SMALL / "rulebook"
    ) -> "Project":
        """Copies profile, rulebook and small data files to a directory, with the shipped profiles for `extends`."""
        shutil.copytree(rulebook, root / "rulebook")
        shutil.copytree(ROOT / "profiles", root / "profiles")
        for data in SMALL.glob("*.jsonl"):
            shutil.copy(data, root / data.name)
        text = profile.read_text(encoding="utf-8").replace("HERE", str(root))
        (root / "profiles" / "current.yaml").write_text(text, encoding="utf-8")
        return cls(root, AskedTrainer(directory=str(root / "state" / "trainer")))

    def copy(self, root: Path) -> "Project":
        """Copies the project to another directory."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        profile = root / "profiles" / "current.yaml"
        profile.write_text(profile.read_text(encoding="utf-8").replace(str(self.root), str(root)), encoding="utf-8")
        return Project(root, AskedTrainer(directory=str(root / "state" / "trainer")))

    @property
    def profile(self) -> Path:
        """The profile in use."""
        return self.root / "profiles" / "current.yaml"

    @property
    def rulebook(self) -> Path:
        """The directory of the rulebook in use."""
        return self.root / "rulebook"

    @property
    def resources(self) -> dict[str, Any]:
        """The resources by name, as the assets ask for them."""
        state = str(self.root / "state")
        return {
            "sources": Sources(profile=str(self.profile), rulebook=str(self.rulebook)),
            "store": Store(path=f"{state}/rbr.duckdb"),
            "models": Models(),
            "progress": Progress(directory=f"{state}/progress"),
            "artifacts": Artifacts(home=state),
            "trainer": self.trainer,
            "tracking": Tracking(home=state),
        }

    @property
    def store(self) -> Store:
        """The store."""
        return self.resources["store"]

    @property
    def artifacts(self) -> Artifacts:
        """Paths of the written files."""
        return self.resources["artifacts"]

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the only occurrence of `old` in a file of the project."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def snapshots(self, *names: str) -> dict[str, str]:
        """Makes the named snapshots, or all of them, and returns their data versions by name."""
        versions: dict[str, str] = {}
        for group in (rulebook_snapshots, data_snapshots, profile_snapshots, model_snapshots):
            keys = [key for key in group.keys if not names or key.to_user_string() in names]
            if keys:
                results = self._call(group.subset_for(set(keys), selected_asset_check_keys=None))
                versions |= {result.asset_key.to_user_string(): result.data_version.value for result in results}
        return versions

    def make(self, asset: dg.AssetsDefinition) -> dg.MaterializeResult:
        """Calls an asset with the resources that it asks for."""
        return self._call(asset)

    def fill(self, table: str, rows: list[Mapping[str, object]]) -> pl.DataFrame:
        """Replaces the content of a table; columns that are left out are null."""
        return fill_table(self.store, table, rows)

    def _call(self, asset: dg.AssetsDefinition) -> Any:
        resources = self.resources
        needed = {name: resources[name] for name in asset.required_resource_keys & set(resources)}
        with dg.build_asset_context(instance=_instance()) as context:
            result = asset(context, **needed)
            return result if isinstance(result, dg.MaterializeResult) else list(result)


@cache
def _instance() -> dg.DagsterInstance:
    # Shared by all calls: to make an instance takes a tenth of a second.
    return dg.DagsterInstance.ephemeral()


def user(text: str) -> list[dict[str, str]]:
    """Returns a prompt of one turn."""
    return [{"role": "user", "content": text}]


def name_of(text: str) -> str:
    """Returns the id of a prompt of one turn."""
    return prompt_id(user(text))


def as_messages(text: str) -> str:
    """Returns a prompt of one turn as JSON, as the tables hold it."""
    return json.dumps(user(text))


def version(result: dg.MaterializeResult) -> str:
    """Returns the data version of an asset's result."""
    assert result.data_version is not None
    return result.data_version.value


def check(result: dg.MaterializeResult, name: str) -> dg.AssetCheckResult:
    """Returns the result of one of the asset's checks."""
    (result_of_check,) = [outcome for outcome in result.check_results or [] if outcome.check_name == name]
    return result_of_check
