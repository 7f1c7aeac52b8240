"""Classes of a response type as one decision diagram: exact class probabilities, overlaps and gaps found."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rbr.errors import InputError
from rbr.rulebook.decision_diagram import DecisionBuilder
from rbr.rulebook.dependencies import derived_in_use, leaves
from rbr.rulebook.expressions import Expression, parse
from rbr.rulebook.models import Behavior

MAX_PROPOSITIONS = 200
MAX_COUNTEREXAMPLES = 5

_Values = TypeVar("_Values", bound=np.generic)


@dataclass(frozen=True)
class ClassDiagram:
    """Sorts replies into classes, of which every truth assignment satisfies exactly one.

    Attributes:
        propositions: The simple propositions that the classes depend on, sorted; the columns of every input.
        classes: The classes, best to worst; the columns of the probabilities.
        tests: Inner nodes ``(column, if false, if true)``, parents before children, the root first. Targets
            below ``len(tests)`` are inner nodes, the others are ``len(tests) + class index``.
    """

    propositions: tuple[str, ...]
    classes: tuple[str, ...]
    tests: tuple[tuple[int, int, int], ...]
    root: int

    @property
    def reachable_classes(self) -> frozenset[str]:
        """The classes that some reply falls into."""
        targets = {self.root, *(target for _, low, high in self.tests for target in (low, high))}
        return frozenset(self.classes[target - len(self.tests)] for target in targets if target >= len(self.tests))

    @property
    def deciding_propositions(self) -> frozenset[str]:
        """The propositions that change the class of some reply."""
        return frozenset(self.propositions[column] for column, _, _ in self.tests)

    def class_probabilities(self, p: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of each class if the propositions were independent (paper section 3.3).

        Args:
            p: Probabilities in [0, 1] that each proposition is true, shape ``[N, propositions]``.

        Returns:
            Shape ``[N, classes]``; each row sums to 1, or is NaN throughout where the row of `p` holds a NaN.

        Raises:
            ValueError: The shape does not fit, or a value is outside [0, 1].
        """
        columns = np.ascontiguousarray(self._checked(np.asarray(p, dtype=np.float64)).T)
        if np.any((columns < 0) | (columns > 1)):
            raise ValueError("probabilities must be in [0, 1]")
        mass = np.zeros((len(self.tests) + len(self.classes), columns.shape[1]))
        mass[self.root] = 1.0
        for node, (column, low, high) in enumerate(self.tests):
            true = mass[node] * columns[column]
            mass[high] += true
            mass[low] += mass[node] - true
        shares = mass[len(self.tests) :].T.copy()
        # A path that never tests the missing proposition would give a number to a row not fully graded.
        shares[np.isnan(columns).any(axis=0)] = np.nan
        return shares

    def classify(self, truth: NDArray[np.bool_]) -> NDArray[np.intp]:
        """The class of each truth assignment.

        Args:
            truth: Booleans, shape ``[N, propositions]``.

        Returns:
            Shape ``[N]``, indices into `classes`.

        Raises:
            ValueError: The shape does not fit, or the values are no booleans.
        """
        truth = self._checked(np.asarray(truth))
        if truth.dtype != np.bool_:
            raise ValueError(f"truth values must be booleans, not {truth.dtype}")
        at = np.full(len(truth), self.root, dtype=np.intp)
        for node, (column, low, high) in enumerate(self.tests):
            here = at == node
            at[here] = np.where(truth[here, column], high, low)
        return at - len(self.tests)

    def _checked(self, values: NDArray[_Values]) -> NDArray[_Values]:
        if values.ndim != 2 or values.shape[1] != len(self.propositions):
            raise ValueError(f"expected the shape [N, {len(self.propositions)}], not {list(values.shape)}")
        return values


def compile_classes(behavior: Behavior, response_type: str) -> ClassDiagram:
    """Compiles the classes of a response type.

    Raises:
        KeyError: The behavior policy has no such response type.
        InputError: Classes overlap or leave a gap (with a counterexample), or derived propositions
            refer to each other in a circle.
    """
    rules = behavior.response_types[response_type].classes
    where = f"response_types.{response_type}.classes"
    return compile_rules(rules, behavior.class_names(response_type), behavior.derived, where=where)


def compile_rules(
    rules: Mapping[str, str],
    order: Sequence[str],
    derived: Mapping[str, str] | None = None,
    *,
    where: str = "",
) -> ClassDiagram:
    """Compiles class expressions that come without a behavior policy.

    Args:
        rules: Expression per class.
        order: The classes of `rules`, best to worst.
        derived: Expression per derived proposition that the rules may mention.
        where: What error messages give as their place.

    Raises:
        InputError: As for `compile_classes`, or an expression cannot be parsed.
    """
    expressions = {name: parse(rules[name]) for name in order}
    definitions = {name: parse(text) for name, text in (derived or {}).items()}
    variables = variable_order(expressions, definitions)
    if len(variables) > MAX_PROPOSITIONS:
        what = f"the classes depend on {len(variables)} propositions, more than {MAX_PROPOSITIONS}"
        raise InputError(what, where=where, hint="Use fewer propositions in one response type.")
    builder = DecisionBuilder(variables)
    try:
        root = class_sets(builder, expressions, definitions)
    except InputError as error:
        raise InputError(error.what, where=error.where or where, hint=error.hint) from error
    _refuse_overlaps_and_gaps(builder, root, variables, tuple(order), where)
    return _frozen(builder, root, variables, tuple(order))


def variable_order(classes: Mapping[str, Expression], derived: Mapping[str, Expression]) -> tuple[str, ...]:
    """The simple propositions that the classes depend on, in the order that a diagram tests them."""
    # Propositions that decide many classes come first (for the default rules: disallowed, then illogical),
    # which leaves one chain of tests per class behind them. Ties by name: the order of mention is style.
    share = Counter(name for per_class in leaves(classes.values(), derived) for name in per_class)
    return tuple(sorted(share, key=lambda name: (-share[name], name)))


def class_sets(builder: DecisionBuilder, classes: Mapping[str, Expression], derived: Mapping[str, Expression]) -> int:
    """Builds the node whose leaves are bit sets of the classes that hold, the first class the lowest bit."""
    defined: dict[str, int] = {}
    for name in derived_in_use(classes.values(), derived):
        defined[name] = builder.expression(derived[name], defined)
    root = builder.constant(0)
    for index, expression in enumerate(classes.values()):
        holds = builder.expression(expression, defined)
        marked = builder.combine(operator.mul, holds, builder.constant(1 << index))
        root = builder.combine(operator.or_, root, marked)
    return root


def _refuse_overlaps_and_gaps(
    builder: DecisionBuilder, root: int, variables: Sequence[str], classes: tuple[str, ...], where: str
) -> None:
    problems: list[InputError] = []
    for leaf, assignment in shortest_assignments(builder, root).items():
        held = [name for index, name in enumerate(classes) if builder.value(leaf) >> index & 1]
        example = in_words(assignment, variables)
        if len(held) > 1:
            both = " and ".join(f"`{name}`" for name in held)
            what = f"the classes {both} overlap: {example} falls into all of them"
            hint = "Add a condition to all but one of them that excludes the others."
            problems.append(InputError(what, where=f"{where}.{held[-1]}".lstrip("."), hint=hint))
        elif not held:
            what = f"the classes leave a gap: {example} falls into none of them"
            hint = "Widen a class so that it takes such replies in."
            problems.append(InputError(what, where=where, hint=hint))
    if problems:
        raise InputError.collect(problems[:MAX_COUNTEREXAMPLES])


def shortest_assignments(builder: DecisionBuilder, root: int) -> dict[int, tuple[tuple[int, bool], ...]]:
    """For every leaf, a truth assignment of the fewest variables that leads to it; breadth first."""
    found: dict[int, tuple[tuple[int, bool], ...]] = {root: ()}
    queue = [root]
    for node in queue:
        if not builder.is_leaf(node):
            for target, truth in ((builder.high(node), True), (builder.low(node), False)):
                if target not in found:
                    found[target] = (*found[node], (builder.level(node), truth))
                    queue.append(target)
    return {node: assignment for node, assignment in found.items() if builder.is_leaf(node)}


def in_words(assignment: tuple[tuple[int, bool], ...], variables: Sequence[str]) -> str:
    """An assignment as `shortest_assignments` gives it: ``a reply with apology, but without judgement``."""
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


def _frozen(builder: DecisionBuilder, root: int, variables: Sequence[str], classes: tuple[str, ...]) -> ClassDiagram:
    propositions = tuple(sorted(variables))
    # Numbered as they are met from the root, not as they were built: rules that say the same get the same diagram.
    inner = sorted((node for node in _reachable(builder, root) if not builder.is_leaf(node)), key=builder.level)
    place = {node: index for index, node in enumerate(inner)}

    def target(node: int) -> int:
        return place[node] if node in place else len(inner) + builder.value(node).bit_length() - 1

    column = [propositions.index(name) for name in variables]
    tests = tuple(
        (column[builder.level(node)], target(builder.low(node)), target(builder.high(node))) for node in inner
    )
    return ClassDiagram(propositions, classes, tests, target(root))


def _reachable(builder: DecisionBuilder, root: int) -> list[int]:
    seen = {root: None}
    queue = [root]
    for node in queue:
        if not builder.is_leaf(node):
            for target in (builder.low(node), builder.high(node)):
                if target not in seen:
                    seen[target] = None
                    queue.append(target)
    return queue
