"""Compiles the classes of a response type to one decision diagram.

The diagram gives exact class probabilities, and shows whether classes overlap or leave a gap.
"""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rbr.errors import InputError, KeyPath, Location
from rbr.rulebook.decision_diagram import DiagramBuilder
from rbr.rulebook.dependencies import derived_in_use, simple_propositions
from rbr.rulebook.expressions import Expression, parse_expression
from rbr.rulebook.parts import Behavior

MAX_PROPOSITIONS = 200
MAX_COUNTEREXAMPLES = 5

_Values = TypeVar("_Values", bound=np.generic)


@dataclass(frozen=True)
class ClassDiagram:
    """A decision diagram that assigns each reply to exactly one class.

    Attributes:
        propositions: The simple propositions that the classes depend on, sorted. They are the columns of every input.
        classes: The classes, best to worst. They are the columns of the probabilities.
        tests: Inner nodes ``(column, target if false, target if true)``, parents before children, the root first.
            A target below ``len(tests)`` is the index of an inner node. Any other target is ``len(tests)`` plus the
            index of a class.
        root: The target that every reply starts at.

    Example:
        >>> rules = {"good": "apology and not judgement", "bad": "not apology or judgement"}
        >>> diagram = compile_rules(rules, order=["good", "bad"])
        >>> diagram.propositions
        ('apology', 'judgement')
        >>> diagram.class_probabilities(np.array([[0.5, 0.5]]))
        array([[0.25, 0.75]])
    """

    propositions: tuple[str, ...]
    classes: tuple[str, ...]
    tests: tuple[tuple[int, int, int], ...]
    root: int

    @property
    def reachable_classes(self) -> frozenset[str]:
        """The classes that at least one possible reply falls into."""
        targets = {self.root, *(target for _, low, high in self.tests for target in (low, high))}
        return frozenset(self.classes[target - len(self.tests)] for target in targets if target >= len(self.tests))

    @property
    def deciding_propositions(self) -> frozenset[str]:
        """The propositions that change the class of at least one possible reply."""
        return frozenset(self.propositions[column] for column, _, _ in self.tests)

    def class_probabilities(self, p: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the probability of each class if the propositions are independent (paper section 3.3).

        Args:
            p: Probability in [0, 1] that each proposition is true, shape ``[N, propositions]``.

        Returns:
            Shape ``[N, classes]``. Each row sums to 1; a row is all NaN if its row of `p` has a NaN.

        Raises:
            ValueError: The shape is wrong, or a value is outside [0, 1].
        """
        columns = np.ascontiguousarray(self._checked(np.asarray(p, dtype=np.float64)).T)
        if np.any((columns < 0) | (columns > 1)):
            raise ValueError("probabilities must be in [0, 1]")
        # Pass probability mass from the root down to the classes.
        # columns: [propositions, N]; mass: [nodes + classes, N].
        mass = np.zeros((len(self.tests) + len(self.classes), columns.shape[1]))
        mass[self.root] = 1.0
        for node, (column, low, high) in enumerate(self.tests):
            true = mass[node] * columns[column]
            mass[high] += true
            mass[low] += mass[node] - true
        shares = mass[len(self.tests) :].T.copy()
        # A row with a missing grade gets no number, even if its path never tests the missing proposition.
        shares[np.isnan(columns).any(axis=0)] = np.nan
        return shares

    def classify(self, truth: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Returns the class of each truth assignment.

        Args:
            truth: Booleans, shape ``[N, propositions]``.

        Returns:
            Indices into `classes`, shape ``[N]``.

        Raises:
            ValueError: The shape is wrong, or the values are not booleans.
        """
        truth = self._checked(np.asarray(truth))
        if truth.dtype != np.bool_:
            raise ValueError(f"truth values must be booleans, not {truth.dtype}")
        # Move every row through the diagram together. nodes: the node that each row is at, [N].
        nodes = np.full(len(truth), self.root, dtype=np.intp)
        for node, (column, low, high) in enumerate(self.tests):
            here = nodes == node
            nodes[here] = np.where(truth[here, column], high, low)
        return nodes - len(self.tests)

    def _checked(self, values: NDArray[_Values]) -> NDArray[_Values]:
        if values.ndim != 2 or values.shape[1] != len(self.propositions):
            raise ValueError(f"expected the shape [N, {len(self.propositions)}], not {list(values.shape)}")
        return values


def compile_classes(behavior: Behavior, response_type: str) -> ClassDiagram:
    """Compiles the classes of a response type.

    Raises:
        KeyError: The behavior policy does not define the response type.
        InputError: Classes overlap or leave a gap (the message describes a reply that shows it), derived propositions
            refer to each other in a circle, or the rules are too complex.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> compile_classes(load_behavior("rulebook/behavior.yaml"), "comply").classes[0]
        'ideal'
    """
    rules = behavior.response_types[response_type].classes
    path = ("response_types", response_type, "classes")
    return compile_rules(rules, behavior.class_names(response_type), behavior.derived, path=path)


def compile_rules(
    rules: Mapping[str, str],
    order: Sequence[str],
    derived: Mapping[str, str] | None = None,
    *,
    path: KeyPath = (),
) -> ClassDiagram:
    """Compiles class expressions without a behavior policy.

    Args:
        rules: Expression by class.
        order: The classes of `rules`, best to worst.
        derived: Expression by derived proposition, if `rules` mentions any.
        path: Key path of the rules, for the locations of errors.

    Raises:
        InputError: Classes overlap or leave a gap, derived propositions refer to each other in a circle, an
            expression cannot be parsed, or the rules are too complex.

    Example:
        >>> compile_rules({"good": "a", "bad": "not a"}, ["good", "bad"]).propositions
        ('a',)
    """
    expressions = {name: parse_expression(rules[name]) for name in order}
    definitions = {name: parse_expression(text) for name, text in (derived or {}).items()}
    variables = variable_order(expressions, definitions)
    if len(variables) > MAX_PROPOSITIONS:
        what = f"the classes depend on {len(variables)} propositions, more than {MAX_PROPOSITIONS}"
        raise InputError(what, where=Location(key_path=path), hint="Use fewer propositions in one response type.")
    builder = DiagramBuilder(variables)
    try:
        root = build_class_sets(builder, expressions, definitions)
    except InputError as error:
        raise InputError(error.what, where=error.where or Location(key_path=path), hint=error.hint) from error
    _check_overlaps_and_gaps(builder, root, variables, tuple(order), path)
    return _to_class_diagram(builder, root, variables, tuple(order))


def variable_order(classes: Mapping[str, Expression], derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """Returns the simple propositions that the classes depend on, in the order in which the diagram tests them.

    Raises:
        InputError: Derived propositions refer to each other in a circle.
    """
    # Propositions that decide many classes come first (in the default rules: disallowed, then illogical). After them,
    # each class is one chain of tests, so the diagram is small. Ties are broken by name, because the order of mention
    # has no meaning.
    per_class = simple_propositions(classes.values(), derived)
    class_counts = Counter(name for names in per_class for name in names)
    return tuple(sorted(class_counts, key=lambda name: (-class_counts[name], name)))


def build_class_sets(
    builder: DiagramBuilder, classes: Mapping[str, Expression], derived: Mapping[str, Expression]
) -> int:
    """Builds the diagram that maps each truth assignment to the set of classes whose expressions are true.

    Returns:
        Root node. The value of a leaf is a bit set: the first class is the lowest bit.

    Raises:
        InputError: Derived propositions refer to each other in a circle, or the rules are too complex.
    """
    derived_roots: dict[str, int] = {}
    for name in derived_in_use(classes.values(), derived):
        derived_roots[name] = builder.expression(derived[name], derived_roots)
    root = builder.constant(0)
    for index, expression in enumerate(classes.values()):
        is_true = builder.expression(expression, derived_roots)
        class_bit = builder.combine(operator.mul, is_true, builder.constant(1 << index))
        root = builder.combine(operator.or_, root, class_bit)
    return root


def _check_overlaps_and_gaps(
    builder: DiagramBuilder, root: int, variables: Sequence[str], classes: tuple[str, ...], path: KeyPath
) -> None:
    problems: list[InputError] = []
    for leaf, assignment in shortest_assignments(builder, root).items():
        true_classes = [name for index, name in enumerate(classes) if builder.value(leaf) >> index & 1]
        example = describe_reply(assignment, variables)
        if len(true_classes) > 1:
            listed = " and ".join(f"`{name}`" for name in true_classes)
            what = f"the classes {listed} overlap: {example} falls into all of them"
            hint = "Change the conditions so that only one of the classes accepts these replies."
            problems.append(InputError(what, where=Location(key_path=(*path, true_classes[-1])), hint=hint))
        elif not true_classes:
            what = f"the classes leave a gap: {example} falls into none of them"
            hint = "Widen a class so that it includes these replies."
            problems.append(InputError(what, where=Location(key_path=path), hint=hint))
    if problems:
        raise InputError.collect(problems[:MAX_COUNTEREXAMPLES])


def shortest_assignments(builder: DiagramBuilder, root: int) -> dict[int, tuple[tuple[int, bool], ...]]:
    """Finds, for each leaf, a truth assignment of the fewest variables that leads to it.

    Returns:
        Pairs of variable and truth value, by leaf, in the order of a breadth-first search from the root.
    """
    assignments: dict[int, tuple[tuple[int, bool], ...]] = {root: ()}
    queue = [root]
    for node in queue:
        if not builder.is_leaf(node):
            for target, truth in ((builder.high(node), True), (builder.low(node), False)):
                if target not in assignments:
                    assignments[target] = (*assignments[node], (builder.level(node), truth))
                    queue.append(target)
    return {node: assignment for node, assignment in assignments.items() if builder.is_leaf(node)}


def describe_reply(assignment: tuple[tuple[int, bool], ...], variables: Sequence[str]) -> str:
    """Describes the replies of a truth assignment, such as ``a reply with apology, but without judgement``.

    Args:
        assignment: Pairs of variable index and truth value.
        variables: Names of the variables.
    """
    having = [variables[index] for index, truth in assignment if truth]
    lacking = [variables[index] for index, truth in assignment if not truth]
    if not assignment:
        return "every reply"
    if not lacking:
        return f"a reply with {_listed(having)}"
    if not having:
        return f"a reply without {_listed(lacking)}"
    return f"a reply with {_listed(having)}, but without {_listed(lacking)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _to_class_diagram(
    builder: DiagramBuilder, root: int, variables: Sequence[str], classes: tuple[str, ...]
) -> ClassDiagram:
    propositions = tuple(sorted(variables))
    # Number the nodes by level and by the order of a search from the root. The order in which they were built depends
    # on the text of the rules, and rules with the same meaning must get the same diagram.
    inner = sorted((node for node in _reachable(builder, root) if not builder.is_leaf(node)), key=builder.level)
    number = {node: index for index, node in enumerate(inner)}

    def target(node: int) -> int:
        return number[node] if node in number else len(inner) + builder.value(node).bit_length() - 1

    column = [propositions.index(name) for name in variables]
    tests = tuple(
        (column[builder.level(node)], target(builder.low(node)), target(builder.high(node))) for node in inner
    )
    return ClassDiagram(propositions, classes, tests, target(root))


def _reachable(builder: DiagramBuilder, root: int) -> list[int]:
    """Returns the nodes below a root, and the root, in the order of a breadth-first search."""
    seen = {root: None}
    queue = [root]
    for node in queue:
        if not builder.is_leaf(node):
            for target in (builder.low(node), builder.high(node)):
                if target not in seen:
                    seen[target] = None
                    queue.append(target)
    return queue
