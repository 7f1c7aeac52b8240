"""Replies that have both grades and gold labels, as arrays: one object per response type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import FeatureMap, feature_map
from rbr.classes.grade_matrix import grade_matrix
from rbr.classes.unread_grades import certain_class_indices
from rbr.conversation import GoldRow, prompt_id
from rbr.rulebook import Behavior, ContentPolicy

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class JudgedReplies:
    """Replies of one response type that have both grades and labels.

    If several people have labeled a reply, each judgment is a row of its own.

    Attributes:
        features: The feature map of the response type.
        p_yes: Grades, float64[N, features.propositions] in [0, 1]; NaN if a grade is missing.
        truth: Labels, bool[N, features.propositions].
        labeled: Whether there is a label, bool[N, features.propositions].
        prompts: Id of the prompt of each reply, length N.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> features = FeatureMap(compile_rules({"good": "a", "bad": "not a"}, ["good", "bad"]), (), {})
        >>> truth, labeled = np.array([[True], [False], [False]]), np.array([[True], [True], [False]])
        >>> judged = JudgedReplies(features, np.full((3, 1), 0.5), truth, labeled, prompts=["x", "y", "z"])
        >>> judged.class_index
        array([ 0,  1, -1])
    """

    features: FeatureMap
    p_yes: FloatArray
    truth: BoolArray
    labeled: BoolArray
    prompts: Sequence[str]

    def __post_init__(self) -> None:
        shape = (len(self.prompts), len(self.features.propositions))
        if not self.p_yes.shape == self.truth.shape == self.labeled.shape == shape:
            raise ValueError(f"p_yes, truth and labeled must have the shape [N, propositions], here {list(shape)}")

    @cached_property
    def p(self) -> FloatArray:
        """Recentered grades of the propositions of the class rules, float64[N, rule propositions]."""
        return self.features.rule_probabilities(self.p_yes)

    @cached_property
    def x(self) -> FloatArray:
        """Labels of the propositions of the class rules, 0.0 or 1.0; NaN if there is no label."""
        columns = [self.features.propositions.index(name) for name in self.features.diagram.propositions]
        return np.where(self.labeled[:, columns], self.truth[:, columns].astype(float), np.nan)

    @cached_property
    def class_index(self) -> NDArray[np.intp]:
        """Index of the class that the labels imply, shape [N]; -1 if the class depends on a missing label."""
        return certain_class_indices(self.features.diagram, self.x == 1.0, unread=np.isnan(self.x))

    @cached_property
    def read(self) -> BoolArray:
        """Whether every grade that the class rules need could be read, bool[N]."""
        return np.logical_not(np.isnan(self.p).any(axis=1))

    @cached_property
    def prompt_numbers(self) -> NDArray[np.intp]:
        """Number of the prompt of each reply, shape [N]; equal prompts have equal numbers."""
        return np.unique(np.array(self.prompts, dtype=str), return_inverse=True)[1]


def judge_gold_replies(
    rows: Mapping[str, Sequence[GoldRow]],
    grades: pl.DataFrame,
    behavior: Behavior,
    policy: ContentPolicy,
    thresholds: Mapping[str, float],
) -> dict[str, JudgedReplies]:
    """Joins gold labels with grades.

    Args:
        rows: The judgments of each labeled reply, by completion id. Each row is the judgment of one person.
        grades: Columns completion_id, proposition, p_yes (null if the answer could not be read).
        behavior: The behavior policy.
        policy: The content policy; it contains the response type of each category.
        thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.

    Returns:
        The judged replies by response type, in the order of the behavior policy. A response type without labeled
        replies has an object without rows.

    Raises:
        KeyError: A category is not in the content policy.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> rulebook = load_rulebook("rulebook")
        >>> message = {"role": "user", "content": "How do I boil an egg?"}
        >>> row = GoldRow((message,), "[harmful steps]", "None", {"disallowed_content": True}, line=1)
        >>> grades = pl.DataFrame({"completion_id": ["a"], "proposition": ["disallowed_content"], "p_yes": [0.9]})
        >>> judged = judge_gold_replies({"a": [row]}, grades, rulebook.behavior, rulebook.content_policy, {})
        >>> judged["comply"].class_index, judged["comply"].read, judged["hard_refusal"].prompts
        (array([4]), array([False]), ())
    """
    by_response_type: dict[str, list[tuple[str, GoldRow]]] = {name: [] for name in behavior.response_types}
    for completion_id, judgments in rows.items():
        for row in judgments:
            by_response_type[policy.response_type(row.category)].append((completion_id, row))
    judged = {}
    for response_type, judgments_of_type in by_response_type.items():
        # Only the propositions of the class rules are needed, so no proposition is a feature of its own.
        features = feature_map(behavior, response_type, accepted=(), thresholds=thresholds)
        ids = [completion_id for completion_id, _ in judgments_of_type]
        labels = [[row.labels.get(name, np.nan) for name in features.propositions] for _, row in judgments_of_type]
        # 1.0 for true, 0.0 for false. Without the reshape, the array of no reply would have only one dimension.
        known = np.array(labels, dtype=np.float64).reshape(len(ids), len(features.propositions))
        judged[response_type] = JudgedReplies(
            features,
            grade_matrix(grades, ids, features.propositions),
            truth=known == 1.0,
            labeled=~np.isnan(known),
            prompts=tuple(prompt_id(row.messages) for _, row in judgments_of_type),
        )
    return judged
