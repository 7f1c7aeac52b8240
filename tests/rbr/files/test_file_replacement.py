"""Several files are replaced together: all of them, or none."""

import os
from pathlib import Path

import pytest

from rbr.errors import InputError
from rbr.files.file_replacement import replace_texts


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(f"old {path.stem}\r\n", encoding="utf-8", newline="")
    return paths


def content(files: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in files]


def test_every_file_gets_its_new_text_and_no_other_file_is_left(files: list[Path], tmp_path: Path) -> None:
    replace_texts({path: f"new {path.stem}\r\n" for path in files})
    assert content(files) == [b"new a\r\n", b"new b\r\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]


def test_a_byte_order_mark_stays(files: list[Path]) -> None:
    files[0].write_bytes(b"\xef\xbb\xbfold")
    replace_texts({files[0]: "new"})
    assert files[0].read_bytes() == b"\xef\xbb\xbfnew"


@pytest.mark.parametrize("failing", [0, 1])
def test_if_a_file_cannot_be_replaced_all_files_keep_their_text(
    files: list[Path], failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replace = content(files), os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == files[failing]:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError) as caught:
        replace_texts(dict.fromkeys(files, "new"))
    assert str(caught.value) == (
        f"{files[failing]}: the file cannot be written: Permission denied\n"
        "  No file was changed. Check the permissions of the directory."
    )
    assert content(files) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]


def test_a_missing_file_is_an_error_and_no_file_is_changed(files: list[Path], tmp_path: Path) -> None:
    before = content(files)
    with pytest.raises(InputError, match=r"c\.yaml: the file cannot be written: No such file"):
        replace_texts({files[0]: "new", tmp_path / "c.yaml": "new"})
    assert content(files) == before
