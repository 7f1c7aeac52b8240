"""Progress of the assets that are being made, for whoever watches."""

from pathlib import Path

import dagster as dg

from resources.progress_file import ProgressFile


class Progress(dg.ConfigurableResource):
    """Hands out progress bars; each is a file of `directory` that the terminal draws.

    Attributes:
        directory: Where the files lie.
    """

    directory: str

    def bar(self, asset: str, total: int, unit: str) -> ProgressFile:
        """Begins a job.

        Args:
            asset: Name of the asset, such as ``rl_checkpoint/rbr``.
            total: Units of the whole job.
            unit: What is counted, in the plural: ``replies``, ``steps``.
        """
        return ProgressFile(self.path(asset), asset, total, unit)

    def path(self, asset: str) -> Path:
        """File of the asset's reports, for a process that writes them by itself through `ProgressFile`."""
        return Path(self.directory) / f"{asset.replace('/', '.')}.json"
