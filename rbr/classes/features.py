"""Features of a reply: the class probabilities and the proposition probabilities (paper section 3.4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rbr.rulebook import Behavior, ClassDiagram, compile_classes

FloatArray = NDArray[np.float64]

CLASS_PREFIX = "class:"
PROPOSITION_PREFIX = "proposition:"
NEUTRAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class FeatureMap:
    """Turns the grades of replies to one response type into classes and features.

    Attributes:
        diagram: Sorts replies into classes.
        feature_propositions: Propositions whose probabilities are features themselves, sorted.
        thresholds: Decision threshold of propositions in (0, 1); 0.5 for those not named. A grade is
            recentered (`recentered`) before anything is made of it, so that its threshold becomes 0.5.
    """

    diagram: ClassDiagram
    feature_propositions: tuple[str, ...]
    thresholds: Mapping[str, float]

    @cached_property
    def propositions(self) -> tuple[str, ...]:
        """The propositions to grade, sorted: the columns of every input."""
        return tuple(sorted({*self.diagram.propositions, *self.feature_propositions}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, best to worst: the columns of the class probabilities."""
        return self.diagram.classes

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, the columns of `features`: ``class:ideal``, ..., ``proposition:apology``, ..."""
        return (
            *(CLASS_PREFIX + name for name in self.classes),
            *(PROPOSITION_PREFIX + name for name in self.feature_propositions),
        )

    def features(self, p_yes: FloatArray) -> FloatArray:
        """phi of the paper's Eq. 1.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1], NaN where missing.

        Returns:
            float64[N, names]; a row with a missing grade holds NaN.
        """
        p_yes = self._recentered(p_yes)
        return np.hstack([self._of_classes(p_yes), p_yes[:, self._columns(self.feature_propositions)]])

    def class_probabilities(self, p_yes: FloatArray) -> FloatArray:
        """Probability of each class, as in `ClassDiagram.class_probabilities`.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1], NaN where missing.

        Returns:
            float64[N, classes]; rows sum to 1, or are NaN where a grade that a class needs is missing.
        """
        return self._of_classes(self._recentered(p_yes))

    def binary_classes(self, p_yes: FloatArray) -> NDArray[np.intp]:
        """Class of each reply with every grade cut at its threshold: what the evaluation counts (section 6).

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1], NaN where missing.

        Returns:
            Index into `classes`, shape [N]; -1 where a grade that a class needs is missing.
        """
        needed = p_yes[:, self._columns(self.diagram.propositions)]
        cuts = np.array([self.thresholds.get(name, NEUTRAL_THRESHOLD) for name in self.diagram.propositions])
        classes = self.diagram.classify(needed >= cuts)
        classes[np.isnan(needed).any(axis=1)] = -1
        return classes

    def _of_classes(self, recentered_grades: FloatArray) -> FloatArray:
        return self.diagram.class_probabilities(recentered_grades[:, self._columns(self.diagram.propositions)])

    def _columns(self, names: tuple[str, ...]) -> list[int]:
        return [self.propositions.index(name) for name in names]

    def _recentered(self, p_yes: FloatArray) -> FloatArray:
        if p_yes.ndim != 2 or p_yes.shape[1] != len(self.propositions):
            raise ValueError(f"expected the shape [N, {len(self.propositions)}], not {list(p_yes.shape)}")
        grades = np.array(p_yes, dtype=np.float64)
        for column, name in enumerate(self.propositions):
            grades[:, column] = recentered(grades[:, column], self.thresholds.get(name, NEUTRAL_THRESHOLD))
        return grades


def feature_map(
    behavior: Behavior,
    response_type: str,
    *,
    accepted: Collection[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> FeatureMap:
    """The features of a response type.

    Args:
        behavior: The behavior policy.
        response_type: One of its response types.
        accepted: Propositions that the grader judges well enough to be feature_propositions by themselves; all where
            None. The classes keep theirs, since a rule cannot be read without them.
        thresholds: Decision thresholds by proposition; those of other propositions are passed over.

    Raises:
        KeyError: The behavior policy has no such response type.
        InputError: The classes overlap or leave a gap.
    """
    diagram = compile_classes(behavior, response_type)
    listed = behavior.response_types[response_type].features
    feature_propositions = tuple(sorted(name for name in listed if accepted is None or name in accepted))
    needed = {*diagram.propositions, *feature_propositions}
    own = {name: value for name, value in sorted((thresholds or {}).items()) if name in needed}
    return FeatureMap(diagram, feature_propositions, own)


def feature_names(behavior: Behavior, response_type: str) -> tuple[str, ...]:
    """Names of the features of a response type: its classes, best to worst, then its propositions, sorted."""
    return feature_map(behavior, response_type).names


def recentered(p: FloatArray, threshold: float) -> FloatArray:
    """Shifts log odds so that a probability at the threshold becomes 0.5; 0 and 1 stay where they are.

    Args:
        p: Probabilities of any shape in [0, 1]; NaN stays NaN.
        threshold: In (0, 1).

    Raises:
        ValueError: The threshold is not in (0, 1).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold must lie between 0 and 1, not at {threshold}")
    if threshold == NEUTRAL_THRESHOLD:
        return p
    yes = p * (1 - threshold)
    return yes / (yes + (1 - p) * threshold)


def likeliest(class_probabilities: FloatArray) -> NDArray[np.intp]:
    """The most probable class of each row, the better one of a tie.

    Args:
        class_probabilities: float64[N, C], NaN in rows that are not fully graded.

    Returns:
        Index of a column, shape [N]; -1 in rows with NaN.
    """
    classes = np.nan_to_num(class_probabilities).argmax(axis=1)
    classes[np.isnan(class_probabilities).any(axis=1)] = -1
    return classes
