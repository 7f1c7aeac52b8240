"""Paths of the files that the pipeline writes: checkpoints, the reward artifact, the report."""

from pathlib import Path

import dagster as dg


class Artifacts(dg.ConfigurableResource):
    """Paths of the files that the pipeline writes, all in one state directory.

    The path of a checkpoint contains a hash of everything that the checkpoint was trained from. After an edit is
    reverted, the pipeline finds the old checkpoint and does not train again.

    Attributes:
        home: The state directory.
    """

    home: str

    def checkpoint(self, variant: str, inputs: str) -> Path:
        """Returns the directory of a checkpoint.

        Args:
            variant: ``sft``, ``rbr``, ``helpful`` or ``human``.
            inputs: Content hash of everything that the checkpoint is trained from.
        """
        return Path(self.home) / "checkpoints" / variant / inputs

    def training(self, variant: str, inputs: str) -> Path:
        """Returns the directory of the files that a checkpoint is trained from: rows and reward.

        Args:
            variant: As for `checkpoint`.
            inputs: As for `checkpoint`.
        """
        return Path(self.home) / "training" / variant / inputs

    def saved_state(self, variant: str, inputs: str) -> Path:
        """Returns the directory of the states of an unfinished training, from which the next run goes on.

        Args:
            variant: As for `checkpoint`.
            inputs: As for `checkpoint`.
        """
        return self.training(variant, inputs) / "saved_state"

    def relative(self, path: Path) -> str:
        """Returns a path relative to the state directory, for a table. The state directory can then be moved."""
        return path.relative_to(self.home).as_posix()

    def absolute(self, path: str) -> Path:
        """Returns the full path of a path that `relative` has returned."""
        return Path(self.home) / path

    @property
    def reward(self) -> Path:
        """Directory of the current reward artifact."""
        return Path(self.home) / "reward"

    @property
    def report(self) -> Path:
        """File of the safety report, one HTML page."""
        return Path(self.home) / "reports" / "safety_report.html"
