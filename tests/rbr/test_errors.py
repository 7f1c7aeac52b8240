"""Errors say where, what and what to do, and survive the way to another process."""

import pickle

import pytest

from rbr.errors import InputError, Location


def test_an_input_error_reads_where_what_and_mend() -> None:
    error = InputError("the label is unknown", where="gold.jsonl:3", hint="Use one of a, b.")
    assert str(error) == "gold.jsonl:3: the label is unknown\n  Use one of a, b."
    assert str(InputError("nothing to do")) == "nothing to do"


def test_many_problems_are_one_error_that_lists_them_in_order() -> None:
    first, second, third = (InputError(f"problem {n}", where=f"file:{n}") for n in range(3))
    bound = InputError.collect([InputError.collect([first, second]), third])
    assert bound.problems == (first, second, third)
    assert str(bound) == "3 problems:\nfile:0: problem 0\nfile:1: problem 1\nfile:2: problem 2"
    assert isinstance(bound, InputError)


def test_a_lone_problem_stays_as_it_is() -> None:
    only = InputError("alone")
    assert InputError.collect([only]) is only
    assert only.problems == (only,)


def test_nothing_cannot_be_collected() -> None:
    with pytest.raises(ValueError, match="no problem"):
        InputError.collect([])


def test_a_flood_of_problems_is_cut_in_the_text_only() -> None:
    bound = InputError.collect([InputError(f"problem {n}") for n in range(70)])
    assert len(bound.problems) == 70
    assert str(bound).endswith("problem 49\nand 20 more")


@pytest.mark.parametrize(
    "error",
    [
        InputError("a", where="b", hint="c"),
        InputError("a", where="b", hint="c"),
        InputError.collect([InputError("a"), InputError("b", hint="c")]),
    ],
)
def test_errors_can_be_pickled(error: InputError) -> None:
    # A process pool hands a worker's exception on as a pickle; these are our own.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


def test_a_place_reads_like_text_and_keeps_its_parts_in_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(InputError("a", where=Location("rules: mine.yaml", 3, 5, "classes.good"))))
    assert error.where == "rules: mine.yaml:3:5 classes.good"
    assert (error.where.file, error.where.line, error.where.column, error.where.key) == (
        "rules: mine.yaml",
        3,
        5,
        "classes.good",
    )
    assert Location("rules.yaml") == "rules.yaml"
