"""The sign of each feature: declared, or decided by the class rules."""

import numpy as np
import pytest

from rbr.classes.features import FeatureMap
from rbr.reward.signs import against_signs, feature_signs
from rbr.rulebook import compile_rules
from rbr.rulebook.parts import Sign

# `a` improves every reply, `b` improves some replies and worsens others, and no rule names `x`.
DIAGRAM = compile_rules({"good": "a and b", "fair": "a and not b or not a and not b", "bad": "not a and b"},
                        ["good", "fair", "bad"])  # fmt: skip
FEATURES = FeatureMap(DIAGRAM, ("a", "b", "x"), {})


@pytest.mark.parametrize(
    ("declared", "signs"),
    [
        ({}, ("desired", "free", "free")),
        ({"a": "undesired"}, ("undesired", "free", "free")),
        ({"a": "free"}, ("free", "free", "free")),
        ({"b": "desired", "x": "undesired"}, ("desired", "desired", "undesired")),
        ({"x": "free"}, ("desired", "free", "free")),
    ],
)
def test_a_declared_sign_counts_and_the_class_rules_decide_the_others(
    declared: dict[str, Sign], signs: tuple[Sign, ...]
) -> None:
    assert feature_signs(FEATURES, declared) == ("free", "free", "free", *signs)


def test_a_proposition_that_is_no_feature_has_no_sign() -> None:
    assert feature_signs(FeatureMap(DIAGRAM, ("x",), {}), {"a": "undesired"}) == ("free", "free", "free", "free")


def test_weights_of_zero_and_free_weights_are_never_against_a_sign() -> None:
    signs: list[Sign] = ["desired", "desired", "undesired", "undesired", "free", "free", "desired", "undesired"]
    weights = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0])
    assert against_signs(weights, signs).tolist() == [False, True, True] + [False] * 5
