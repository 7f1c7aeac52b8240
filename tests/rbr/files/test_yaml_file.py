"""Reading YAML safely, with places."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.errors import InputError
from rbr.files.yaml_file import Document, read_document, scan_document, spell


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def read(file: Path, text: str) -> Document:
    file.write_text(text, encoding="utf-8")
    return read_document(file)


def refusal(file: Path, text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        read(file, text)
    return caught.value


def test_plain_data_comes_out_with_the_place_of_every_key(file: Path) -> None:
    document = read(file, "a: 1\nb:\n  - x: yes\n    y: 'no'\n  - [0.5, ~]\n")
    assert document.content == {"a": 1, "b": [{"x": True, "y": "no"}, [0.5, None]]}
    assert document.where(("b", 0, "y")) == f"{file}:4:5 b[0].y"
    assert document.where(("b", 1, 1)) == f"{file}:5:11 b[1][1]"


def test_an_absent_key_is_placed_at_its_nearest_ancestor(file: Path) -> None:
    document = read(file, "a:\n  b: 1\n")
    assert document.where(("a", "c", "d")) == f"{file}:1:1 a.c.d"
    assert document.where(()) == f"{file}:1:1"


def test_keys_are_text_however_they_look(file: Path) -> None:
    assert read(file, "None: a\nno: b\n1: c\n~: d\n").content == {"None": "a", "no": "b", "1": "c", "~": "d"}


@pytest.mark.parametrize(
    ("written", "value"),
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
def test_only_plain_numbers_truth_values_and_nothing_are_not_text(file: Path, written: str, value: object) -> None:
    assert read(file, f"key: {written}\n").content == {"key": value}


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3:1 a", "'a' is there twice"),
        ("a:\n  x: {k: 1, k: 2}\n", ":2:13 a.x.k", "'k' is there twice"),
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
        ("a: 1\nb: \x01\n", ":2:4", "'\\x01' must not be in YAML"),
    ],
)
def test_what_is_no_plain_data_is_refused_at_its_place(file: Path, text: str, place: str, what: str) -> None:
    error = refusal(file, text)
    assert error.where == f"{file}{place}"
    assert what in error.what
    assert error.hint


def test_a_second_key_points_at_the_first(file: Path) -> None:
    assert "line 1" in refusal(file, "a: 1\nb: 2\na: 3\n").hint


def test_of_a_double_key_the_last_one_is_kept_for_further_checks(file: Path) -> None:
    file.write_text("a: {x: 1}\na: {y: 2}\n", encoding="utf-8")
    document = scan_document(file)
    assert document.content == {"a": {"y": 2}}
    assert [problem.where for problem in document.problems] == [f"{file}:2:1 a"]


def test_all_double_keys_are_named_at_once_but_not_without_end(file: Path) -> None:
    assert len(refusal(file, "a: 1\na: 2\nb: 1\nb: 2\n").problems) == 2
    assert len(refusal(file, "a: 1\n" * 500).problems) == 50


def test_a_merge_key_is_a_key_like_any_other(file: Path) -> None:
    assert read(file, "a:\n  <<: {b: 1}\n").content == {"a": {"<<": {"b": 1}}}


def test_large_files_are_refused_unread(file: Path) -> None:
    file.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="larger than 1048576 bytes"):
        read_document(file)


def test_more_entries_than_any_rulebook_has_are_refused_soon(file: Path) -> None:
    started = time.perf_counter()
    assert "more than 50000 entries" in refusal(file, "[" + "1," * 500_000 + "]").what
    assert time.perf_counter() - started < 5


def test_places_tell_their_parts(file: Path) -> None:
    place = read(file, "a:\n- b: 1\n").where(("a", 0, "b"))
    assert (place.file, place.line, place.column, place.key) == (str(file), 2, 3, "a[0].b")


def test_text_that_is_not_utf_8_is_refused_at_its_place(file: Path) -> None:
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(InputError, match="UTF-8") as caught:
        read_document(file)
    assert caught.value.where == f"{file}:2:4"


def test_missing_files_directories_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.yaml", tmp_path, tmp_path / "pipe", "a\0b"):
        with pytest.raises(InputError, match="no such file"):
            read_document(path)


def test_a_byte_order_mark_is_no_content(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(file).content == {"a": 1}


def test_key_paths_are_spelled_like_code() -> None:
    assert spell(("comply", "slots", 2, "label")) == "comply.slots[2].label"
    assert spell(()) == ""


def test_keys_that_would_spoil_a_message_are_quoted_and_cut() -> None:
    assert spell(("two\nlines", "x" * 200)) == f"'two\\nlines'.'{'x' * 100}'"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="ab:-?[]{}&*!|>'\"%#, \n\t~", max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused_as_a_rulebook_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    try:
        assert isinstance(read_document(file), Document)
    except InputError as error:
        assert str(file) in str(error)
