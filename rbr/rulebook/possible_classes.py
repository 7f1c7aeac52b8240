"""Finds the classes that a reply may have if the truth of some propositions is unknown."""

import numpy as np
from numpy.typing import NDArray

from rbr.rulebook.class_diagram import ClassDiagram

BoolArray = NDArray[np.bool_]


def possible_classes(diagram: ClassDiagram, truth: BoolArray, unknown: BoolArray) -> BoolArray:
    """Returns which classes each reply has in at least one completion of its unknown truth values.

    The result is exact. If a reply has exactly one possible class, it has this class whatever the unknown values are.

    Args:
        diagram: The compiled classes of a response type.
        truth: Truth values, bool[N, propositions]; ignored if unknown.
        unknown: Whether a truth value is unknown, bool[N, propositions].

    Returns:
        bool[N, classes]. Each row has at least one True.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "polite and not harm", "bad": "harm or not polite"}, ["good", "bad"])
        >>> truth = np.array([[True, False], [False, False]])  # harm, polite
        >>> possible_classes(diagram, truth, unknown=np.array([[False, True], [False, True]])).tolist()
        [[False, True], [True, True]]
    """
    # Mark the nodes that a completion reaches, from the root down. A path tests each proposition at most once, so every
    # marked path belongs to a completion. reached: [nodes + classes, N].
    n_tests = len(diagram.tests)
    reached = np.zeros((n_tests + len(diagram.classes), len(truth)), dtype=np.bool_)
    reached[diagram.root] = True
    may_be_true, may_be_false = (truth | unknown).T, (~truth | unknown).T
    for node, (column, low, high) in enumerate(diagram.tests):
        reached[high] |= reached[node] & may_be_true[column]
        reached[low] |= reached[node] & may_be_false[column]
    return reached[n_tests:].T
