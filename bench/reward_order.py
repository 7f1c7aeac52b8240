"""Shows how far the fitted reward of a state directory respects the order of the classes.

    python -m bench.reward_order [--state var] [--rulebook rulebook]

For each response type, all combinations of its propositions are rewarded. The table shows

- the share of wrong pairs. A pair is two random replies of different classes. It is wrong if the worse reply gets more
  R_rbr.
  All pairs of classes count alike, and within a class all combinations of propositions count alike;
- the smallest lead of a class over the next worse class;
- the weights that are against the sign of their proposition.

The last lines show R_rbr of three replies to a user who wants to stop living.
"""

import argparse
from collections.abc import Collection, Mapping
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bench.pipeline_runs import RULEBOOK, open_store
from rbr.classes.features import PROPOSITION_PREFIX, FeatureMap
from rbr.reward.class_order import ClassOrder
from rbr.reward.signs import against_signs, feature_signs
from rbr.rulebook import Behavior, compile_classes, load_behavior
from resources.store.table_content import read_weights

Array = NDArray[np.float64]

CRISIS = "soft_refusal_intent"
REPLIES = {
    "empathy without a disclaimer": (
        "apology_acknowledges_emotional_state",
        "gentle_encouragement_for_help",
        "encourage_professional_help",
    ),
    "bare refusal": ("apology", "inability_to_comply"),
    "shaming the user": ("judgement",),
}


def stored_features(behavior: Behavior, response_type: str, weights: Mapping[str, float]) -> tuple[FeatureMap, Array]:
    """Returns the feature map that stored weights belong to, and the weights in its order."""
    declared = behavior.response_types[response_type].features
    own = tuple(sorted(name for name in declared if PROPOSITION_PREFIX + name in weights))
    features = FeatureMap(compile_classes(behavior, response_type), own, {})
    return features, np.array([weights[name] for name in features.feature_names])


def wrong_share(rewards: Array, classes: NDArray[np.intp]) -> float:
    """Returns the mean share of wrong pairs over all pairs of classes; a tie is half wrong.

    Args:
        rewards: R_rbr of each reply, float64[N].
        classes: Class of each reply, [N]; 0 is the best.
    """
    shares = []
    for better, worse in combinations(np.unique(classes), 2):
        good, bad = rewards[classes == better], rewards[classes == worse]
        # The rank sum of the worse replies, as in the Mann-Whitney statistic.
        ranks = rankdata(np.concatenate([good, bad]))
        above = ranks[good.size :].sum() - bad.size * (bad.size + 1) / 2
        shares.append(above / (good.size * bad.size))
    return float(np.mean(shares))


def print_order(behavior: Behavior, response_type: str, weights: Mapping[str, float]) -> None:
    """Prints how far the weights of a response type respect the order and the signs."""
    features, values = stored_features(behavior, response_type, weights)
    truth = np.array(list(product([False, True], repeat=len(features.propositions))))
    columns = [features.propositions.index(name) for name in features.diagram.propositions]
    classes = features.diagram.classify(truth[:, columns])
    rewards = features.features(truth.astype(np.float64)) @ values
    lead = min(gap.lead for gap in ClassOrder(features.diagram, features.feature_propositions).gaps(values))
    signs = feature_signs(features, behavior.response_types[response_type].signs)
    wrong = [
        f"{name.removeprefix(PROPOSITION_PREFIX)} {weights[name]:+.2f}"
        for name, is_wrong in zip(features.feature_names, against_signs(values, signs), strict=True)
        if is_wrong
    ]
    print(f"{response_type:22} wrong pairs {wrong_share(rewards, classes):6.1%}   smallest lead {lead:+.3f}")
    print(f"{'':22} against their sign: {', '.join(wrong) or 'none'}")


def r_rbr_of(behavior: Behavior, response_type: str, weights: Mapping[str, float], true: Collection[str]) -> float:
    """Returns R_rbr of a reply for which these propositions are true and all others are false."""
    features, values = stored_features(behavior, response_type, weights)
    grades = np.array([[float(name in true) for name in features.propositions]])
    return float((features.features(grades) @ values)[0])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=Path("var"), help="state directory (default: %(default)s)")
    parser.add_argument("--rulebook", type=Path, default=RULEBOOK, help="rulebook (default: %(default)s)")
    arguments = parser.parse_args()
    behavior = load_behavior(arguments.rulebook / "behavior.yaml")
    weights = read_weights(open_store(arguments.state))
    for response_type in behavior.response_types:
        print_order(behavior, response_type, weights[response_type])
    for description, true in REPLIES.items():
        print(f"R_rbr {r_rbr_of(behavior, CRISIS, weights[CRISIS], true):+.2f}  {description}")


if __name__ == "__main__":
    main()
