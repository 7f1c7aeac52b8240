"""The reward artifact has rules for every response type that it may meet."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from rbr.classes.features import FeatureMap, feature_map
from rbr.errors import InputError
from rbr.reward.artifact import RewardArtifact, build_artifact
from rbr.rulebook import Rulebook, load_rulebook

RULEBOOK = load_rulebook(Path(__file__).resolve().parents[3] / "rulebook")
MODELS = {"grader": "a fingerprint", "reward_model": "another fingerprint"}


def built(*response_types: str, rulebook: Rulebook = RULEBOOK, few_shot: int = 0) -> RewardArtifact:
    features = {name: feature_map(rulebook.behavior, name, accepted=["apology"]) for name in response_types}
    weights = {name: weights_of(each) for name, each in features.items()}
    return build_artifact(
        weights, features, rulebook.propositions, rulebook.content_policy, few_shot=few_shot, **MODELS
    )


def weights_of(features: FeatureMap) -> dict[str, float]:
    return {name: float(place) for place, name in enumerate(features.feature_names)}


ALL = tuple(RULEBOOK.behavior.response_types)


@pytest.mark.parametrize("missing", ALL)
def test_a_response_type_without_weights_is_refused_with_its_categories(missing: str) -> None:
    codes = [code for code, entry in RULEBOOK.content_policy.categories.items() if entry.response_type == missing]
    with pytest.raises(InputError, match=f"no weights were fitted for {missing}, because") as caught:
        built(*(name for name in ALL if name != missing))
    for code in codes:
        assert code in caught.value.hint


def test_a_response_type_that_no_category_has_needs_no_weights() -> None:
    policy = RULEBOOK.content_policy
    only = {code: entry for code, entry in policy.categories.items() if entry.response_type == "comply"}
    rulebook = RULEBOOK.model_copy(update={"content_policy": policy.model_copy(update={"categories": only})})
    artifact = built("comply", rulebook=rulebook)
    assert set(artifact.rules) == set(artifact.response_types.values()) == {"comply"}


def test_the_weights_are_in_the_order_of_the_features() -> None:
    artifact = built(*ALL)
    for name, rules in artifact.rules.items():
        features = feature_map(RULEBOOK.behavior, name, accepted=["apology"])
        assert rules.features.feature_names == features.feature_names
        assert rules.weights == tuple(weights_of(features).values())
    assert set(artifact.propositions) == {
        name for rules in artifact.rules.values() for name in rules.features.propositions
    }


def test_a_file_in_which_a_category_has_no_rules_is_refused(tmp_path: Path) -> None:
    content = built(*ALL).model_dump(mode="json")
    del content["rules"]["comply"], content["rules"]["hard_refusal"]
    with pytest.raises(ValidationError, match="no rules for the response types comply, hard_refusal"):
        RewardArtifact(**content)
    path = tmp_path / "reward.json"
    path.write_text(RewardArtifact.model_construct(**content).model_dump_json(warnings=False))
    with pytest.raises(InputError, match="no rules for the response types comply, hard_refusal") as caught:
        RewardArtifact.load(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("weights", [1.0], "the number of weights is not that of the features"),
        ("weights", [], "the number of weights is not that of the features"),
        ("weights.0", float("nan"), "rules.hard_refusal.weights[0]"),
        ("weights.0", float("inf"), "rules.hard_refusal.weights[0]"),
        ("weights.0", None, "rules.hard_refusal.weights[0]"),
        ("root", 99, "the root is neither a test nor a class"),
        ("root", -1, "the root is neither a test nor a class"),
        ("tests.1", [0, 1, 3], "rules.hard_refusal.tests[1]: the test is none of a diagram with"),
        ("tests.1", [0, 3, 0], "rules.hard_refusal.tests[1]: the test is none of a diagram with"),
        ("tests.1", [0, 3, 99], "rules.hard_refusal.tests[1]: the test is none of a diagram with"),
        ("tests.1", [99, 3, 4], "rules.hard_refusal.tests[1]: the test is none of a diagram with"),
        ("tests.1", [-1, 3, 4], "rules.hard_refusal.tests[1]: the test is none of a diagram with"),
        ("thresholds", {"apology": 0.0}, "rules.hard_refusal.thresholds.apology"),
        ("thresholds", {"apology": 1.0}, "rules.hard_refusal.thresholds.apology"),
        ("rule_propositions.0", "unknown", "no questions for the propositions unknown"),
    ],
)
def test_a_file_whose_rules_give_no_reward_or_a_wrong_one_is_refused(
    tmp_path: Path, key: str, value: object, what: str
) -> None:
    content = built(*ALL).model_dump(mode="json")
    place = content["rules"]["hard_refusal"]
    name, _, index = key.partition(".")
    if index:
        place, name = place[name], int(index)
    place[name] = value
    (tmp_path / "reward.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        RewardArtifact.load(tmp_path)
    assert what in str(caught.value)
    assert str(tmp_path / "reward.json") in str(caught.value)


@pytest.mark.parametrize("few_shot", [0, 1])
def test_only_the_examples_that_a_question_shows_are_part_of_the_reward(few_shot: int) -> None:
    assert {len(entry.examples) for entry in built(*ALL, few_shot=few_shot).propositions.values()} == {few_shot}
