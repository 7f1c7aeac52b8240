"""The fitted reward as a file: everything that R_rbr is computed from (paper section 4, Eq. 1).

A reward directory contains one file, `reward.json`: the questions, the class rules, the thresholds, the weights and
the response type of each content category. The file also contains the identities of the grader and the reward model.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from rbr.classes.features import FeatureMap
from rbr.errors import InputError
from rbr.files.json_document import parse_json
from rbr.files.schema_errors import schema_problem, validate
from rbr.files.text_file import read_text
from rbr.grading import Question
from rbr.hashing import content_hash
from rbr.rulebook import ClassDiagram, ContentPolicy, Proposition, Propositions

FloatArray = NDArray[np.float64]

REWARD_FILE = "reward.json"
"""Name of the file in a reward directory."""

_DAMAGED_HINT = "The reward file is damaged or from another version. Materialize the asset `reward` again."


class _RewardPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardRules(_RewardPart):
    """The rules and weights that reward the replies of one response type.

    Attributes:
        classes: Class names, best to worst.
        rule_propositions: Propositions that the class rules depend on, sorted.
        tests: Inner nodes of the decision diagram of the class rules, as in `ClassDiagram.tests`. Rules with the
            same meaning have the same diagram, even if their text differs.
        root: Target to start at, as in `ClassDiagram.root`.
        feature_propositions: Propositions whose probabilities are features of their own, sorted.
        thresholds: Decision threshold by proposition, in (0, 1).
        weights: One weight per feature, in units of R_rm: first the classes, then the feature_propositions.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> rules = RewardRules(classes=("good", "bad"), rule_propositions=("apology",), tests=diagram.tests,
        ...                     root=diagram.root, feature_propositions=(), thresholds={}, weights=(2.0, -2.0))
        >>> rules.r_rbr(np.array([[1.0], [0.75], [0.0]]))
        array([ 2.,  1., -2.])
    """

    classes: tuple[str, ...]
    rule_propositions: tuple[str, ...]
    tests: tuple[tuple[int, int, int], ...]
    root: int
    feature_propositions: tuple[str, ...]
    thresholds: dict[str, Annotated[float, Field(gt=0.0, lt=1.0)]]
    weights: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _is_complete(self) -> "RewardRules":
        n_tests, n_targets = len(self.tests), len(self.tests) + len(self.classes)
        if len(self.weights) != len(self.classes) + len(self.feature_propositions):
            raise schema_problem("the number of weights is not that of the features", _DAMAGED_HINT, at=("weights",))
        if not 0 <= self.root < n_targets:
            raise schema_problem("the root is neither a test nor a class", _DAMAGED_HINT, at=("root",))
        for node, (column, low, high) in enumerate(self.tests):
            # Parents come before children, so a test leads to a later test or to a class.
            if not (0 <= column < len(self.rule_propositions) and min(low, high) > node and max(low, high) < n_targets):
                what = f"the test is none of a diagram with {n_tests} tests and {len(self.classes)} classes"
                raise schema_problem(what, _DAMAGED_HINT, at=("tests", node))
        return self

    @cached_property
    def features(self) -> FeatureMap:
        """The features that the weights multiply."""
        diagram = ClassDiagram(self.rule_propositions, self.classes, self.tests, self.root)
        return FeatureMap(diagram, self.feature_propositions, self.thresholds)

    def r_rbr(self, p_yes: FloatArray) -> FloatArray:
        """Returns R_rbr of graded replies (Eq. 1).

        Args:
            p_yes: Grades, float64[N, features.propositions] in [0, 1]; NaN if a grade is missing.

        Returns:
            float64[N] in units of R_rm; NaN if a grade is missing.
        """
        return self.features.features(p_yes) @ np.array(self.weights)


class RewardArtifact(_RewardPart):
    """Everything that R_rbr depends on, except the weights of the grader.

    Attributes:
        propositions: The propositions that the rules need, by name, with the examples that questions show.
        rules: Rules by response type; every response type of a category has rules.
        response_types: Response type by content category.
        few_shot: Number of examples that a question shows.
        grader: Identity of the grader that the weights were fitted with, from `rbr.grading.identity`.
        reward_model: Fingerprint of the reward model R_rm that the weights were fitted with.

    Example:
        >>> import tempfile
        >>> artifact = RewardArtifact(propositions={}, rules={}, response_types={}, few_shot=0,
        ...                           grader="0123456789abcdef", reward_model="fedcba9876543210")
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     artifact.save(directory)
        ...     RewardArtifact.load(directory) == artifact
        True
    """

    propositions: dict[str, Proposition]
    rules: dict[str, RewardRules]
    response_types: dict[str, str]
    few_shot: int
    grader: str
    reward_model: str

    @model_validator(mode="after")
    def _reward_every_category(self) -> "RewardArtifact":
        without_rules = sorted(set(self.response_types.values()) - set(self.rules))
        if without_rules:
            raise schema_problem(f"no rules for the response types {', '.join(without_rules)}", _DAMAGED_HINT)
        needed = {name for rules in self.rules.values() for name in rules.features.propositions}
        without_question = sorted(needed - set(self.propositions))
        if without_question:
            raise schema_problem(f"no questions for the propositions {', '.join(without_question)}", _DAMAGED_HINT)
        return self

    @property
    def identity(self) -> str:
        """Content hash of the artifact; the name of a checkpoint depends on the identity of its reward."""
        return content_hash(self)

    def questions_of(self, response_type: str) -> list[Question]:
        """Returns the questions for replies of a response type, in the order of ``features.propositions``."""
        names = self.rules[response_type].features.propositions
        return [Question(name, self.propositions[name].question, self.propositions[name].examples) for name in names]

    def save(self, directory: str | Path) -> None:
        """Writes the reward directory; creates it if it does not exist."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
        (directory / REWARD_FILE).write_text(f"{text}\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> "RewardArtifact":
        """Reads a reward directory.

        Raises:
            InputError: The directory contains no reward file, or the file is damaged. All problems are reported, each
                with file and key.
        """
        path = Path(directory) / REWARD_FILE
        if not path.is_file():
            hint = "Run `rbr run`, or materialize the asset `reward`."
            raise InputError("the reward file does not exist", where=str(path), hint=hint)
        try:
            return validate(cls, parse_json(read_text(path), str(path), hint=_DAMAGED_HINT))
        except InputError as error:
            # Nobody edits this file, so no hint says how to correct an entry.
            raise InputError.collect(
                InputError(problem.what, where=problem.where, hint=_DAMAGED_HINT) for problem in error.problems
            ) from error


def build_artifact(
    weights: Mapping[str, Mapping[str, float]],
    features: Mapping[str, FeatureMap],
    propositions: Propositions,
    content_policy: ContentPolicy,
    *,
    few_shot: int,
    grader: str,
    reward_model: str,
) -> RewardArtifact:
    """Builds a reward artifact from fitted weights.

    Args:
        weights: Fitted weights, by response type and feature name.
        features: Feature map of each response type that has weights.
        propositions: The propositions of the rulebook; the artifact keeps only those that a feature needs.
        content_policy: The content policy; it gives the response type of each category.
        few_shot: Number of examples that a question shows.
        grader: Identity of the grader.
        reward_model: Fingerprint of the reward model R_rm.

    Raises:
        InputError: A response type of the content policy has no fitted weights. Without them, R_rm alone would reward
            its replies, and training would make them harmful.

    Example:
        >>> from rbr.classes.features import feature_map
        >>> from rbr.rulebook import load_rulebook
        >>> rulebook = load_rulebook("rulebook")
        >>> features = feature_map(rulebook.behavior, "comply", accepted=[])
        >>> weights = dict.fromkeys(features.feature_names, 0.5)
        >>> policy = rulebook.content_policy
        >>> policy = policy.model_copy(update={"categories": {"None": policy.categories["None"]}})
        >>> artifact = build_artifact({"comply": weights}, {"comply": features}, rulebook.propositions, policy,
        ...                           few_shot=0, grader="...", reward_model="...")
        >>> artifact.rules["comply"].weights
        (0.5, 0.5, 0.5, 0.5, 0.5)
    """
    response_types = {code: entry.response_type for code, entry in sorted(content_policy.categories.items())}
    without_weights = sorted(set(response_types.values()) - set(weights))
    if without_weights:
        raise InputError(
            f"no weights were fitted for {', '.join(without_weights)}, because there is no verified comparison",
            where="verified_comparisons",
            hint="R_rm alone would reward harmful replies there. Add prompts of these categories: "
            + ", ".join(code for code, name in response_types.items() if name in without_weights)
            + "; or raise synthesis.candidates, or widen may_be in synthesis.yaml.",
        )
    rules = {
        response_type: _reward_rules(features[response_type], feature_weights)
        for response_type, feature_weights in sorted(weights.items())
    }
    needed = sorted({name for entry in rules.values() for name in entry.features.propositions})
    examples = {name: propositions[name].examples[:few_shot] for name in needed}
    return RewardArtifact(
        propositions={name: propositions[name].model_copy(update={"examples": examples[name]}) for name in needed},
        rules=rules,
        response_types=response_types,
        few_shot=few_shot,
        grader=grader,
        reward_model=reward_model,
    )


def _reward_rules(features: FeatureMap, weights: Mapping[str, float]) -> RewardRules:
    return RewardRules(
        classes=features.classes,
        rule_propositions=features.diagram.propositions,
        tests=features.diagram.tests,
        root=features.diagram.root,
        feature_propositions=features.feature_propositions,
        thresholds=dict(features.thresholds),
        weights=tuple(weights[name] for name in features.feature_names),
    )
