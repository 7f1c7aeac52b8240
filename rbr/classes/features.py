"""Features of a reply: its class probabilities and its proposition probabilities (paper section 3.4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rbr.classes.unread_grades import certain_class_indices, certain_most_probable_classes
from rbr.rulebook import Behavior, ClassDiagram, compile_classes
from rbr.rulebook.possible_classes import possible_classes

FloatArray = NDArray[np.float64]

CLASS_PREFIX = "class:"
PROPOSITION_PREFIX = "proposition:"
NEUTRAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class FeatureMap:
    """Computes classes and features from the grades of replies to one response type.

    Each grade is first recentered (see `recentered`), so that the threshold of its proposition becomes 0.5.

    Attributes:
        diagram: The compiled class rules of the response type.
        feature_propositions: Propositions whose own probabilities are features, sorted.
        thresholds: Decision threshold by proposition, in (0, 1); propositions that are not listed have 0.5.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> features = FeatureMap(diagram, feature_propositions=("judgement",), thresholds={})
        >>> features.propositions, features.feature_names
        (('apology', 'judgement'), ('class:good', 'class:bad', 'proposition:judgement'))
        >>> features.features(np.array([[0.75, 0.125]]))
        array([[0.75 , 0.25 , 0.125]])
    """

    diagram: ClassDiagram
    feature_propositions: tuple[str, ...]
    thresholds: Mapping[str, float]

    @cached_property
    def propositions(self) -> tuple[str, ...]:
        """The propositions to grade, sorted; the columns of `p_yes` in the methods of this class."""
        return tuple(sorted({*self.diagram.propositions, *self.feature_propositions}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, best to worst; the columns of the class probabilities."""
        return self.diagram.classes

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of `features`: ``class:ideal``, ..., ``proposition:apology``, ..."""
        return (
            *(CLASS_PREFIX + name for name in self.classes),
            *(PROPOSITION_PREFIX + name for name in self.feature_propositions),
        )

    def features(self, p_yes: FloatArray) -> FloatArray:
        """Returns the feature vector phi of each reply (Eq. 1).

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            float64[N, feature_names]; a row with a missing grade contains NaN.
        """
        p_yes = self._recentered(p_yes)
        class_probabilities = self.diagram.class_probabilities(p_yes[:, self._columns(self.diagram.propositions)])
        return np.hstack([class_probabilities, p_yes[:, self._columns(self.feature_propositions)]])

    def class_probabilities(self, p_yes: FloatArray) -> FloatArray:
        """Returns the probability of each class, as `ClassDiagram.class_probabilities` does.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            float64[N, classes]. Each row sums to 1, or is NaN if a grade that the class rules need is missing.
        """
        return self.diagram.class_probabilities(self.rule_probabilities(p_yes))

    def thresholded_class_indices(self, p_yes: FloatArray) -> NDArray[np.intp]:
        """Returns the class of each reply after every grade is cut at its threshold (paper section 6).

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            Index into `classes`, shape [N]; -1 if the class depends on a missing grade.
        """
        return certain_class_indices(self.diagram, *self._truth_and_unread(p_yes))

    def possible_classes(self, p_yes: FloatArray) -> NDArray[np.bool_]:
        """Returns the classes that each reply may have after every known grade is cut at its threshold.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            bool[N, classes]; the classes of all completions of the missing grades.
        """
        return possible_classes(self.diagram, *self._truth_and_unread(p_yes))

    def most_probable_classes(self, p_yes: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Returns the most probable class of each reply, and its probability.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            Index into `classes`, shape [N], and the probability of that class, float64[N]. If grades are missing, it is
            the class that is most probable whatever the missing answers are, and the smallest probability that it can
            have; if there is no such class, -1 and NaN. If two classes are equally probable, the better one is used.
        """
        return certain_most_probable_classes(self.diagram, self.rule_probabilities(p_yes))

    def rule_probabilities(self, p_yes: FloatArray) -> FloatArray:
        """Returns the probabilities that the class rules get: the recentered grades of their propositions.

        Args:
            p_yes: Grades, float64[N, propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            float64[N, diagram.propositions]; NaN if a grade is missing.
        """
        return self._recentered(p_yes)[:, self._columns(self.diagram.propositions)]

    def _truth_and_unread(self, p_yes: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns the truth values of the propositions of the class rules, and which of them are unknown."""
        rule_grades = p_yes[:, self._columns(self.diagram.propositions)]
        thresholds = np.array([self.thresholds.get(name, NEUTRAL_THRESHOLD) for name in self.diagram.propositions])
        return rule_grades >= thresholds, np.isnan(rule_grades)

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
    """Returns the feature map of a response type.

    Args:
        behavior: The behavior policy.
        response_type: A response type of the behavior policy.
        accepted: Propositions that may be features of their own, because the grader judges them well enough; None
            accepts all. Class rules still use the other propositions, because a rule needs all its propositions.
        thresholds: Decision threshold by proposition; thresholds of other propositions are ignored.

    Raises:
        KeyError: The behavior policy does not have the response type.
        InputError: The classes overlap or leave a gap.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> features = feature_map(load_behavior("rulebook/behavior.yaml"), "comply", accepted=["apology"])
        >>> features.classes
        ('ideal', 'minimum_acceptable_style', 'unacceptable', 'illogical', 'disallowed')
    """
    diagram = compile_classes(behavior, response_type)
    declared = behavior.response_types[response_type].features
    feature_propositions = tuple(sorted(name for name in declared if accepted is None or name in accepted))
    needed = {*diagram.propositions, *feature_propositions}
    needed_thresholds = {name: value for name, value in sorted((thresholds or {}).items()) if name in needed}
    return FeatureMap(diagram, feature_propositions, needed_thresholds)


def recentered(p: FloatArray, threshold: float) -> FloatArray:
    """Shifts the log odds of probabilities so that the threshold becomes 0.5; 0 stays 0 and 1 stays 1.

    Args:
        p: Probabilities of any shape in [0, 1]; NaN stays NaN.
        threshold: The probability that becomes 0.5, in (0, 1).

    Returns:
        Probabilities in the shape of `p`.

    Raises:
        ValueError: The threshold is not in (0, 1).

    Example:
        >>> recentered(np.array([0.0, 0.25, 1.0]), threshold=0.25)
        array([0. , 0.5, 1. ])
    """
    if not 0 < threshold < 1:
        raise ValueError(f"the threshold is {threshold}, but must be between 0 and 1")
    if threshold == NEUTRAL_THRESHOLD:
        return p
    # The inverse logit of logit(p) - logit(threshold), without logarithms: logit is infinite at 0 and 1.
    weighted_yes = p * (1 - threshold)
    return weighted_yes / (weighted_yes + (1 - p) * threshold)


def most_probable_class_index(class_probabilities: FloatArray) -> NDArray[np.intp]:
    """Returns the most probable class of each row, and the better class if two are equally probable.

    Args:
        class_probabilities: float64[N, classes]; a row with a missing grade contains NaN.

    Returns:
        Column index, shape [N]; -1 for a row with NaN.

    Example:
        >>> most_probable_class_index(np.array([[0.25, 0.75], [0.5, 0.5], [np.nan, np.nan]]))
        array([ 1,  0, -1])
    """
    classes = np.nan_to_num(class_probabilities).argmax(axis=1)
    classes[np.isnan(class_probabilities).any(axis=1)] = -1
    return classes
