"""What two versions of the class rules mean differently, decided over all replies and not by comparing text."""

from dataclasses import dataclass

from rbr.rulebook.class_diagram import class_sets, in_words, shortest_assignments, variable_order
from rbr.rulebook.decision_diagram import DecisionBuilder
from rbr.rulebook.expressions import Expression, parse
from rbr.rulebook.models import Behavior

# More than any set of classes needs: a response type has at most 500.
_SHIFT = 512


@dataclass(frozen=True)
class ClassChange:
    """Replies that fall into one class by the old rules and into another by the new ones.

    Attributes:
        old: Class by the old rules.
        new: Class by the new rules.
        example: The shortest description of such replies: all of these move.
    """

    old: str
    new: str
    example: str


def class_changes(old: Behavior, new: Behavior, response_type: str) -> list[ClassChange]:
    """Which replies to a response type change their class between two behavior policies.

    Args:
        old: The policy before.
        new: The policy now.
        response_type: A response type of both.

    Returns:
        One move per pair of classes that any reply moves between, in the order of the classes; empty where the
        rules mean the same.

    Raises:
        KeyError: A policy has no such response type.
        InputError: The rules are too entangled to be compared.
    """
    rules = [_expressions(policy, response_type) for policy in (old, new)]
    variables = tuple(dict.fromkeys(name for pair in rules for name in variable_order(*pair)))
    builder = DecisionBuilder(variables)
    before, after = (class_sets(builder, *pair) for pair in rules)
    both = builder.combine(_side_by_side, before, after)
    names = [policy.class_names(response_type) for policy in (old, new)]
    moves: dict[tuple[int, int], ClassChange] = {}
    for leaf, assignment in shortest_assignments(builder, both).items():
        value = builder.value(leaf)
        at = (value >> _SHIFT).bit_length() - 1, (value & ((1 << _SHIFT) - 1)).bit_length() - 1
        move = ClassChange(names[0][at[0]], names[1][at[1]], in_words(assignment, variables))
        if move.old != move.new:
            moves[at] = move
    return [moves[at] for at in sorted(moves)]


def _expressions(policy: Behavior, response_type: str) -> tuple[dict[str, Expression], dict[str, Expression]]:
    classes = policy.response_types[response_type].classes
    return (
        {name: parse(classes[name]) for name in policy.class_names(response_type)},
        {name: parse(text) for name, text in policy.derived.items()},
    )


def _side_by_side(before: int, after: int) -> int:
    return before << _SHIFT | after
