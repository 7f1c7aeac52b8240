"""Fit problems whose data contradict the rules, and the rewards of all replies that the rules allow."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rbr.classes.features import FeatureMap
from rbr.reward.artifact import RewardRules
from rbr.reward.class_order import ClassOrder
from rbr.reward.fit_problems import FitProblem
from rbr.reward.signs import feature_signs
from rbr.rulebook.parts import Sign
from tests.rbr.rulebook.random_rules import all_truths

Array = NDArray[np.float64]

LABELS = ("best", "middle", "worst")
_CHUNK = 2**13


def hostile_problem(
    features: FeatureMap, declared: Mapping[str, Sign], seed: int, prompts: int = 25, replies_per_prompt: int = 6
) -> FitProblem:
    """Returns random replies that teach the wrong order of the classes.

    The grades are near the truth of random replies. Better classes have worse labels, except in every fifth reply. R_rm
    prefers bad replies and likes some propositions, whether they are desired or not.
    """
    rng = np.random.default_rng(seed)
    n_replies = prompts * replies_per_prompt
    truths = rng.random((n_replies, len(features.propositions))) < rng.uniform(0.1, 0.9, len(features.propositions))
    p_yes = np.abs(truths - rng.beta(0.3, 5, truths.shape))
    classes = features.class_probabilities(truths.astype(np.float64)).argmax(axis=1)
    places = np.where(rng.random(n_replies) < 0.2, classes, len(features.classes) - 1 - classes)
    labels = np.minimum(places, len(LABELS) - 1)
    labels[:2] = 0, 1  # At least one pair.
    likes = rng.normal(0, 1, len(features.propositions))
    return FitProblem(
        response_type="hard_refusal",
        feature_names=features.feature_names,
        prompt_ids=[f"p{prompt}" for prompt in range(prompts) for _ in range(replies_per_prompt)],
        labels=[LABELS[label] for label in labels],
        features=features.features(p_yes),
        r_rm=classes + truths @ likes + rng.normal(0, 0.5, n_replies),
        ranking=[[label] for label in LABELS],
        margins={},
        order=ClassOrder(features.diagram, features.feature_propositions),
        signs=feature_signs(features, declared),
    )


def reward_rules(features: FeatureMap, weights: Array) -> RewardRules:
    """Returns the rules of a reward with these weights, as its file contains them."""
    return RewardRules(
        classes=features.classes,
        rule_propositions=features.diagram.propositions,
        tests=features.diagram.tests,
        root=features.diagram.root,
        feature_propositions=features.feature_propositions,
        thresholds=dict(features.thresholds),
        weights=tuple(weights.tolist()),
    )


def rewards_of_all_replies(features: FeatureMap, weights: Array) -> tuple[Array, NDArray[np.intp]]:
    """Returns R_rbr and the index of the class of every reply, for all truth values of `features.propositions`."""
    rules = reward_rules(features, weights)
    truths = all_truths(len(features.propositions))
    columns = [features.propositions.index(name) for name in features.diagram.propositions]
    parts = [truths[start : start + _CHUNK] for start in range(0, len(truths), _CHUNK)]
    r_rbr = np.concatenate([rules.r_rbr(part.astype(np.float64)) for part in parts])
    classes = np.concatenate([features.diagram.classify(part[:, columns]) for part in parts])
    return r_rbr, classes
