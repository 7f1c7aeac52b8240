"""A whole project in a directory of its own: profile, rulebook, data files, store and models."""

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
from resources.models import Models
from resources.progress import Progress
from resources.sources import Sources
from resources.store import Store
from resources.store.tables import TABLES
from resources.tracking import Tracking
from resources.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
SMALL = Path(__file__).parent / "small"


class TrainingWanted(Exception):
    """Carries the job that a checkpoint asset asked the trainer for."""

    def __init__(self, job: Any) -> None:
        super().__init__(job.name)
        self.job = job


class AskedTrainer(Trainer):
    """A trainer that says what it was asked for instead of spending minutes on it."""

    def train(self, context: dg.AssetExecutionContext, job: Any) -> Any:
        raise TrainingWanted(job)


@dataclass(frozen=True)
class Project:
    """Calls assets as functions on the files and the store below one directory.

    Attributes:
        root: The directory.
        trainer: What trains.
    """

    root: Path
    trainer: Trainer

    @classmethod
    def create(
        cls, root: Path, profile: Path = SMALL / "profile.yaml", rulebook: Path = SMALL / "rulebook"
    ) -> "Project":
        """Copies profile, rulebook and the small data files; `extends` finds the shipped profiles."""
        shutil.copytree(rulebook, root / "rulebook")
        shutil.copytree(ROOT / "profiles", root / "profiles")
        for data in SMALL.glob("*.jsonl"):
            shutil.copy(data, root / data.name)
        text = profile.read_text(encoding="utf-8").replace("HERE", str(root))
        (root / "profiles" / "current.yaml").write_text(text, encoding="utf-8")
        return cls(root, AskedTrainer(directory=str(root / "state" / "trainer")))

    def copy(self, root: Path) -> "Project":
        """The same project elsewhere."""
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
        """Resource by the name that assets know it by."""
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
        """Places of produced files."""
        return self.resources["artifacts"]

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the one place where `old` stands in a file of the project."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def snapshots(self, *names: str) -> dict[str, str]:
        """Takes the named snapshots, or all of them; returns data version by name."""
        versions: dict[str, str] = {}
        for group in (rulebook_snapshots, data_snapshots, profile_snapshots, model_snapshots):
            keys = [key for key in group.keys if not names or key.to_user_string() in names]
            if keys:
                results = self._call(group.subset_for(set(keys), selected_asset_check_keys=None))
                versions |= {result.asset_key.to_user_string(): result.data_version.value for result in results}
        return versions

    def make(self, asset: dg.AssetsDefinition) -> dg.MaterializeResult:
        """Calls one asset with the resources it asks for."""
        return self._call(asset)

    def fill(self, table: str, rows: list[Mapping[str, object]]) -> pl.DataFrame:
        """Makes hand-written rows the content of a table; columns that are left out are null."""
        dtypes = TABLES[table].dtypes
        frame = pl.DataFrame([{name: row.get(name) for name in dtypes} for row in rows], schema=dtypes)
        self.store.replace(table, frame)
        return frame

    def _call(self, asset: dg.AssetsDefinition) -> Any:
        resources = self.resources
        asked = {name: resources[name] for name in asset.required_resource_keys & set(resources)}
        with dg.build_asset_context(instance=_instance()) as context:
            result = asset(context, **asked)
            return result if isinstance(result, dg.MaterializeResult) else list(result)


@cache
def _instance() -> dg.DagsterInstance:
    # Every call would otherwise make one of its own, for a tenth of a second.
    return dg.DagsterInstance.ephemeral()


def user(text: str) -> list[dict[str, str]]:
    """A prompt of one turn."""
    return [{"role": "user", "content": text}]


def name_of(text: str) -> str:
    """Prompt id of a prompt of one turn."""
    return prompt_id(user(text))


def as_messages(text: str) -> str:
    """A prompt of one turn as the tables keep it."""
    return json.dumps(user(text))


def version(result: dg.MaterializeResult) -> str:
    """The data version an asset returned."""
    assert result.data_version is not None
    return result.data_version.value


def check(result: dg.MaterializeResult, name: str) -> dg.AssetCheckResult:
    """The result of one of the asset's checks."""
    (found,) = [outcome for outcome in result.check_results or [] if outcome.check_name == name]
    return found
