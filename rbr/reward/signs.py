"""Signs of the features: whether a proposition may earn reward, may cost reward, or both."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rbr.classes.features import FeatureMap
from rbr.rulebook.class_effects import proposition_effects
from rbr.rulebook.parts import SIGN_VALUES, Sign

FloatArray = NDArray[np.float64]


def feature_signs(features: FeatureMap, declared: Mapping[str, Sign]) -> tuple[Sign, ...]:
    """Returns the sign of each feature.

    A sign that the behavior policy declares counts. Without one, the class rules decide: a proposition is desired if
    making it true never moves a reply to a worse class, and sometimes to a better class. A proposition is free if the
    class rules do not decide it. Classes are always free, because their order constrains them.

    Args:
        features: Feature map of the response type.
        declared: Signs that the behavior policy declares, by proposition.

    Returns:
        One sign per feature, in the order of `FeatureMap.feature_names`.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> feature_signs(FeatureMap(diagram, ("apology", "judgement"), {}), declared={"judgement": "undesired"})
        ('free', 'free', 'desired', 'undesired')
    """
    by_rules = {name: effect.sign for name, effect in proposition_effects(features.diagram).items()}
    signs = by_rules | dict(declared)
    class_signs: list[Sign] = ["free"] * len(features.classes)
    return (*class_signs, *(signs.get(name, "free") for name in features.feature_propositions))


def against_signs(weights: FloatArray, signs: Sequence[Sign]) -> NDArray[np.bool_]:
    """Returns which weights are against the sign of their feature, bool[F].

    Args:
        weights: Fitted weights, float64[F].
        signs: Sign of each feature, [F].

    Example:
        >>> against_signs(np.array([0.5, 0.5, -0.5]), ["desired", "undesired", "free"])
        array([False,  True, False])
    """
    return weights * np.array([SIGN_VALUES[sign] for sign in signs]) < 0
