"""An entry is inserted into the text of a YAML file, and no other character changes."""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.files.yaml_insertion import YamlText

# Text, path, lines of the entry, the entry in brackets, and the text with the entry.
CASES = {
    "a list of lines": ("a:\n  - x\nb: 1\n", ("a",), ["- y"], "y", "a:\n  - x\n  - y\nb: 1\n"),
    "a list at the indent of its key": ("a:\n- x\nb: 1\n", ("a",), ["- y"], "y", "a:\n- x\n- y\nb: 1\n"),
    "a list in brackets": ("a: [x]  # why\n", ("a",), ["- y"], "y", "a: [x, y]  # why\n"),
    "a list in brackets over two lines": ("a: [x,\n  z ]\n", ("a",), ["- y"], "y", "a: [x,\n  z, y ]\n"),
    "an empty list": ("a: []\n", ("a",), ["- y"], "y", "a: [y]\n"),
    "a mapping in braces": ("a: {x: 1}\n", ("a",), ["y: 2"], "y: 2", "a: {x: 1, y: 2}\n"),
    "an empty mapping": ("a: {}\n", ("a",), ["y: 2"], "y: 2", "a: {y: 2}\n"),
    "the whole document": ("a: 1\n", (), ["", "b:", "  c: 2"], "b: {c: 2}", "a: 1\n\nb:\n  c: 2\n"),
    "a comment in the last line": (
        "a:\n  x: 1 # why\n\n# B\nb: 2\n",
        ("a",),
        ["y: 2"],
        "",
        "a:\n  x: 1 # why\n  y: 2\n\n# B\nb: 2\n",
    ),
    "a folded text at the end": (
        "a:\n  x: >-\n    one\n    two\n\nb: 2\n",
        ("a",),
        ["y: 2"],
        "",
        "a:\n  x: >-\n    one\n    two\n  y: 2\n\nb: 2\n",
    ),
    "a nested list at the end": (
        "a:\n  x:\n    - {p: [1]}\nb: 2\n",
        ("a",),
        ["y: 2"],
        "",
        "a:\n  x:\n    - {p: [1]}\n  y: 2\nb: 2\n",
    ),
    "a mapping in a list": ("a:\n  - x: 1\n  - x: 2\n", ("a", 0), ["y: 2"], "", "a:\n  - x: 1\n    y: 2\n  - x: 2\n"),
    "an entry without a value": ("a:\n  x:\nb: 2\n", ("a",), ["y: 2"], "", "a:\n  x:\n  y: 2\nb: 2\n"),
    "no line break at the end": ("a:\n  - x", ("a",), ["- y"], "", "a:\n  - x\n  - y"),
    "line breaks of Windows": (
        "a:\r\n  - x # why\r\nb: 1\r\n",
        ("a",),
        ["- y"],
        "",
        "a:\r\n  - x # why\r\n  - y\r\nb: 1\r\n",
    ),
    "an end of the document": ("---\na: 1\n...\n", (), ["b: 2"], "", "---\na: 1\nb: 2\n...\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_entry_is_inserted_after_the_last_one(case: str) -> None:
    text, path, lines, flow, expected = CASES[case]
    document = YamlText(text)
    document.insert(path, lines, flow=flow)
    assert document.with_insertions() == expected


def test_entries_at_the_same_place_are_in_the_order_of_the_calls() -> None:
    document = YamlText("a:\n  b:\n    - x\n")
    document.insert(("a", "b"), ["- y"], flow="y")
    document.insert(("a",), ["c: 1"], flow="c: 1")
    document.insert((), ["d: 2"], flow="d: 2")
    assert document.with_insertions() == "a:\n  b:\n    - x\n    - y\n  c: 1\nd: 2\n"


@pytest.mark.parametrize("path", [("b",), ("a", "x"), ("c",), ("a", 3), ("c", 0, 0)])
def test_a_path_without_a_mapping_or_list_is_an_error(path: tuple[str | int, ...]) -> None:
    with pytest.raises(KeyError):
        YamlText("a: [x]\nc: text\n").insert(path, ["- y"], flow="y")


NAMES = st.text(alphabet="abc", min_size=1, max_size=3)
# Not with line breaks at the end: `|+` keeps them, and an entry after them would be part of the text.
TEXTS = st.text(alphabet="ab :#-'\n", max_size=20).map(lambda text: text.rstrip("\n"))
CONTENT = st.recursive(
    TEXTS | st.integers(0, 9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def collections(content: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    own = [path] if isinstance(content, dict | list) else []
    return [*own, *(found for key, value in children for found in collections(value, (*path, key)))]


@settings(max_examples=300)
@given(
    st.dictionaries(NAMES, CONTENT, min_size=1, max_size=3),
    st.sampled_from([True, False, None]),
    st.sampled_from(["", '"', "|", ">"]),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
def test_the_content_gains_the_entry_and_every_character_of_the_text_stays(
    content: dict[str, Any], flow: bool | None, style: str, newline: str, data: st.DataObject
) -> None:
    text = yaml.dump(content, default_flow_style=flow, default_style=style or None, line_break=newline, width=40)
    content = yaml.safe_load(text)
    path = data.draw(st.sampled_from(collections(content)))
    document = YamlText(text)
    expected = target = deepcopy(content)
    for key in path:
        target = target[key]
    if isinstance(target, list):
        target.append("new")
        document.insert(path, ["# a comment", "- new"], flow="new")
    else:
        target["new"] = "new"
        document.insert(path, ["# a comment", "new: new"], flow="new: new")
    result = document.with_insertions()
    remaining = iter(result)
    assert all(character in remaining for character in text)
    assert yaml.safe_load(result) == expected
