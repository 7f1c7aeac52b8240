import os
import shutil
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef


def model(directory: Path, weights: bytes = b"weights") -> ModelRef:
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights)
    return ModelRef(path=str(directory), revision=None)


def test_a_copy_of_a_model_has_the_same_fingerprint(tmp_path: Path) -> None:
    ref = model(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    assert model_fingerprint(ref) == model_fingerprint(ModelRef(path=str(tmp_path / "copy"), revision=None))


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    assert model_fingerprint(model(tmp_path / "a")) != model_fingerprint(model(tmp_path / "b", b"other"))


def test_a_changed_file_changes_the_fingerprint_in_the_same_process(tmp_path: Path) -> None:
    ref = model(tmp_path / "a")
    before = model_fingerprint(ref)
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(0, 1))
    assert model_fingerprint(ref) != before


def test_the_fingerprint_of_a_hub_model_covers_its_name_and_revision() -> None:
    def fingerprint(path: str, revision: str) -> str:
        return model_fingerprint(ModelRef(path=path, revision=revision))

    assert fingerprint("org/m", "a1") == fingerprint("org/m", "a1")
    assert len({fingerprint("org/m", "a1"), fingerprint("org/m", "b2"), fingerprint("org/n", "a1")}) == 3


def test_a_hub_model_without_a_revision_is_rejected() -> None:
    with pytest.raises(InputError, match="has no revision"):
        model_fingerprint(ModelRef(path="org/model", revision=None))
