"""Decides the class of a reply if some grades could not be read.

A completion gives each unread proposition a truth value. If every completion leads to the same class, this is the class
of the reply, whatever the unread answers are. Otherwise the reply has no class. The results are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.rulebook import ClassDiagram
from rbr.rulebook.possible_classes import possible_classes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]

MAX_PARTIAL_COMPLETIONS = 2**14
"""A reply whose class is still open after this many partial completions has no class, so that the time is bounded."""

# Number of partial completions that are looked at together.
_BATCH = 2048
# Bounds and probabilities are sums in different orders. A bound decides only if it is clearer than rounding errors.
_MARGIN = 1e-12


def certain_class_indices(diagram: ClassDiagram, truth: BoolArray, unread: BoolArray) -> IntArray:
    """Returns the class of each reply whose unread propositions cannot change the class.

    Args:
        diagram: The compiled class rules.
        truth: Truth values, bool[N, propositions]; ignored if unread.
        unread: Whether a truth value is unknown, bool[N, propositions].

    Returns:
        Index into `diagram.classes`, shape [N]; -1 if two completions of the unread propositions have different
        classes.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "not harm and polite", "bad": "harm or not polite"}, ["good", "bad"])
        >>> truth = np.array([[True, False], [False, False]])  # harm, polite
        >>> certain_class_indices(diagram, truth, unread=np.array([[False, True], [False, True]])).tolist()
        [1, -1]
    """
    possible = possible_classes(diagram, truth, unread)  # [N, classes]
    return np.where(possible.sum(axis=1) == 1, possible.argmax(axis=1), -1)


def certain_most_probable_classes(diagram: ClassDiagram, p: FloatArray) -> tuple[IntArray, FloatArray]:
    """Returns the class that is most probable in every completion of the unread propositions.

    The difference of two class probabilities is linear in the probability of each proposition. A class that is most
    probable in every completion is therefore most probable for all probabilities of the unread propositions, too.

    Args:
        diagram: The compiled class rules.
        p: Probability in [0, 1] that each proposition is true, float64[N, propositions]; NaN if unread.

    Returns:
        Index into `diagram.classes`, shape [N], and the smallest probability of this class over all completions,
        float64[N]. If the most probable class depends on an unread proposition, the index is -1 and the probability is
        NaN. If two classes are equally probable, the better one counts as more probable.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "not harm and polite", "bad": "harm or not polite"}, ["good", "bad"])
        >>> certain_most_probable_classes(diagram, np.array([[0.75, np.nan], [0.25, np.nan], [0.25, 0.75]]))
        (array([ 1, -1,  0]), array([0.75  ,    nan, 0.5625]))
    """
    classes = np.full(len(p), -1, dtype=np.intp)
    p_class = np.full(len(p), np.nan)
    is_unread = np.isnan(p).any(axis=1)
    read = np.flatnonzero(~is_unread)
    probabilities = diagram.class_probabilities(p[read])
    classes[read] = probabilities.argmax(axis=1)
    p_class[read] = probabilities.max(axis=1)
    classes[is_unread], p_class[is_unread] = _Search(diagram, p[is_unread]).run()
    return classes, p_class


@dataclass
class _Search:
    """A branch-and-bound search for completions that change the most probable class, or make it less probable.

    The search looks at *partial completions*, which still have unread propositions. If the bounds of a partial
    completion do not decide, it is split in two: its next unread proposition is true, or false.

    Attributes:
        diagram: The compiled class rules.
        p: Probabilities, float64[N, propositions], with at least one NaN in each row.
    """

    diagram: ClassDiagram
    p: FloatArray

    def run(self) -> tuple[IntArray, FloatArray]:
        """Returns the result of `certain_most_probable_classes`."""
        first = self.diagram.class_probabilities(np.nan_to_num(self.p, nan=0.0))
        classes = first.argmax(axis=1)
        p_class = first.max(axis=1)
        n_partial = np.zeros(len(self.p), dtype=np.intp)
        # A stack of partial completions: the row that each belongs to, and its probabilities.
        waiting_rows, waiting = np.arange(len(self.p)), self.p
        while waiting_rows.size:
            rows, partial = waiting_rows[-_BATCH:], waiting[-_BATCH:]
            waiting_rows, waiting = waiting_rows[:-_BATCH], waiting[:-_BATCH]
            is_open = classes[rows] >= 0
            rows, partial = rows[is_open], partial[is_open]
            # 1. Try two completions of each. If another class is more probable, the reply has no class.
            for completion in self._completions(partial):
                probabilities = self.diagram.class_probabilities(completion)
                np.minimum.at(p_class, rows, np.take_along_axis(probabilities, classes[rows, None], axis=1)[:, 0])
                classes[rows[probabilities.argmax(axis=1) != classes[rows]]] = -1
            np.add.at(n_partial, rows, 1)
            classes[n_partial > MAX_PARTIAL_COMPLETIONS] = -1
            # 2. Keep the partial completions that are still open.
            is_open = (classes[rows] >= 0) & np.isnan(partial).any(axis=1)
            rows, partial = rows[is_open], partial[is_open]
            is_open = ~self._is_decided(partial, classes[rows], p_class[rows])
            rows, partial = rows[is_open], partial[is_open]
            # 3. Split them.
            waiting_rows = np.concatenate([waiting_rows, rows, rows])
            waiting = np.concatenate([waiting, self._split(partial)])
        return classes, np.where(classes >= 0, p_class, np.nan)

    def _completions(self, partial: FloatArray) -> Iterator[FloatArray]:
        yield np.nan_to_num(partial, nan=0.0)
        yield np.nan_to_num(partial, nan=1.0)

    def _is_decided(self, partial: FloatArray, classes: IntArray, p_class: FloatArray) -> BoolArray:
        """Returns whether no completion can make another class more probable, or the class less probable than known.

        Args:
            partial: Partial completions, float64[M, propositions].
            classes: The class that must stay the most probable one, [M].
            p_class: Smallest probability of this class that is known, [M].
        """
        n_tests, n_classes = len(self.diagram.tests), len(self.diagram.classes)
        this = np.arange(n_classes)[:, None] == classes  # [classes, M]
        # bounds[node, other]: lower bound of P(class) - P(other) among the replies at the node; if `other` is the class
        # itself, lower bound of P(class). The bound lets every path choose its own worst completion.
        bounds = np.empty((n_tests + n_classes, n_classes, len(partial)))
        for leaf in range(n_classes):
            bounds[n_tests + leaf] = this[leaf]
            bounds[n_tests + leaf, leaf] -= ~this[leaf]
        for node in reversed(range(n_tests)):  # Children before parents.
            column, low, high = self.diagram.tests[node]
            p = partial[:, column]
            mean = p * bounds[high] + (1 - p) * bounds[low]
            bounds[node] = np.where(np.isnan(p), np.minimum(bounds[high], bounds[low]), mean)
        least = bounds[self.diagram.root]  # [classes, M]
        stays_most_probable = (this | (least > _MARGIN)).all(axis=0)
        least_probability = np.where(this, least, np.inf).min(axis=0)
        return stays_most_probable & (least_probability >= p_class - _MARGIN)

    def _split(self, partial: FloatArray) -> FloatArray:
        """Makes the first unread proposition of each partial completion false, and then true; returns [2M, ...]."""
        # Order the propositions by the first test in the diagram: an early test decides more.
        order = list(dict.fromkeys(column for column, _, _ in self.diagram.tests))
        order += [column for column in range(partial.shape[1]) if column not in order]
        chosen = np.array(order)[np.isnan(partial[:, order]).argmax(axis=1)]
        false, true = partial.copy(), partial.copy()
        false[np.arange(len(partial)), chosen] = 0.0
        true[np.arange(len(partial)), chosen] = 1.0
        return np.concatenate([false, true])
