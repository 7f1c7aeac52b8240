"""Errors show location, problem and hint, and can be pickled."""

import pickle

import pytest

from rbr.errors import InputError, Location, spelling_hint


def test_the_text_of_an_error_is_location_problem_and_hint() -> None:
    error = InputError("the label is unknown", where="gold.jsonl:3", hint="Use one of a, b.")
    assert str(error) == "gold.jsonl:3: the label is unknown\n  Use one of a, b."
    assert str(InputError("nothing to do")) == "nothing to do"


def test_a_collected_error_lists_its_problems_in_order() -> None:
    first, second, third = (InputError(f"problem {n}", where=f"file:{n}") for n in range(3))
    bound = InputError.collect([InputError.collect([first, second]), third])
    assert bound.problems == (first, second, third)
    assert str(bound) == "3 problems:\nfile:0: problem 0\nfile:1: problem 1\nfile:2: problem 2"
    assert isinstance(bound, InputError)


def test_a_lone_problem_is_returned_unchanged() -> None:
    only = InputError("alone")
    assert InputError.collect([only]) is only
    assert only.problems == (only,)


def test_an_empty_collection_is_rejected() -> None:
    with pytest.raises(ValueError, match="no problem"):
        InputError.collect([])


def test_the_text_lists_at_most_fifty_problems() -> None:
    bound = InputError.collect([InputError(f"problem {n}") for n in range(70)])
    assert len(bound.problems) == 70
    assert str(bound).endswith("problem 49\nand 20 more")


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", where="b", hint="c"),
        InputError("a", where=Location("rules: mine.yaml", 3, 5, ("classes", 0)), hint="c"),
        InputError.collect([InputError("a"), InputError("b", hint="c")]),
    ],
)
def test_errors_can_be_pickled(error: InputError) -> None:
    # A process pool passes the exception of a worker on as a pickle.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert copy.where == error.where


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (Location("a.yaml", 3, 5, ("classes", 0)), "a.yaml:3:5 classes[0]"),
        (Location("a.jsonl", 3, None, ("messages",)), "a.jsonl:3 messages"),
        (Location("a.jsonl", 3), "a.jsonl:3"),
        (Location("a.yaml"), "a.yaml"),
        (Location(key_path=("derived", "refusal")), "derived.refusal"),
        (Location(column=6), "character 6"),
        (Location(), ""),
    ],
)
def test_a_location_prints_the_parts_that_are_known(location: Location, text: str) -> None:
    assert str(location) == text
    assert str(InputError("wrong", where=location)) == (f"{text}: wrong" if text else "wrong")


def test_key_paths_look_like_code() -> None:
    assert Location(key_path=("comply", "slots", 2, "label")).key == "comply.slots[2].label"
    assert Location().key == ""


def test_keys_that_would_spoil_a_message_are_quoted_and_cut() -> None:
    assert Location(key_path=("two\nlines", "x" * 200)).key == f"'two\\nlines'.'{'x' * 100}'"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("aplogy", ["apology", "judgement"], "Did you mean `apology`?"),
        ("x", ["judgement", "apology"], "Known names: apology, judgement."),
        ("x", [], "No names are defined yet."),
        ("x", [f"name_{number:02}" for number in range(41)], "name_39, ...."),
    ],
)
def test_an_unknown_name_gets_its_nearest_spelling_or_the_known_names(name: str, known: list[str], hint: str) -> None:
    assert spelling_hint(name, known).endswith(hint)
