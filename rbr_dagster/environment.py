"""The state directory, profile and rulebook of one pipeline.

Only this module reads the environment variables `RBR_HOME`, `RBR_PROFILE` and `RBR_RULEBOOK`.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.errors import InputError

if TYPE_CHECKING:
    import dagster as dg

    from resources.artifacts import Artifacts
    from resources.progress import Progress
    from resources.sources import Sources
    from resources.store import Store
    from resources.tracking import Tracking
    from resources.trainer import Trainer

HOME_VARIABLE = "RBR_HOME"
PROFILE_VARIABLE = "RBR_PROFILE"
RULEBOOK_VARIABLE = "RBR_RULEBOOK"

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = ROOT / "workspace.yaml"
"""Dagster's workspace file. A clone of the repository contains it; an installed wheel does not."""

# No usage reports: the network of a safety team may forbid them. Without the second setting, the UI asks for an email
# address.
_INSTANCE_SETTINGS = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"

_PIPELINE_PACKAGES = ("dagster", "duckdb", "mlflow", "pandera", "matplotlib")


@dataclass(frozen=True)
class Environment:
    """The paths of one pipeline. Its properties are the Dagster resources that use these paths.

    Attributes:
        home: State directory.
        profile: YAML file of the profile.
        rulebook: Directory of the rulebook.
    """

    home: Path
    profile: Path
    rulebook: Path

    @classmethod
    def from_variables(cls, profile: str | None = None, rulebook: str | None = None) -> "Environment":
        """Reads the environment variables. Arguments have precedence over them.

        A relative path that does not exist in the working directory is looked up in the clone of the repository.

        Args:
            profile: Name or file of a profile. Default: `RBR_PROFILE`, else ``sandbox``.
            rulebook: Directory of a rulebook. Default: `RBR_RULEBOOK`, else ``rulebook``, else the rulebook that is
                installed with the package.
        """
        return cls(
            home=Path(os.environ.get(HOME_VARIABLE) or "var"),
            profile=_profile_file(profile or os.environ.get(PROFILE_VARIABLE) or "sandbox"),
            rulebook=_rulebook_directory(rulebook or os.environ.get(RULEBOOK_VARIABLE)),
        )

    def absolute(self) -> "Environment":
        """Returns the same environment with absolute paths."""
        return Environment(self.home.absolute(), self.profile.absolute(), self.rulebook.absolute())

    @property
    def dagster_home(self) -> Path:
        """Directory of the Dagster instance."""
        from resources.state.state_format import DAGSTER_DIRECTORY

        return self.home / DAGSTER_DIRECTORY

    @property
    def run_log(self) -> Path:
        """Log file for the output of libraries and workers during `rbr run`."""
        return self.home / "logs" / "run.log"

    @property
    def store(self) -> "Store":
        """The DuckDB tables."""
        from resources.state.state_format import STORE_FILE
        from resources.store import Store

        return Store(path=str(self.home / STORE_FILE))

    @property
    def sources(self) -> "Sources":
        """The files that a user edits."""
        from resources.sources import Sources

        return Sources(profile=str(self.profile), rulebook=str(self.rulebook))

    @property
    def artifacts(self) -> "Artifacts":
        """The files that the pipeline writes: checkpoints, the reward, the report."""
        from resources.artifacts import Artifacts

        return Artifacts(home=str(self.home))

    @property
    def progress(self) -> "Progress":
        """The progress files of long assets."""
        from resources.progress import Progress

        return Progress(directory=str(self.home / "progress"))

    @property
    def trainer(self) -> "Trainer":
        """The training processes."""
        from resources.trainer import Trainer

        return Trainer(directory=str(self.home / "trainer"))

    @property
    def tracking(self) -> "Tracking":
        """The MLflow experiment."""
        from resources.tracking import Tracking

        return Tracking(home=str(self.home))

    def open_instance(self) -> "dg.DagsterInstance":
        """Opens the Dagster instance, to be used as a context manager. Call `prepare` first."""
        import dagster as dg

        return dg.DagsterInstance.from_config(str(self.dagster_home.absolute()))

    def variables(self) -> dict[str, str]:
        """Returns the environment variables that make another process work on the same pipeline."""
        paths = self.absolute()
        return {
            HOME_VARIABLE: str(paths.home),
            PROFILE_VARIABLE: str(paths.profile),
            RULEBOOK_VARIABLE: str(paths.rulebook),
            "DAGSTER_HOME": str(paths.dagster_home),
            # With two threads per process, any other load on the machine makes a training step ten times slower.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }

    def check_state(self) -> None:
        """Checks that this version can read the state directory. Writes nothing.

        Raises:
            InputError: Another version of rbr-dagster has written the state directory.
        """
        from resources.state.state_format import check_state

        check_state(self.home)

    def prepare(self) -> None:
        """Creates the state directory and the settings of its Dagster instance. Does not change existing settings.

        Raises:
            InputError: Another version of rbr-dagster has written the state directory. It is not changed then.
        """
        from resources.state.state_format import mark_state

        mark_state(self.home)
        self.dagster_home.mkdir(parents=True, exist_ok=True)
        settings = self.dagster_home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(_INSTANCE_SETTINGS, encoding="utf-8")

    def check_profile(self) -> None:
        """Checks that the profile exists.

        Raises:
            InputError: The file does not exist. The hint lists the known profiles.
        """
        if not self.profile.is_file():
            known = sorted({file.stem for directory in _profile_directories() for file in directory.glob("*.yaml")})
            raise InputError(
                "the profile does not exist",
                where=str(self.profile),
                hint=f"Use one of {', '.join(known)}, or give the path of a YAML file.",
            )


def require_pipeline(command: str) -> None:
    """Checks that the pipeline is installed. An installed wheel does not contain the pipeline.

    Args:
        command: Name of the command that needs the pipeline.

    Raises:
        InputError: The package does not run from a clone of the repository, or a package of the pipeline, such as
            Dagster, is not installed.
    """
    missing = [name for name in _PIPELINE_PACKAGES if importlib.util.find_spec(name) is None]
    if missing or not WORKSPACE.is_file():
        raise InputError(
            f"`rbr {command}` needs the pipeline: clone the repository and run `make run` there, "
            "or run `pip install -e '.[pipeline,train]'` in the clone"
        )


def _profile_file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    return _in_working_directory_or_clone(Path("profiles") / f"{name}.yaml")


def _rulebook_directory(path: str | None) -> Path:
    if path is None and not Path("rulebook").exists():
        from rbr.rulebook import default_rulebook

        return default_rulebook()
    return _in_working_directory_or_clone(Path(path or "rulebook"))


def _profile_directories() -> list[Path]:
    return [Path("profiles"), ROOT / "profiles"]


def _in_working_directory_or_clone(path: Path) -> Path:
    """Returns the path in the clone if the file exists only there; otherwise the path unchanged."""
    return path if path.exists() or not (ROOT / path).exists() else ROOT / path
