"""Where one pipeline keeps its state and finds its inputs: the one place that knows the environment variables."""

import os
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import InputError

HOME = "RBR_HOME"
PROFILE = "RBR_PROFILE"
RULEBOOK = "RBR_RULEBOOK"

ROOT = Path(__file__).resolve().parent.parent

# Usage reports go out over the network, which a safety team's machine may not allow; `nux` asks for an address.
_INSTANCE = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


@dataclass(frozen=True)
class Environment:
    """One pipeline's places.

    Attributes:
        home: State directory.
        profile: YAML file of the profile.
        rulebook: Directory of the rulebook.
    """

    home: Path
    profile: Path
    rulebook: Path

    @property
    def dagster_home(self) -> Path:
        """Directory of the Dagster instance."""
        return self.home / "dagster"

    def variables(self) -> dict[str, str]:
        """Environment variables under which another process works on the same pipeline."""
        return {
            HOME: str(self.home.absolute()),
            PROFILE: str(self.profile.absolute()),
            RULEBOOK: str(self.rulebook.absolute()),
            "DAGSTER_HOME": str(self.dagster_home.absolute()),
            # Two threads a process, and any other load on the machine, make a training step ten times as long.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }

    def prepare(self) -> None:
        """Makes the state directory with the settings of its Dagster instance."""
        self.dagster_home.mkdir(parents=True, exist_ok=True)
        settings = self.dagster_home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(_INSTANCE, encoding="utf-8")


def from_environment(profile: str | None = None, rulebook: str | None = None) -> Environment:
    """The places that the environment variables name, or their defaults.

    Args:
        profile: Name or file that goes before `RBR_PROFILE`; the default is ``sandbox``.
        rulebook: Directory that goes before `RBR_RULEBOOK`; the default is ``rulebook``.
    """
    return Environment(
        home=Path(os.environ.get(HOME) or "var"),
        profile=_profile_file(profile or os.environ.get(PROFILE) or "sandbox"),
        rulebook=_found(Path(rulebook or os.environ.get(RULEBOOK) or "rulebook")),
    )


def check_profile(profile: Path) -> None:
    """Checks that the profile is there.

    Raises:
        InputError: It is not; the message names those that are.
    """
    if not profile.is_file():
        known = sorted({file.stem for directory in _profile_directories() for file in directory.glob("*.yaml")})
        raise InputError(
            "there is no such profile",
            where=str(profile),
            hint=f"Name one of {', '.join(known)}, or give the path of a YAML file.",
        )


def _profile_file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    return _found(Path("profiles") / f"{name}.yaml")


def _profile_directories() -> list[Path]:
    return [Path("profiles"), ROOT / "profiles"]


def _found(path: Path) -> Path:
    """A relative path as it is seen from the working directory, or else from the clone."""
    return path if path.exists() or not (ROOT / path).exists() else ROOT / path
