"""The progress of assets that take long to make."""

from pathlib import Path

import dagster as dg

from resources.progress_file import ProgressFile


class Progress(dg.ConfigurableResource):
    """Creates progress files, one per asset. `rbr run` shows them as progress bars.

    Attributes:
        directory: Directory of the progress files.
    """

    directory: str

    def bar(self, asset: str, total: int, unit: str) -> ProgressFile:
        """Creates the progress file of an asset.

        Args:
            asset: Name of the asset, such as ``rl_checkpoint/rbr``.
            total: Number of units of the whole job.
            unit: The unit in the plural: ``replies`` or ``steps``.
        """
        return ProgressFile(self.path(asset), asset, total, unit)

    def path(self, asset: str) -> Path:
        """Returns the path of an asset's progress file, for another process that writes the file."""
        return Path(self.directory) / f"{asset.replace('/', '.')}.json"
