"""A fitted reward as a file: everything that R_rbr is computed from (paper section 4, Eq. 1).

A reward directory holds `reward.json` alone. It names its models by fingerprint and carries everything else:
questions, class rules, thresholds, weights, and which response type each content category asks for.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from rbr.classes.features import FeatureMap
from rbr.errors import InputError
from rbr.grading import Question
from rbr.hashing import content_hash
from rbr.rulebook import ClassDiagram, ContentPolicy, Proposition, Propositions

FILE = "reward.json"

FloatArray = NDArray[np.float64]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardRules(_Part):
    """The reward of replies to one response type.

    Attributes:
        classes: Class names, best to worst.
        rule_propositions: Propositions that the class rules depend on, sorted.
        tests: Inner nodes of the class rules' decision diagram, as in `ClassDiagram.tests`. Rules that say
            the same in other words have the same diagram.
        root: Its root.
        feature_propositions: Propositions whose probabilities are features themselves, sorted.
        thresholds: Decision threshold by proposition, in (0, 1).
        weights: One per feature: classes, then feature_propositions propositions; in units of R_rm.
    """

    classes: tuple[str, ...]
    rule_propositions: tuple[str, ...]
    tests: tuple[tuple[int, int, int], ...]
    root: int
    feature_propositions: tuple[str, ...]
    thresholds: dict[str, float]
    weights: tuple[float, ...]

    @cached_property
    def features(self) -> FeatureMap:
        """The features that the weights multiply."""
        diagram = ClassDiagram(self.rule_propositions, self.classes, self.tests, self.root)
        return FeatureMap(diagram, self.feature_propositions, self.thresholds)

    def r_rbr(self, p_yes: FloatArray) -> FloatArray:
        """R_rbr of graded replies (Eq. 1).

        Args:
            p_yes: float64[N, features.propositions] in [0, 1], NaN where missing.

        Returns:
            float64[N] in units of R_rm; NaN where a grade is missing.
        """
        return self.features.features(p_yes) @ np.array(self.weights)


class RewardArtifact(_Part):
    """Everything that R_rbr depends on, apart from the grader's own weights.

    Attributes:
        propositions: The propositions that the rules need, with the examples that are shown and no others.
        rules: By response type; one that could not be fitted is not here, and gets R_rm alone.
        response_types: Response type by content category.
        few_shot: Examples shown with a question.
        grader: Fingerprint of the grader that the weights were fitted with.
        reward_model: Fingerprint of the R_rm that the weights were fitted on top of.
    """

    propositions: dict[str, Proposition]
    rules: dict[str, RewardRules]
    response_types: dict[str, str]
    few_shot: int
    grader: str
    reward_model: str

    @property
    def identity(self) -> str:
        """Content hash: what a checkpoint trained on this reward is named after."""
        return content_hash(self)

    def questions_of(self, response_type: str) -> list[Question]:
        """What to ask the grader about replies to a response type, in the order of its features' inputs."""
        names = self.rules[response_type].features.propositions
        return [Question(name, self.propositions[name].question, self.propositions[name].examples) for name in names]

    def save(self, directory: str | Path) -> None:
        """Writes the reward directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        (directory / FILE).write_text(f"{text}\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> "RewardArtifact":
        """Reads a reward directory.

        Raises:
            InputError: There is none, or its file is damaged.
        """
        path = Path(directory) / FILE
        if not path.is_file():
            raise InputError("there is no reward", where=str(path), hint="Materialize `reward`, or run `rbr run`.")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            what = f"is no reward of this version: {error.errors()[0]['msg']}"
            raise InputError(what, where=str(path), hint="Materialize `reward` again.") from error


def assemble(
    weights: Mapping[str, Mapping[str, float]],
    features: Mapping[str, FeatureMap],
    propositions: Propositions,
    content_policy: ContentPolicy,
    *,
    few_shot: int,
    grader: str,
    reward_model: str,
) -> RewardArtifact:
    """Puts a reward together.

    Args:
        weights: Weight by feature name, by response type.
        features: The features of each response type that has weights.
        propositions: All propositions; those that no feature needs are left out.
        content_policy: Response type by category.
        few_shot: Examples shown with a question.
        grader: Fingerprint of the grader.
        reward_model: Fingerprint of R_rm.
    """
    rules = {name: _rules(features[name], of_features) for name, of_features in sorted(weights.items())}
    needed = sorted({name for kind in rules.values() for name in kind.features.propositions})
    shown = {name: propositions[name].examples[:few_shot] for name in needed}
    return RewardArtifact(
        propositions={name: propositions[name].model_copy(update={"examples": shown[name]}) for name in needed},
        rules=rules,
        response_types={code: entry.response_type for code, entry in sorted(content_policy.categories.items())},
        few_shot=few_shot,
        grader=grader,
        reward_model=reward_model,
    )


def _rules(features: FeatureMap, weights: Mapping[str, float]) -> RewardRules:
    return RewardRules(
        classes=features.classes,
        rule_propositions=features.diagram.propositions,
        tests=features.diagram.tests,
        root=features.diagram.root,
        feature_propositions=features.feature_propositions,
        thresholds=dict(features.thresholds),
        weights=tuple(weights[name] for name in features.names),
    )
