"""What a behavior policy's expressions depend on, through its derived propositions."""

import graphlib
from collections.abc import Iterable, Mapping

from rbr.errors import InputError
from rbr.rulebook.expressions import Expression, names, parse
from rbr.rulebook.models import Behavior


def derived_in_order(derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """The derived propositions, each after those that it mentions.

    Raises:
        InputError: They refer to each other in a circle.
    """
    mentions = {
        name: [other for other in names(expression) if other in derived] for name, expression in derived.items()
    }
    try:
        return tuple(graphlib.TopologicalSorter(mentions).static_order())
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        raise InputError(
            f"derived propositions refer to each other in a circle: {' -> '.join(circle)}",
            where=f"derived.{circle[0]}",
            hint="Write one of them without the others.",
        ) from error


def derived_in_use(expressions: Iterable[Expression], derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """The derived propositions that expressions mention, directly or not, each after those that it mentions.

    Raises:
        InputError: The derived propositions refer to each other in a circle.
    """
    order = derived_in_order(derived)
    used = {name for expression in expressions for name in names(expression)}
    for name in reversed(order):
        if name in used:
            used.update(names(derived[name]))
    return tuple(name for name in order if name in used)


def leaves(expressions: Iterable[Expression], derived: Mapping[str, Expression]) -> list[tuple[str, ...]]:
    """The simple propositions that each expression depends on, in the order of their first mention.

    Raises:
        InputError: The derived propositions refer to each other in a circle.
    """
    below: dict[str, tuple[str, ...]] = {}
    for name in derived_in_order(derived):
        below[name] = _below(derived[name], below)
    return [_below(expression, below) for expression in expressions]


def _below(expression: Expression, below: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in names(expression):
        found.update(dict.fromkeys(below.get(name, (name,))))
    return tuple(found)


def propositions_needed(behavior: Behavior, response_type: str) -> tuple[str, ...]:
    """The simple propositions to grade for a response type: those of its classes and its features, sorted.

    Raises:
        KeyError: The behavior policy has no such response type.
        InputError: The derived propositions refer to each other in a circle.
    """
    rules = behavior.response_types[response_type]
    derived = {name: parse(text) for name, text in behavior.derived.items()}
    of_classes = leaves([parse(text) for text in rules.classes.values()], derived)
    return tuple(sorted({*rules.features, *(name for per_class in of_classes for name in per_class)}))
