"""A reduced ordered decision diagram with integer leaves, built by hash-consing.

Equal subgraphs share one node, so the size depends on the structure of the rules, not on the 2^n truth assignments.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from rbr.errors import InputError
from rbr.rulebook.expressions import And, Expression, Name, Not, Or

MAX_STEPS = 300_000

LeafOperation = Callable[[int, int], int]


class DiagramBuilder:
    """Builds diagrams over variables ``0 .. n - 1``. Each path from a root tests the variables in this order.

    A node is an integer. A leaf has the level ``n`` and a `value`. An inner node has `low` and `high`.

    Args:
        variables: Names of the variables, in the order of the tests.

    Example:
        >>> from rbr.rulebook.expressions import parse_expression
        >>> builder = DiagramBuilder(["a", "b"])
        >>> root = builder.expression(parse_expression("a and b"), {})
        >>> builder.level(root), builder.value(builder.low(root))
        (0, 0)
    """

    def __init__(self, variables: Sequence[str]) -> None:
        self._index = {name: index for index, name in enumerate(variables)}
        self._n = len(variables)
        self._nodes: list[tuple[int, int, int]] = []
        self._ids: dict[tuple[int, int, int], int] = {}
        self._combined: dict[tuple[LeafOperation, int, int], int] = {}
        self._steps = 0

    def constant(self, value: int) -> int:
        """Returns the leaf with a value."""
        return self._intern(self._n, value, value)

    def level(self, node: int) -> int:
        """Returns the index of the variable that a node tests; for a leaf, the number of variables."""
        return self._nodes[node][0]

    def is_leaf(self, node: int) -> bool:
        """Returns whether a node is a leaf."""
        return self._nodes[node][0] == self._n

    def value(self, leaf: int) -> int:
        """Returns the value of a leaf."""
        return self._nodes[leaf][1]

    def low(self, node: int) -> int:
        """Returns the child of an inner node if the node's variable is false."""
        return self._nodes[node][1]

    def high(self, node: int) -> int:
        """Returns the child of an inner node if the node's variable is true."""
        return self._nodes[node][2]

    def expression(self, expression: Expression, defined: Mapping[str, int]) -> int:
        """Builds the diagram of an expression, with the leaves 0 (false) and 1 (true), and returns its root.

        Args:
            expression: Expression over the variables and the names in `defined`.
            defined: Root of the diagram of each derived proposition, by name.

        Raises:
            InputError: Building takes more than `MAX_STEPS` steps.
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

    def combine(self, operation: LeafOperation, left: int, right: int) -> int:
        """Combines two diagrams leaf by leaf.

        Args:
            operation: Gets the value of a leaf of `left` and of a leaf of `right`; returns the value of the new leaf.
            left: Root of a diagram.
            right: Root of another diagram.

        Returns:
            Root of the combined diagram.

        Raises:
            InputError: Building takes more than `MAX_STEPS` steps.
        """
        key = (operation, left, right)
        if key not in self._combined:
            self._count_step()
            self._combined[key] = self._combine(operation, left, right)
        return self._combined[key]

    def _combine(self, operation: LeafOperation, left: int, right: int) -> int:
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
        node_level, low, high = self._nodes[node]
        return (low, high) if node_level == level else (node, node)

    def _intern(self, level: int, low: int, high: int) -> int:
        """Returns the only node with these values. A node with equal children is replaced by its child."""
        if level < self._n and low == high:
            return low
        node = (level, low, high)
        if node not in self._ids:
            self._ids[node] = len(self._nodes)
            self._nodes.append(node)
        return self._ids[node]

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise InputError(
                "the rules are too complex to check",
                hint="Use fewer propositions in one response type, or simpler expressions.",
            )
