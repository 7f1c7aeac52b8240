"""The state of an unfinished training on disk, from which the training goes on."""

import json
import shutil
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

_TRAINING_FILE = "training.json"
_STATE_FILE = "trainer_state.json"


class SavedState:
    """A directory for the states that a Hugging Face trainer saves.

    If the directory contains the state of another training, the state is deleted.

    Args:
        directory: The directory; it is made if it does not exist.
        training: Hash of everything that the training depends on.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     SavedState(Path(directory) / "state", training="a1").latest() is None
        True
    """

    def __init__(self, directory: Path, training: str) -> None:
        self.directory = directory
        description = json.dumps({"training": training})
        file = directory / _TRAINING_FILE
        if not file.is_file() or file.read_text(encoding="utf-8") != description:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            file.write_text(description, encoding="utf-8")

    def latest(self) -> str | None:
        """Returns the directory of the last complete state; None if there is none."""
        found = [path for path in self.directory.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _is_complete(path)]
        return str(max(found, key=_step)) if found else None


def _step(path: Path) -> int:
    return int(path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-"))


def _is_complete(path: Path) -> bool:
    # The trainer writes this file last. If the process was killed before, the file is missing or cut.
    try:
        return json.loads((path / _STATE_FILE).read_bytes())["global_step"] == _step(path)
    except (OSError, ValueError, KeyError):
        return False
