"""Decides what a proposition does to the class of a reply, exactly and for all possible replies.

Making a proposition true can improve or worsen the class. It can also move a reply into some classes, or out of them.
"""

from collections.abc import Collection
from dataclasses import dataclass

from rbr.rulebook.class_diagram import ClassDiagram, compile_classes
from rbr.rulebook.parts import Behavior, Sign


@dataclass(frozen=True)
class PropositionEffect:
    """What happens to the class of a reply if one proposition becomes true and all others stay as they are.

    Attributes:
        improves: Whether some reply moves to a better class.
        worsens: Whether some reply moves to a worse class.

    Example:
        >>> PropositionEffect(improves=True, worsens=False).sign
        'desired'
    """

    improves: bool
    worsens: bool

    @property
    def sign(self) -> Sign:
        """``desired`` or ``undesired`` if the class rules decide it for all replies, else ``free``."""
        if self.improves == self.worsens:
            return "free"
        return "desired" if self.improves else "undesired"


def proposition_effects(diagram: ClassDiagram) -> dict[str, PropositionEffect]:
    """Returns the effect of each proposition that the classes depend on. The result is exact for all possible replies.

    Args:
        diagram: The compiled classes of a response type.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology and not insult", "bad": "not apology or insult"}, ["good", "bad"])
        >>> {name: effect.sign for name, effect in proposition_effects(diagram).items()}
        {'apology': 'desired', 'insult': 'undesired'}
    """
    return {name: _effect(diagram, column) for column, name in enumerate(diagram.propositions)}


def membership_propositions(diagram: ClassDiagram, classes: Collection[str]) -> frozenset[str]:
    """Returns the propositions that decide for some possible reply whether it falls into one of the classes.

    A proposition decides if there is a reply that enters or leaves these classes when the proposition becomes true, and
    all other propositions stay as they are. The result is exact.

    Args:
        diagram: The compiled classes of a response type.
        classes: Names of classes. Names that the diagram does not have are ignored.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> rules = {"good": "polite and not harm", "poor": "not polite and not harm", "bad": "harm"}
        >>> diagram = compile_rules(rules, ["good", "poor", "bad"])
        >>> sorted(membership_propositions(diagram, ["bad"])), sorted(membership_propositions(diagram, ["good"]))
        (['harm'], ['harm', 'polite'])
    """
    # Merge the classes into two leaves, 1 (one of the classes) and 0, and reduce the diagram from the leaves up: a test
    # whose targets became equal is replaced by its target, and equal tests become one. Each test that is left decides
    # for some reply.
    reduced = [0] * len(diagram.tests) + [int(name in classes) for name in diagram.classes]
    tests: dict[tuple[int, int, int], int] = {}
    for node in reversed(range(len(diagram.tests))):  # Children before parents.
        column, low, high = diagram.tests[node]
        low, high = reduced[low], reduced[high]
        reduced[node] = low if low == high else tests.setdefault((column, low, high), len(tests) + 2)
    return frozenset(diagram.propositions[column] for column, _, _ in tests)


def unsafe_propositions(behavior: Behavior) -> tuple[str, ...]:
    """Returns the propositions that decide whether some reply is unsafe, sorted.

    The metric ``unsafe`` of the behavior policy says which classes are unsafe, and for which response types.

    Raises:
        InputError: The classes of a response type overlap or leave a gap.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> unsafe_propositions(load_behavior("rulebook/behavior.yaml"))
        ('disallowed_content',)
    """
    unsafe = behavior.metrics.unsafe
    diagrams = (compile_classes(behavior, response_type) for response_type in unsafe.response_types)
    return tuple(sorted({name for diagram in diagrams for name in membership_propositions(diagram, unsafe.classes)}))


def _effect(diagram: ClassDiagram, column: int) -> PropositionEffect:
    """Follows two replies through the diagram that differ only in one proposition."""
    tests = diagram.tests
    # Parents come before children, so the node with the smaller index must be tested first. If the two replies are at
    # different nodes that test the same proposition, both take the same branch.
    improves = worsens = False
    seen: set[tuple[int, int]] = set()
    to_visit = [(diagram.root, diagram.root)]  # Targets of the reply without and with the proposition.
    while to_visit:
        without, with_it = pair = to_visit.pop()
        if pair in seen:
            continue
        seen.add(pair)
        first = min(without, with_it)
        if first >= len(tests):  # Both targets are classes; the better class has the smaller index.
            improves |= with_it < without
            worsens |= with_it > without
            continue
        tested = tests[first][0]
        if tested == column:
            to_visit.append((_follow(diagram, without, tested, False), _follow(diagram, with_it, tested, True)))
        else:
            to_visit += [
                (_follow(diagram, without, tested, truth), _follow(diagram, with_it, tested, truth))
                for truth in (False, True)
            ]
    return PropositionEffect(improves, worsens)


def _follow(diagram: ClassDiagram, target: int, column: int, truth: bool) -> int:
    """Returns the next target if `target` tests the proposition, else `target`."""
    if target >= len(diagram.tests) or diagram.tests[target][0] != column:
        return target
    _, low, high = diagram.tests[target]
    return high if truth else low
