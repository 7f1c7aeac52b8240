"""Decides exactly whether R_rbr respects the order of the classes, for every reply that the class rules allow.

R_rbr of a reply with known truth values is the weight of its class plus the weights of its true feature propositions.
The lowest and the highest R_rbr of a class are shortest paths through the class diagram, so all 2^n combinations of n
propositions are covered in one pass. A grade between 0 and 1 makes R_rbr an average over these replies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rbr.rulebook import ClassDiagram

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ExtremeReply:
    """The reply of a class that has the lowest or the highest R_rbr.

    Attributes:
        class_name: Class of the reply.
        r_rbr: R_rbr of the reply, in units of R_rm.
        features: Its features, float64[F] of zeros and ones.
        true_propositions: The propositions that are true of the reply, sorted.

    Example:
        >>> ExtremeReply("ideal", 1.5, np.array([1.0, 0.0]), ("apology",)).r_rbr
        1.5
    """

    class_name: str
    r_rbr: float
    features: FloatArray
    true_propositions: tuple[str, ...]


@dataclass(frozen=True)
class OrderGap:
    """The distance in R_rbr between two neighboring classes.

    Attributes:
        better: The reply of the better class with the lowest R_rbr.
        worse: The reply of the worse class with the highest R_rbr.

    Example:
        >>> worst_ideal = ExtremeReply("ideal", 1.5, np.array([1.0, 0.0]), ())
        >>> best_bad = ExtremeReply("bad", 1.25, np.array([0.0, 1.0]), ())
        >>> OrderGap(worst_ideal, best_bad).lead
        0.25
    """

    better: ExtremeReply
    worse: ExtremeReply

    @property
    def lead(self) -> float:
        """Smallest R_rbr of the better class minus the largest of the worse class; below 0 if the order is wrong."""
        return self.better.r_rbr - self.worse.r_rbr


@dataclass(frozen=True)
class ClassOrder:
    """The order of the classes of one response type, as constraints on the weights of a reward.

    Attributes:
        diagram: The compiled classes, best to worst.
        feature_propositions: Propositions whose own probabilities are features. They may include propositions that
            no class depends on; these can be true or false in every class.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> order = ClassOrder(diagram, feature_propositions=("apology", "judgement"))
        >>> (gap,) = order.gaps(np.array([1.0, -1.0, 0.5, 3.0]))
        >>> gap.lead, gap.worse.true_propositions  # A bad reply with judgement gets more than a good reply without.
        (-0.5, ('judgement',))
    """

    diagram: ClassDiagram
    feature_propositions: tuple[str, ...]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that at least one reply falls into, best to worst."""
        return tuple(name for name in self.diagram.classes if name in self.diagram.reachable_classes)

    @cached_property
    def outside_columns(self) -> tuple[int, ...]:
        """The features whose proposition no class depends on, as indices of weights."""
        n_classes, inside = len(self.diagram.classes), set(self.diagram.propositions)
        return tuple(n_classes + index for index, name in enumerate(self.feature_propositions) if name not in inside)

    def gaps(self, weights: FloatArray, below: float = np.inf) -> list[OrderGap]:
        """Returns the gap between each reachable class and the next worse one, best to worst.

        Args:
            weights: One weight per feature, float64[F]: first the classes of the diagram, then the propositions.
            below: Only gaps with a smaller lead are returned.
        """
        extremes = _Extremes.of(self, weights)
        classes = [self.diagram.classes.index(name) for name in self.classes]
        return [
            OrderGap(extremes.reply(_LOWEST, better), extremes.reply(_HIGHEST, worse))
            for better, worse in pairwise(classes)
            if extremes.r_rbr(_LOWEST, better) - extremes.r_rbr(_HIGHEST, worse) < below
        ]

    def lowest(self, weights: FloatArray) -> ExtremeReply:
        """Returns the reply with the lowest R_rbr of all replies that the class rules allow.

        A grade between 0 and 1 makes R_rbr an average over these replies, so no grades give a lower R_rbr.

        Args:
            weights: As for `gaps`.

        Example:
            >>> from rbr.rulebook import compile_rules
            >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
            >>> ClassOrder(diagram, ("apology",)).lowest(np.array([1.0, -0.5, -2.0])).true_propositions
            ('apology',)
        """
        extremes = _Extremes.of(self, weights)
        classes = [self.diagram.classes.index(name) for name in self.classes]
        return extremes.reply(_LOWEST, min(classes, key=lambda index: extremes.r_rbr(_LOWEST, index)))


_LOWEST, _HIGHEST = 0, 1
_DIRECTIONS = np.array([[-1.0], [1.0]])


@dataclass(frozen=True)
class _Extremes:
    """The lowest and the highest R_rbr of each class. The first axis of each array is `_LOWEST` or `_HIGHEST`.

    The lowest R_rbr is the highest one for the opposite weights, so one search serves both.

    Attributes:
        order: Classes and features.
        weights: float64[F].
        gains: What each feature proposition adds if it is true, float64[2, features].
        losses: For each proposition of the diagram, what is lost if a test makes it false and if a test makes it true,
            float64[2, 2, propositions]. If nothing were tested, every proposition with a gain above 0 would be true.
        best: The best sum of losses on a path from each target of the diagram to each class, float64[targets, 2,
            classes].
    """

    order: ClassOrder
    weights: FloatArray
    gains: FloatArray
    losses: FloatArray
    best: FloatArray

    @classmethod
    def of(cls, order: ClassOrder, weights: FloatArray) -> "_Extremes":
        diagram = order.diagram
        n_tests, n_classes = len(diagram.tests), len(diagram.classes)
        gains = _DIRECTIONS * weights[n_classes:]
        gain = np.zeros((2, len(diagram.propositions)))
        columns = {name: column for column, name in enumerate(diagram.propositions)}
        for index, name in enumerate(order.feature_propositions):
            if name in columns:
                gain[:, columns[name]] = gains[:, index]
        losses = np.stack([-np.maximum(gain, 0.0), np.minimum(gain, 0.0)])
        # From the classes up to the root.
        best = np.full((n_tests + n_classes, 2, n_classes), -np.inf)
        for index in range(n_classes):
            best[n_tests + index, :, index] = 0.0
        if_false, if_true = losses[0].T[:, :, None], losses[1].T[:, :, None]  # [propositions, 2, 1] each
        for node in range(n_tests - 1, -1, -1):
            column, low, high = diagram.tests[node]
            np.maximum(best[low] + if_false[column], best[high] + if_true[column], out=best[node])
        return cls(order, weights, gains, losses, best)

    def r_rbr(self, which: int, class_index: int) -> float:
        """Returns the lowest or the highest R_rbr of a class."""
        untested = float(np.maximum(self.gains[which], 0.0).sum())
        of_propositions = untested + float(self.best[self.order.diagram.root, which, class_index])
        return float(self.weights[class_index]) + float(_DIRECTIONS[which, 0]) * of_propositions

    def reply(self, which: int, class_index: int) -> ExtremeReply:
        """Returns the reply of a class with the lowest or the highest R_rbr."""
        order, n_classes = self.order, len(self.order.diagram.classes)
        tested = dict(self._best_path(which, class_index))
        gains = zip(order.feature_propositions, self.gains[which], strict=True)
        true = {name for name, value in tested.items() if value}
        true |= {name for name, gain in gains if gain > 0 and name not in tested}
        features = np.zeros(self.weights.size)
        features[class_index] = 1.0
        features[n_classes:] = [name in true for name in order.feature_propositions]
        class_name = order.diagram.classes[class_index]
        return ExtremeReply(class_name, float(features @ self.weights), features, tuple(sorted(true)))

    def _best_path(self, which: int, class_index: int) -> Iterator[tuple[str, bool]]:
        """Yields the tested propositions on the best path to a class, with their truth values."""
        diagram, target = self.order.diagram, self.order.diagram.root
        best, if_false, if_true = self.best[:, which, class_index], self.losses[0, which], self.losses[1, which]
        while target < len(diagram.tests):
            column, low, high = diagram.tests[target]
            truth = bool(best[high] + if_true[column] > best[low] + if_false[column])
            yield diagram.propositions[column], truth
            target = high if truth else low
