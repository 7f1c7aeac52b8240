"""Explains the reward of one reply: its grades, its class, and the terms of R_tot (paper section 4, Eq. 1)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rbr.classes.features import NEUTRAL_THRESHOLD, FeatureMap
from rbr.reward.artifact import RewardRules
from rbr.reward.signs import feature_signs
from rbr.rulebook.parts import SIGN_VALUES, Sign

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PropositionGrade:
    """The grade of one proposition.

    Attributes:
        proposition: Name of the proposition.
        p_yes: P(yes) in [0, 1]; None if the answer could not be read.
        threshold: The smallest P(yes) that counts as true.

    Example:
        >>> PropositionGrade("apology", p_yes=0.8, threshold=0.5).holds
        True
    """

    proposition: str
    p_yes: float | None
    threshold: float

    @property
    def holds(self) -> bool | None:
        """Whether the proposition counts as true; None if the answer could not be read."""
        return None if self.p_yes is None else self.p_yes >= self.threshold


@dataclass(frozen=True)
class RewardTerm:
    """One term of R_rbr: a weight times a feature.

    Attributes:
        feature: Name of the feature, such as ``class:ideal`` or ``proposition:judgement``.
        value: The feature phi, in [0, 1].
        weight: The weight w, in units of R_rm.
        sign: Whether the rules desire the feature. Classes are free, because their order constrains them.

    Example:
        >>> term = RewardTerm("proposition:judgement", value=0.5, weight=3.0, sign="undesired")
        >>> term.reward, term.is_against_sign
        (1.5, True)
    """

    feature: str
    value: float
    weight: float
    sign: Sign = "free"

    @property
    def reward(self) -> float:
        """The product w * phi, in units of R_rm."""
        return self.weight * self.value

    @property
    def is_against_sign(self) -> bool:
        """Whether an undesired feature earns reward, or a desired feature costs reward."""
        return self.weight * SIGN_VALUES[self.sign] < 0


@dataclass(frozen=True)
class Explanation:
    """The reward of one reply with all its terms.

    Attributes:
        grades: Grades of the propositions that the response type needs.
        class_name: Class after every grade is cut at its threshold, as in the evaluation; None if the class depends on
            a missing grade.
        class_probabilities: Probability by class, best to worst; empty if a grade that the class rules need is missing.
        r_rm: Score of the reward model; None if it could not be computed.
        terms: Terms of R_rbr, by decreasing absolute value; empty if a grade is missing or no weights were fitted.
        is_graded: Whether every grade that the features need exists.
        is_fitted: Whether the reward was fitted, so that the weights are known.

    Example:
        >>> terms = (RewardTerm("class:ideal", 0.5, 3.0), RewardTerm("class:disallowed", 0.5, -1.0))
        >>> explanation = Explanation((), "ideal", {}, r_rm=0.25, terms=terms, is_graded=True)
        >>> explanation.r_rbr, explanation.r_tot
        (1.0, 1.25)
    """

    grades: tuple[PropositionGrade, ...]
    class_name: str | None
    class_probabilities: dict[str, float]
    r_rm: float | None
    terms: tuple[RewardTerm, ...]
    is_graded: bool
    is_fitted: bool = True

    @property
    def unread(self) -> tuple[str, ...]:
        """The propositions whose answers could not be read."""
        return tuple(grade.proposition for grade in self.grades if grade.p_yes is None)

    @property
    def r_rbr(self) -> float | None:
        """The sum of the terms, in units of R_rm; None if a grade is missing or no weights were fitted."""
        return sum(term.reward for term in self.terms) if self.is_graded and self.is_fitted else None

    @property
    def r_tot(self) -> float | None:
        """R_rm + R_rbr; None if one of the two is missing."""
        return None if self.r_rm is None or self.r_rbr is None else self.r_rm + self.r_rbr


def explain(
    rules: RewardRules, p_yes: FloatArray, r_rm: float, declared_signs: Mapping[str, Sign] | None = None
) -> Explanation:
    """Explains the reward of a reply.

    Args:
        rules: Rules of the reply's response type.
        p_yes: Grades, float64[rules.features.propositions] in [0, 1]; NaN if a grade is missing.
        r_rm: Score of the reward model; NaN if it could not be computed.
        declared_signs: Signs that the behavior policy declares, by proposition. The class rules decide the others.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> rules = RewardRules(classes=("good", "bad"), rule_propositions=("apology",), tests=diagram.tests,
        ...                     root=diagram.root, feature_propositions=(), thresholds={}, weights=(2.0, -2.0))
        >>> explanation = explain(rules, p_yes=np.array([0.75]), r_rm=0.5)
        >>> explanation.class_name, explanation.r_rbr, explanation.r_tot
        ('good', 1.0, 1.5)
    """
    explanation = explain_without_weights(rules.features, p_yes, r_rm)
    if not explanation.is_graded:
        return replace(explanation, is_fitted=True)
    (values,) = rules.features.features(p_yes[np.newaxis])
    signs = feature_signs(rules.features, declared_signs or {})
    columns = zip(rules.features.feature_names, values, rules.weights, signs, strict=True)
    terms = [RewardTerm(name, float(value), weight, sign) for name, value, weight, sign in columns]
    return replace(explanation, terms=tuple(sorted(terms, key=lambda term: -abs(term.reward))), is_fitted=True)


def explain_without_weights(features: FeatureMap, p_yes: FloatArray, r_rm: float) -> Explanation:
    """Explains the class of a reply before the weights of the reward were fitted.

    Args:
        features: Feature map of the reply's response type.
        p_yes: Grades, float64[features.propositions] in [0, 1]; NaN if a grade is missing.
        r_rm: Score of the reward model; NaN if it could not be computed.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> features = FeatureMap(diagram, feature_propositions=(), thresholds={})
        >>> explanation = explain_without_weights(features, p_yes=np.array([0.75]), r_rm=0.5)
        >>> explanation.class_name, explanation.class_probabilities, explanation.r_tot
        ('good', {'good': 0.75, 'bad': 0.25}, None)
    """
    grades = tuple(
        PropositionGrade(
            name, None if np.isnan(value) else float(value), features.thresholds.get(name, NEUTRAL_THRESHOLD)
        )
        for name, value in zip(features.propositions, p_yes, strict=True)
    )
    row = p_yes[np.newaxis]  # [1, propositions]
    (class_index,) = features.thresholded_class_indices(row)
    (probabilities,) = features.class_probabilities(row)
    return Explanation(
        grades=grades,
        class_name=features.classes[class_index] if class_index >= 0 else None,
        class_probabilities=_probability_by_class(features.classes, probabilities),
        r_rm=None if np.isnan(r_rm) else float(r_rm),
        terms=(),
        is_graded=all(grade.p_yes is not None for grade in grades),
        is_fitted=False,
    )


def _probability_by_class(classes: tuple[str, ...], probabilities: FloatArray) -> dict[str, float]:
    if np.isnan(probabilities).any():
        return {}
    return {name: float(probability) for name, probability in zip(classes, probabilities, strict=True)}
