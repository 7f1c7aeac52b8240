"""Files the pipeline makes: checkpoints, reward artifacts, reports."""

from pathlib import Path

import dagster as dg


class Artifacts(dg.ConfigurableResource):
    """Places of produced files, all below one state directory.

    Checkpoints lie under the hash of everything they were made from, so a reverted edit finds them again
    instead of paying for them twice.

    Attributes:
        home: the state directory.
    """

    home: str

    def checkpoint(self, variant: str, inputs: str) -> Path:
        """The directory of the checkpoint of `variant` made from `inputs` (a content hash)."""
        return Path(self.home) / "checkpoints" / variant / inputs

    def training(self, variant: str, inputs: str) -> Path:
        """The directory of what a checkpoint was trained from: job, rows, reward."""
        return Path(self.home) / "training" / variant / inputs

    def relative(self, path: Path) -> str:
        """A path as tables keep it, so that the state directory can be moved."""
        return path.relative_to(self.home).as_posix()

    def absolute(self, path: str) -> Path:
        """A path that a table keeps, where it is now."""
        return Path(self.home) / path

    @property
    def reward(self) -> Path:
        """The directory of the current reward artifact."""
        return Path(self.home) / "reward"

    @property
    def report(self) -> Path:
        """The safety report, one HTML page."""
        return Path(self.home) / "reports" / "safety_report.html"
