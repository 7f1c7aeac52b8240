"""Equal content has equal hashes, and any difference that counts changes the hash."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import BaseModel

from rbr.errors import InputError
from rbr.hashing import content_hash, directory_digest, frame_hash


class _Model(BaseModel):
    b: tuple[int, ...]
    a: str


@dataclass(frozen=True)
class _Record:
    a: str
    b: tuple[int, ...]


def test_hashes_are_sixteen_hexadecimal_characters_and_the_same_in_every_release() -> None:
    canonical = rb'{"a":"\u00fc","b":[1,2.5,null,true]}'
    assert content_hash({"b": [1, 2.5, None, True], "a": "ü"}) == hashlib.sha256(canonical).hexdigest()[:16]
    rows = b'["a","b"]\n{"a":1,"b":"x"}\n{"a":2,"b":null}\n'
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert frame_hash(frame) == hashlib.sha256(rows).hexdigest()[:16]


def test_key_order_and_container_type_do_not_count() -> None:
    plain = content_hash({"a": "x", "b": [1, 2]})
    assert content_hash({"b": (1, 2), "a": "x"}) == plain
    assert content_hash(_Model(a="x", b=(1, 2))) == plain
    assert content_hash(_Record(a="x", b=(1, 2))) == plain
    assert content_hash({"a": "x", "b": [np.int64(1), np.int32(2)]}) == plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        (1, 1.0),
        (1, "1"),
        (None, "null"),
        (True, 1),
        ({"a": 1}, {"a": 2}),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_different_content_has_a_different_hash(one: object, other: object) -> None:
    assert content_hash(one) != content_hash(other)


@pytest.mark.parametrize("value", [{1: "a"}, {1, 2}, Path("a"), b"a", object()])
def test_a_value_that_cannot_be_hashed_is_rejected(value: object) -> None:
    with pytest.raises(TypeError):
        content_hash(value)


def test_a_hash_is_the_same_in_another_process() -> None:
    code = "from rbr.hashing import content_hash; print(content_hash({'z': [0.1, 'y'], 'a': None}))"
    root = Path(__file__).parents[2]
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == content_hash({"a": None, "z": [0.1, "y"]})


def test_a_frame_hash_depends_on_values_row_order_and_column_names() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [[0.5], None]})
    variants = [
        frame.reverse(),
        frame.rename({"a": "c"}),
        frame.select("b", "a"),
        frame.with_columns(a=pl.lit(1)),
        frame.head(1),
    ]
    assert len({frame_hash(variant) for variant in [frame, *variants]}) == 6


def test_a_frame_hash_does_not_depend_on_chunks_or_integer_width() -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    chunked = pl.concat([frame.head(1), frame.tail(1)], rechunk=False)
    assert frame_hash(chunked) == frame_hash(frame) == frame_hash(frame.cast(pl.Int8))


def test_a_directory_digest_depends_on_names_bytes_and_nesting(tmp_path: Path) -> None:
    digests = []

    def make(name: str, files: dict[str, bytes]) -> None:
        for file, data in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        digests.append(directory_digest(tmp_path / name))

    make("one", {"a": b"1", "b/c": b"2"})
    make("same", {"b/c": b"2", "a": b"1"})
    make("other bytes", {"a": b"1", "b/c": b"3"})
    make("other name", {"a": b"1", "b/d": b"2"})
    make("flat", {"a": b"1", "c": b"2"})
    make("shifted", {"a": b"1b/c", "b/c": b"2"})
    assert digests[0] == digests[1]
    assert len(set(digests)) == 5


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        directory_digest(tmp_path / "nowhere")
