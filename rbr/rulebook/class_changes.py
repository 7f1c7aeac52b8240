"""Compares two versions of the class rules, and finds the replies that change their class."""

from dataclasses import dataclass

from rbr.rulebook.class_diagram import build_class_sets, describe_reply, shortest_assignments, variable_order
from rbr.rulebook.decision_diagram import DiagramBuilder
from rbr.rulebook.expressions import Expression, parse_expression
from rbr.rulebook.parts import Behavior

# Bits for the new class set; the old class set is above them. A response type has at most 500 classes.
_SHIFT = 512


@dataclass(frozen=True)
class ClassChange:
    """Replies that fall into one class by the old rules and into another class by the new rules.

    Attributes:
        old: Class by the old rules.
        new: Class by the new rules.
        example: Shortest description of replies that change from `old` to `new`.

    Example:
        >>> ClassChange("ideal", "unacceptable", "a reply with judgement").new
        'unacceptable'
    """

    old: str
    new: str
    example: str


def class_changes(old: Behavior, new: Behavior, response_type: str) -> list[ClassChange]:
    """Finds the replies to a response type that change their class between two behavior policies.

    Args:
        old: Behavior policy before the edit.
        new: Behavior policy after the edit.
        response_type: Response type that both policies define.

    Returns:
        One change per pair of an old and a new class, in the order of the classes; empty if no reply changes.

    Raises:
        KeyError: A policy does not define the response type.
        InputError: The rules are too complex to compare, or derived propositions refer to each other in a circle.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> class_changes(behavior, behavior, "comply")
        []
    """
    # 1. Build one diagram. Its leaves contain the class by the old rules and the class by the new rules.
    rules = [_expressions(policy, response_type) for policy in (old, new)]
    variables = tuple(dict.fromkeys(name for pair in rules for name in variable_order(*pair)))
    builder = DiagramBuilder(variables)
    old_root, new_root = (build_class_sets(builder, *pair) for pair in rules)
    root = builder.combine(_side_by_side, old_root, new_root)
    # 2. Collect the leaves whose classes differ. A class set has one bit, because the classes do not overlap.
    old_names, new_names = (policy.class_names(response_type) for policy in (old, new))
    changes: dict[tuple[int, int], ClassChange] = {}
    for leaf, assignment in shortest_assignments(builder, root).items():
        value = builder.value(leaf)
        old_index, new_index = (value >> _SHIFT).bit_length() - 1, (value & ((1 << _SHIFT) - 1)).bit_length() - 1
        change = ClassChange(old_names[old_index], new_names[new_index], describe_reply(assignment, variables))
        if change.old != change.new:
            changes[old_index, new_index] = change
    return [changes[indices] for indices in sorted(changes)]


def _expressions(policy: Behavior, response_type: str) -> tuple[dict[str, Expression], dict[str, Expression]]:
    classes = policy.response_types[response_type].classes
    return (
        {name: parse_expression(classes[name]) for name in policy.class_names(response_type)},
        {name: parse_expression(text) for name, text in policy.derived.items()},
    )


def _side_by_side(old: int, new: int) -> int:
    return old << _SHIFT | new
