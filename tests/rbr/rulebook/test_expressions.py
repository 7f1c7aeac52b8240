"""The expression language of class rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbr.errors import InputError
from rbr.rulebook.expressions import And, Expression, Name, Not, Or, names_in, parse_expression

A, B, C = Name("a"), Name("b"), Name("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", A),
        ("not a", Not(A)),
        ("a and b and c", And((A, B, C))),
        ("a or b and c", Or((A, And((B, C))))),
        ("(a or b) and c", And((Or((A, B)), C))),
        ("not a and b", And((Not(A), B))),
        ("not (a and b)", Not(And((A, B)))),
        ("not not a", Not(Not(A))),
        ("((a))", A),
        ("  a\n  and b ", And((A, B))),
        ("android and nothing or order", Or((And((Name("android"), Name("nothing"))), Name("order")))),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


def grown(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(inner.map(Not), several.map(And), several.map(Or))


@given(st.recursive(st.sampled_from([A, B, C]), grown, max_leaves=8))
def test_the_text_of_an_expression_parses_back_to_it(expression: Expression) -> None:
    assert parse_expression(str(expression)) == expression


def test_names_are_listed_once_in_order_of_mention() -> None:
    assert names_in(parse_expression("b and not (a or b) or c")) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "", "empty"),
        ("   ", "", "empty"),
        ("a and", "character 6", "ends after 'and'"),
        ("a b", "character 3", "found 'b'"),
        ("a & b", "character 3", "found '&'"),
        ("and a", "character 1", "found 'and'"),
        ("a or )", "character 6", "found ')'"),
        ("(a and b", "character 1", "never closed"),
        ("a AND b", "character 3", "found 'AND'"),
        ("NOT a", "character 1", "found 'NOT'"),
        ("1a", "character 1", "found '1'"),
        ("ä", "character 1", "found 'ä'"),
        ("a.b", "character 2", "found '.'"),
        ("__import__('os')", "character 11", "found '('"),
    ],
)
def test_other_text_is_rejected_with_the_position_of_the_error(text: str, where: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_expression(text)
    assert str(caught.value.where) == where
    assert what in caught.value.what
    assert caught.value.hint


def test_keywords_in_capitals_get_a_hint_to_use_lower_case() -> None:
    with pytest.raises(InputError, match="Write `and` in lower case"):
        parse_expression("a AND b")


@pytest.mark.parametrize("text", ["(" * 50 + "a" + ")" * 50, "not " * 5000 + "a", "a and " * 5000 + "a"])
def test_depth_and_length_are_limited(text: str) -> None:
    with pytest.raises(InputError, match=r"nested more than 40|more than 10000") as caught:
        parse_expression(text)
    assert "derived" in caught.value.hint


@given(st.text(alphabet="ab ()andornt&\n", max_size=60))
def test_any_text_parses_or_is_rejected_with_an_input_error(text: str) -> None:
    try:
        assert names_in(parse_expression(text))
    except InputError as error:
        assert error.hint
