"""Boolean expressions over proposition names: ``apology and not (judgement or meta_commentary)``.

``not`` binds tighter than ``and``, and ``and`` binds tighter than ``or``. The text is never run as code.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rbr.errors import InputError, Location

KEYWORDS = frozenset({"and", "or", "not"})
MAX_LENGTH = 10_000
"""Maximum length of an expression, in characters."""

MAX_DEPTH = 40
"""Maximum number of nested parentheses and negations."""

_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[()])|(?P<odd>\S))")


@dataclass(frozen=True)
class Name:
    """A proposition, simple or derived.

    Example:
        >>> str(Name("apology"))
        'apology'
    """

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Not:
    """The negation of an expression.

    Example:
        >>> str(Not(Name("apology")))
        'not apology'
    """

    operand: "Expression"

    def __str__(self) -> str:
        return f"not {_in_parentheses(self.operand, And, Or)}"


@dataclass(frozen=True)
class And:
    """The conjunction of two or more expressions.

    Example:
        >>> str(And((Name("apology"), Name("disclaimer"))))
        'apology and disclaimer'
    """

    operands: tuple["Expression", ...]

    def __str__(self) -> str:
        return " and ".join(_in_parentheses(operand, And, Or) for operand in self.operands)


@dataclass(frozen=True)
class Or:
    """The disjunction of two or more expressions.

    Example:
        >>> str(Or((Name("apology"), Name("disclaimer"))))
        'apology or disclaimer'
    """

    operands: tuple["Expression", ...]

    def __str__(self) -> str:
        return " or ".join(_in_parentheses(operand, Or) for operand in self.operands)


Expression = Name | Not | And | Or


def parse_expression(text: str) -> Expression:
    """Parses an expression.

    Args:
        text: At most `MAX_LENGTH` characters, nested at most `MAX_DEPTH` levels deep.

    Returns:
        The frozen syntax tree. ``str()`` of the tree is the expression in canonical spacing.

    Raises:
        InputError: The text is not an expression, or is too long or too deeply nested. If a character is wrong,
            ``where.column`` is its position, from 1.

    Example:
        >>> str(parse_expression("apology and not(judgement)"))
        'apology and not judgement'
    """
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"the expression has {len(text)} characters, more than {MAX_LENGTH}",
            hint="Move parts of it to `derived` and refer to them by name.",
        )
    return _Parser(text).parse_all()


def names_in(expression: Expression) -> tuple[str, ...]:
    """Returns the names in an expression, without duplicates, in the order of first mention.

    Example:
        >>> names_in(parse_expression("b and not (a or b)"))
        ('b', 'a')
    """
    return tuple(dict.fromkeys(_mentions(expression)))


def _mentions(expression: Expression) -> Iterator[str]:
    match expression:
        case Name(name):
            yield name
        case Not(operand):
            yield from _mentions(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from _mentions(operand)


def _in_parentheses(expression: Expression, *types: type) -> str:
    """Formats an expression; adds parentheses if it is an instance of one of the types."""
    return f"({expression})" if isinstance(expression, types) else str(expression)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent parser; `MAX_DEPTH` limits the recursion."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            _Token(kind, match[kind], match.start(kind) + 1)
            for match in _TOKEN.finditer(text)
            if (kind := match.lastgroup)
        ]
        self._next = 0
        self._depth = 0

    def parse_all(self) -> Expression:
        if not self._tokens:
            raise InputError("the expression is empty", hint="Write a proposition name, for example `apology`.")
        expression = self._disjunction()
        if token := self._peek():
            raise self._unexpected(token, "expected `and`, `or` or the end of the expression")
        return expression

    def _disjunction(self) -> Expression:
        operands = [self._conjunction()]
        while self._take("or"):
            operands.append(self._conjunction())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _conjunction(self) -> Expression:
        operands = [self._negation()]
        while self._take("and"):
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _negation(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InputError(
                f"the expression is nested more than {MAX_DEPTH} levels deep",
                hint="Move the inner parts to `derived` and refer to them by name.",
            )
        try:
            return Not(self._negation()) if self._take("not") else self._atom()
        finally:
            self._depth -= 1

    def _atom(self) -> Expression:
        token = self._peek()
        if token is None:
            raise InputError(
                f"the expression ends after {self._tokens[-1].text!r}: a proposition name is missing",
                where=Location(column=len(self._text) + 1),
                hint="Add a proposition name, or remove the last word.",
            )
        if self._take("("):
            inner = self._disjunction()
            if not self._take(")"):
                raise InputError(
                    "the opening parenthesis is never closed",
                    where=Location(column=token.position),
                    hint="Add `)`.",
                )
            return inner
        if token.kind != "word" or token.text.lower() in KEYWORDS:
            raise self._unexpected(token, "expected a proposition name, `not` or `(`")
        self._next += 1
        return Name(token.text)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, text: str) -> bool:
        """Skips the next token if its text is `text`. Returns whether a token was skipped."""
        token = self._peek()
        if token is None or token.text != text:
            return False
        self._next += 1
        return True

    def _unexpected(self, token: _Token, expected: str) -> InputError:
        hint = "Combine proposition names with `and`, `or`, `not` and parentheses."
        if token.text.lower() in KEYWORDS and token.text not in KEYWORDS:
            hint = f"Write `{token.text.lower()}` in lower case."
        return InputError(f"{expected}, found {token.text!r}", where=Location(column=token.position), hint=hint)
