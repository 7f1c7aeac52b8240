"""A reduced ordered decision diagram with integer leaves, built by hash-consing.

Equal subgraphs are one node, so the size follows the rules' structure and not the 2^n truth assignments.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from rbr.errors import InputError
from rbr.rulebook.expressions import And, Expression, Name, Not, Or

MAX_STEPS = 300_000

Combine = Callable[[int, int], int]


class DecisionBuilder:
    """Builds nodes over variables ``0 .. n - 1``, tested in that order from the root.

    A node is an integer. `level` of a leaf is ``n``; `value` is defined for leaves, `low` and `high`
    for the others.
    """

    def __init__(self, variables: Sequence[str]) -> None:
        self._index = {name: index for index, name in enumerate(variables)}
        self._n = len(variables)
        self._nodes: list[tuple[int, int, int]] = []
        self._ids: dict[tuple[int, int, int], int] = {}
        self._combined: dict[tuple[Combine, int, int], int] = {}
        self._steps = 0

    def constant(self, value: int) -> int:
        """The leaf of a value."""
        return self._intern(self._n, value, value)

    def level(self, node: int) -> int:
        """The variable that a node tests; the number of variables for a leaf."""
        return self._nodes[node][0]

    def is_leaf(self, node: int) -> bool:
        """Whether a node is a leaf."""
        return self._nodes[node][0] == self._n

    def value(self, leaf: int) -> int:
        """The value of a leaf."""
        return self._nodes[leaf][1]

    def low(self, node: int) -> int:
        """Where a node leads if its variable is false."""
        return self._nodes[node][1]

    def high(self, node: int) -> int:
        """Where a node leads if its variable is true."""
        return self._nodes[node][2]

    def expression(self, expression: Expression, defined: Mapping[str, int]) -> int:
        """The node of an expression, with leaves 0 and 1.

        Args:
            expression: Over variables and the names in `defined`.
            defined: Nodes of derived names.

        Raises:
            InputError: The diagram grows past `MAX_STEPS` steps.
        """
        match expression:
            case Name(name):
                if name in defined:
                    return defined[name]
                return self._intern(self._index[name], self.constant(0), self.constant(1))
            case Not(operand):
                return self.combine(operator.xor, self.expression(operand, defined), self.constant(1))
            case And(operands):
                return reduce(self._both, (self.expression(operand, defined) for operand in operands))
            case Or(operands):
                return reduce(self._either, (self.expression(operand, defined) for operand in operands))

    def combine(self, operation: Combine, left: int, right: int) -> int:
        """The diagram whose leaf is ``operation(left's leaf, right's leaf)`` for every assignment."""
        key = (operation, left, right)
        if key not in self._combined:
            self._spend()
            self._combined[key] = self._combine(operation, left, right)
        return self._combined[key]

    def _combine(self, operation: Combine, left: int, right: int) -> int:
        level = min(self.level(left), self.level(right))
        if level == self._n:
            return self.constant(operation(self.value(left), self.value(right)))
        left_low, left_high = self._branches(left, level)
        right_low, right_high = self._branches(right, level)
        low = self.combine(operation, left_low, right_low)
        high = self.combine(operation, left_high, right_high)
        return self._intern(level, low, high)

    def _both(self, left: int, right: int) -> int:
        return self.combine(operator.and_, left, right)

    def _either(self, left: int, right: int) -> int:
        return self.combine(operator.or_, left, right)

    def _branches(self, node: int, level: int) -> tuple[int, int]:
        here, low, high = self._nodes[node]
        return (low, high) if here == level else (node, node)

    def _intern(self, level: int, low: int, high: int) -> int:
        if level < self._n and low == high:
            return low
        node = (level, low, high)
        if node not in self._ids:
            self._ids[node] = len(self._nodes)
            self._nodes.append(node)
        return self._ids[node]

    def _spend(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise InputError(
                "the rules are too entangled to be checked for overlaps and gaps",
                hint="Use fewer propositions in one response type, or simpler expressions.",
            )
