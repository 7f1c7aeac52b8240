"""YAML is read safely, and each key keeps its position."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.errors import InputError, Location
from rbr.files.yaml_file import YamlDocument, read_yaml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def read(file: Path, text: str) -> YamlDocument:
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


def error_of(file: Path, text: str) -> InputError:
    """Returns the error that reading raises, or else the duplicate keys."""
    try:
        return InputError.collect(read(file, text).problems)
    except InputError as error:
        return error


def test_content_keeps_the_position_of_every_key(file: Path) -> None:
    document = read(file, "a: 1\nb:\n  - x: yes\n    y: 'no'\n  - [0.5, ~]\n")
    assert document.content == {"a": 1, "b": [{"x": True, "y": "no"}, [0.5, None]]}
    assert str(document.location(("b", 0, "y"))) == f"{file}:4:5 b[0].y"
    assert str(document.location(("b", 1, 1))) == f"{file}:5:11 b[1][1]"


def test_an_absent_key_is_located_at_its_nearest_ancestor(file: Path) -> None:
    document = read(file, "a:\n  b: 1\n")
    assert str(document.location(("a", "c", "d"))) == f"{file}:1:1 a.c.d"
    assert str(document.location(())) == f"{file}:1:1"


def test_keys_are_always_text(file: Path) -> None:
    assert read(file, "None: a\nno: b\n1: c\n~: d\n").content == {"None": "a", "no": "b", "1": "c", "~": "d"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", "1_000"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("1.50", 1.5),
        (".", "."),
        ("1e-3", 0.001),
        ("-2", -2),
        ("9" * 5000, "9" * 5000),
        ("", None),
        ('""', ""),
        ("'12'", "12"),
    ],
)
def test_all_but_plain_numbers_booleans_and_null_is_text(file: Path, text: str, value: object) -> None:
    assert read(file, f"key: {text}\n").content == {"key": value}


@pytest.mark.parametrize(
    ("text", "location", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3:1 a", "duplicate key 'a'"),
        ("a:\n  x: {k: 1, k: 2}\n", ":2:13 a.x.k", "duplicate key 'k'"),
        ("a: &anchor 1\n", ":1:4 a", "anchors such as &anchor"),
        ("a: *anchor\n", ":1:4 a", "aliases such as *anchor"),
        ("a: !!python/object/apply:os.system ['true']\n", ":1:4 a", "tags"),
        ("a: !!str 1\n", ":1:4 a", "tags"),
        ("a: b: c\n", ":1:5", "not valid YAML"),
        ("a: [1, 2\n", ":2:1 a[2]", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", ":2:1", "second YAML document"),
        ("? [a]\n: b\n", ":1:3", "a key must be text"),
        ("[" * 5000, f":1:21 {'[0]' * 20}", "nested more than 20"),
        ("- " * 5000, f":1:41 {'[0]' * 20}", "nested more than 20"),
        ('a: "\\UFFFFFFFF"\n', ":1:7 a", "not valid YAML"),
        ('a: "\\ud800"\n', ":1:4 a", "surrogate"),
        ("a: 1\nb: \x01\n", ":2:4", "'\\x01' is not allowed in YAML"),
    ],
)
def test_other_yaml_is_rejected_with_its_location(file: Path, text: str, location: str, what: str) -> None:
    error = error_of(file, text)
    assert str(error.where) == f"{file}{location}"
    assert what in error.what
    assert error.hint


def test_a_duplicate_key_points_at_the_first_one(file: Path) -> None:
    assert "line 1" in error_of(file, "a: 1\nb: 2\na: 3\n").hint


def test_the_last_value_of_a_duplicate_key_is_kept(file: Path) -> None:
    file.write_text("a: {x: 1}\na: {y: 2}\n", encoding="utf-8")
    document = read_yaml(file)
    assert document.content == {"a": {"y": 2}}
    assert [str(problem.where) for problem in document.problems] == [f"{file}:2:1 a"]


def test_up_to_fifty_duplicate_keys_are_reported_together(file: Path) -> None:
    assert len(error_of(file, "a: 1\na: 2\nb: 1\nb: 2\n").problems) == 2
    assert len(error_of(file, "a: 1\n" * 500).problems) == 50


def test_a_merge_key_is_an_ordinary_key(file: Path) -> None:
    assert read(file, "a:\n  <<: {b: 1}\n").content == {"a": {"<<": {"b": 1}}}


def test_a_large_file_is_rejected(file: Path) -> None:
    file.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="larger than 1048576 bytes"):
        read_yaml(file)


def test_too_many_entries_are_rejected(file: Path) -> None:
    assert "more than 50000 entries" in error_of(file, "[" + "1," * 500_000 + "]").what


def test_a_location_has_its_parts(file: Path) -> None:
    location = read(file, "a:\n- b: 1\n").location(("a", 0, "b"))
    assert location == Location(str(file), 2, 3, ("a", 0, "b"))


def test_text_that_is_not_utf_8_is_rejected_with_its_location(file: Path) -> None:
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(InputError, match="UTF-8") as caught:
        read_yaml(file)
    assert str(caught.value.where) == f"{file}:2:4"


def test_missing_files_directories_and_pipes_are_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.yaml", "a\0b"):
        with pytest.raises(InputError, match="the file does not exist"):
            read_yaml(path)
    with pytest.raises(InputError, match="a pipe or a device"):
        read_yaml(tmp_path / "pipe")
    with pytest.raises(InputError, match="a directory, not a file"):
        read_yaml(tmp_path)


def test_a_byte_order_mark_is_dropped(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(file).content == {"a": 1}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="ab:-?[]{}&*!|>'\"%#, \n\t~", max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_rejected_with_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    try:
        assert isinstance(read_yaml(file), YamlDocument)
    except InputError as error:
        assert str(file) in str(error)
