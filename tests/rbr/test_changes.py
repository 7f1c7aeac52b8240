"""Changes of parsed files are described with key path and values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.changes import describe_changes

LONG = "not disallowed_content and not illogical_continuation_of_prompt and apology and inability_to_comply and not {}"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        (
            {"apology": {"question": "Is it sorry?"}},
            {"apology": {"question": "Does it apologize?"}},
            ['apology.question: "Is it sorry?" -> "Does it apologize?"'],
        ),
        ({"b": 1, "a": 1}, {"c": 2, "a": 1}, ["b: removed", "c: added"]),
        ({"steps": 60}, {"steps": 80}, ["steps: 60 -> 80"]),
        ({"ranking": [["x"], ["y"]]}, {"ranking": [["y"], ["x"]]}, ['ranking: [["x"], ["y"]] -> [["y"], ["x"]]']),
        (
            {"slots": [{"name": "ideal", "label": "l"}, {"name": "bad", "label": "m"}]},
            {"slots": [{"name": "bad", "label": "m"}, {"name": "ideal", "label": "k"}]},
            ['slots.ideal.label: "l" -> "k"'],
        ),
        ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}], ["reordered"]),
        (
            [{"prompt_id": "1", "category": "K-R"}, {"prompt_id": "2", "category": None}],
            [{"prompt_id": "1", "category": "K-C"}, {"prompt_id": "3", "category": None}],
            ["1 added, 1 removed, 1 changed"],
        ),
        ({"examples": [{"reply": "a"}]}, {"examples": [{"reply": "b"}, {"reply": "a"}]}, ["examples: 1 added"]),
    ],
)
def test_each_change_is_described_by_key_path_and_values(old: object, new: object, lines: list[str]) -> None:
    assert describe_changes(old, new) == lines


def test_long_texts_are_cut_to_the_part_that_differs() -> None:
    (line,) = describe_changes({"rule": LONG.format("judgement")}, {"rule": LONG.format("third_person")})
    assert "judgement" in line
    assert "third_person" in line
    assert "disallowed_content" not in line


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(_json, _json)
def test_there_are_changes_exactly_if_the_contents_differ(old: object, new: object) -> None:
    assert bool(describe_changes(old, new)) == (old != new)
