"""Finds the propositions that an expression depends on, directly or through derived propositions."""

import graphlib
from collections.abc import Iterable, Mapping

from rbr.errors import InputError, Location
from rbr.rulebook.expressions import Expression, names_in, parse_expression
from rbr.rulebook.parts import Behavior


def derived_in_order(derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """Sorts the derived propositions, so that each one comes after the ones that its expression mentions.

    Raises:
        InputError: Derived propositions refer to each other in a circle.
    """
    mentions = {
        name: [other for other in names_in(expression) if other in derived] for name, expression in derived.items()
    }
    try:
        return tuple(graphlib.TopologicalSorter(mentions).static_order())
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        raise InputError(
            f"derived propositions refer to each other in a circle: {' -> '.join(circle)}",
            where=Location(key_path=("derived", circle[0])),
            hint="Define one of them without the others.",
        ) from error


def derived_in_use(expressions: Iterable[Expression], derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """Returns the derived propositions that expressions mention, directly or through other derived propositions.

    Returns:
        Names, in the order of `derived_in_order`.

    Raises:
        InputError: Derived propositions refer to each other in a circle.
    """
    order = derived_in_order(derived)
    used = {name for expression in expressions for name in names_in(expression)}
    for name in reversed(order):
        if name in used:
            used.update(names_in(derived[name]))
    return tuple(name for name in order if name in used)


def simple_propositions(expressions: Iterable[Expression], derived: Mapping[str, Expression]) -> list[tuple[str, ...]]:
    """Returns the simple propositions that each expression depends on.

    Returns:
        One tuple of names per expression, in the order of first mention.

    Raises:
        InputError: Derived propositions refer to each other in a circle.
    """
    resolved: dict[str, tuple[str, ...]] = {}
    for name in derived_in_order(derived):
        resolved[name] = _resolve(derived[name], resolved)
    return [_resolve(expression, resolved) for expression in expressions]


def _resolve(expression: Expression, resolved: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the names in an expression; replaces each derived proposition by its simple propositions."""
    names: dict[str, None] = {}
    for name in names_in(expression):
        names.update(dict.fromkeys(resolved.get(name, (name,))))
    return tuple(names)


def propositions_needed(behavior: Behavior, response_type: str) -> tuple[str, ...]:
    """Returns the simple propositions that a response type needs, sorted: those of its classes and its features.

    Raises:
        KeyError: The behavior policy does not define the response type.
        InputError: Derived propositions refer to each other in a circle.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> {name: len(propositions_needed(behavior, name)) for name in ("comply", "hard_refusal")}
        {'comply': 13, 'hard_refusal': 15}
    """
    rules = behavior.response_types[response_type]
    derived = {name: parse_expression(text) for name, text in behavior.derived.items()}
    per_class = simple_propositions([parse_expression(text) for text in rules.classes.values()], derived)
    return tuple(sorted({*rules.features, *(name for names in per_class for name in names)}))
