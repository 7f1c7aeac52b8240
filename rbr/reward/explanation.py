"""Why a reply gets the reward it gets: its grades, its class, and R_tot term by term (paper section 4, Eq. 1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.classes.features import NEUTRAL_THRESHOLD
from rbr.reward.artifact import RewardRules

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Graded:
    """One proposition about the reply.

    Attributes:
        proposition: Its name.
        p_yes: P(yes) in [0, 1]; None where the answer could not be read.
        threshold: From which P(yes) on it counts as true.
    """

    proposition: str
    p_yes: float | None
    threshold: float

    @property
    def holds(self) -> bool | None:
        """Whether it counts as true; None where the answer could not be read."""
        return None if self.p_yes is None else self.p_yes >= self.threshold


@dataclass(frozen=True)
class Term:
    """One summand of R_rbr.

    Attributes:
        feature: Its name, such as ``class:ideal`` or ``proposition:judgement``.
        value: phi, in [0, 1].
        weight: w, in units of R_rm.
    """

    feature: str
    value: float
    weight: float

    @property
    def reward(self) -> float:
        """w * phi, in units of R_rm."""
        return self.weight * self.value


@dataclass(frozen=True)
class Explanation:
    """The reward of one reply, taken apart.

    Attributes:
        grades: The propositions that its response type asks about.
        class_name: The class that the evaluation counts it as; None where a grade that the rules need is missing.
        class_probabilities: Probability by class, best to worst; empty where a grade is missing.
        r_rm: The reward model's score; None where it could not be computed.
        terms: The summands of R_rbr, the largest first; empty where a grade is missing, or nothing was fitted.
        is_graded: Whether all grades that the rules need are there.
    """

    grades: tuple[Graded, ...]
    class_name: str | None
    class_probabilities: dict[str, float]
    r_rm: float | None
    terms: tuple[Term, ...]
    is_graded: bool

    @property
    def r_rbr(self) -> float | None:
        """The sum of the terms; None where a grade is missing."""
        return sum(term.reward for term in self.terms) if self.is_graded else None

    @property
    def r_tot(self) -> float | None:
        """R_rm + R_rbr; None where either is missing."""
        return None if self.r_rm is None or self.r_rbr is None else self.r_rm + self.r_rbr


def explain(rules: RewardRules | None, p_yes: FloatArray, r_rm: float) -> Explanation:
    """Takes the reward of a reply apart.

    Args:
        rules: The fitted reward of its response type; None where there is none, so that R_rm alone counts.
        p_yes: Its grades, float64[rules.features.propositions] in [0, 1], NaN where missing.
        r_rm: The reward model's score, NaN where it could not be computed.
    """
    score = None if np.isnan(r_rm) else float(r_rm)
    if rules is None:
        return Explanation((), None, {}, score, (), is_graded=True)
    features = rules.features
    grades = tuple(
        Graded(name, None if np.isnan(value) else float(value), rules.thresholds.get(name, NEUTRAL_THRESHOLD))
        for name, value in zip(features.propositions, p_yes, strict=True)
    )
    row = p_yes[np.newaxis]
    (counted,) = features.binary_classes(row)
    (values,) = features.features(row)
    (probabilities,) = features.class_probabilities(row)
    is_graded = not np.isnan(values).any()
    summands = zip(features.names, values, rules.weights, strict=True)
    terms = [Term(name, float(value), weight) for name, value, weight in summands]
    return Explanation(
        grades=grades,
        class_name=features.classes[counted] if counted >= 0 else None,
        class_probabilities=_named(features.classes, probabilities),
        r_rm=score,
        terms=tuple(sorted(terms, key=lambda term: -abs(term.reward))) if is_graded else (),
        is_graded=is_graded,
    )


def _named(classes: tuple[str, ...], probabilities: FloatArray) -> dict[str, float]:
    if np.isnan(probabilities).any():
        return {}
    return {name: float(value) for name, value in zip(classes, probabilities, strict=True)}
