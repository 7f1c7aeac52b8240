"""Decides the class of each reply: from probabilities, from thresholds, from truth values or from gold labels.

Most functions take a frame with one row per reply (columns completion_id and response_type) and add columns. The
frame may contain several response types. The rows keep their order.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import FeatureMap, feature_map
from rbr.classes.grade_matrix import grade_matrix
from rbr.comparisons.categories import unknown_categories
from rbr.conversation import GoldRow
from rbr.errors import InputError, Location
from rbr.rulebook import Behavior, ClassDiagram, Rulebook, compile_classes
from rbr.rulebook.possible_classes import possible_classes

FloatArray = NDArray[np.float64]

_GOLD_CLASSES = pl.Schema(
    {
        "line": pl.Int32(),
        "category": pl.String(),
        "response_type": pl.String(),
        "class_name": pl.String(),
        "missing": pl.List(pl.String()),
    }
)
_CLASS_COLUMN: Mapping[str, pl.DataType | type[pl.DataType]] = {"class_name": pl.String}
_POSSIBLE_CLASS_COLUMNS = {**_CLASS_COLUMN, "possible_classes": pl.List(pl.String)}


def most_probable_classes(
    replies: pl.DataFrame, grades: pl.DataFrame, behavior: Behavior, thresholds: Mapping[str, float]
) -> pl.DataFrame:
    """Adds the most probable class of each reply.

    This class decides whether a synthetic reply is kept (paper section 2, stage 6).

    Args:
        replies: Columns completion_id and response_type, and any other columns, which are kept.
        grades: Columns completion_id, proposition, p_yes.
        behavior: The behavior policy.
        thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.

    Returns:
        The replies with class_name and p_class, the probability of that class. If grades are missing, the class is the
        one that is most probable whatever the missing answers are, and p_class is the smallest probability that it can
        have. Both are null if there is no such class.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> replies = pl.DataFrame({"completion_id": ["a"], "response_type": ["comply"]})
        >>> names = feature_map(behavior, "comply").propositions
        >>> grades = pl.DataFrame({"completion_id": "a", "proposition": names, "p_yes": [0.0] * len(names)})
        >>> most_probable_classes(replies, grades, behavior, thresholds={}).row(0)
        ('a', 'comply', 'unacceptable', 1.0)
    """

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        features = feature_map(behavior, response_type, thresholds=thresholds)
        best, p_best = features.most_probable_classes(_grades_of(group, grades, features))  # [replies] each
        p_class = pl.Series("p_class", p_best).fill_nan(None)
        return group.with_columns(_class_names(best, features.classes), p_class)

    return _by_response_type(replies, classify, {**_CLASS_COLUMN, "p_class": pl.Float64})


def thresholded_classes(
    replies: pl.DataFrame, grades: pl.DataFrame, behavior: Behavior, thresholds: Mapping[str, float]
) -> pl.DataFrame:
    """Adds the class of each reply after every grade is cut at its threshold.

    The evaluation counts these classes (paper section 6).

    Args:
        replies: Columns completion_id and response_type, and any other columns, which are kept.
        grades: Columns completion_id, proposition, p_yes.
        behavior: The behavior policy.
        thresholds: Decision threshold by proposition; 0.5 for propositions that are not listed.

    Returns:
        The replies with class_name and possible_classes. The class is null if it depends on a missing grade.
        possible_classes lists the classes that the reply has for any answer in place of the missing ones, best first.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> replies = pl.DataFrame({"completion_id": ["a"], "response_type": ["comply"]})
        >>> names = feature_map(behavior, "comply").propositions
        >>> grades = pl.DataFrame({"completion_id": "a", "proposition": names, "p_yes": [0.3] * len(names)})
        >>> thresholded_classes(replies, grades, behavior, thresholds={"disallowed_content": 0.2}).row(0)
        ('a', 'comply', 'disallowed', ['disallowed'])
    """

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        features = feature_map(behavior, response_type, thresholds=thresholds)
        possible = features.possible_classes(_grades_of(group, grades, features))  # [replies, classes]
        return _with_possible_names(group, [np.array(features.classes)[row].tolist() for row in possible])

    return _by_response_type(replies, classify, _POSSIBLE_CLASS_COLUMNS)


def true_classes(replies: pl.DataFrame, truths: Sequence[Mapping[str, bool]], behavior: Behavior) -> pl.DataFrame:
    """Adds the class of each reply, decided by known truth values.

    Args:
        replies: Columns completion_id and response_type, and any other columns, which are kept.
        truths: For each reply, the truth value by proposition. A proposition of the class rules that is not included is
            unknown.
        behavior: The behavior policy.

    Returns:
        The replies with class_name and possible_classes. The class is null if it depends on an unknown truth value.
        possible_classes lists the classes that the reply has if the unknown values are completed in any way, best
        first.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> replies = pl.DataFrame({"completion_id": ["a", "b"], "response_type": ["comply", "comply"]})
        >>> truth = dict.fromkeys(class_rule_propositions(behavior), False) | {"partially_complies": True}
        >>> unknown = {name: value for name, value in truth.items() if name != "meta_commentary"}
        >>> true_classes(replies, [truth, unknown], behavior).select("class_name", "possible_classes").rows()
        [('ideal', ['ideal']), (None, ['ideal', 'minimum_acceptable_style'])]
    """
    numbered = replies.with_row_index("_truth")

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        diagram = compile_classes(behavior, response_type)
        return _with_possible_names(group, _possible_names(diagram, [truths[row] for row in group["_truth"]]))

    return _by_response_type(numbered, classify, _POSSIBLE_CLASS_COLUMNS).drop("_truth")


def gold_classes(rows: Sequence[GoldRow], rulebook: Rulebook, *, where: str) -> pl.DataFrame:
    """Decides the class of each gold reply from its labels.

    Args:
        rows: The labeled replies.
        rulebook: The rulebook; it contains the response type of each category, and the class rules.
        where: File that the rows were read from, for error messages.

    Returns:
        Columns line, category, response_type, class_name and missing, in the order of `rows`. If the class depends
        on missing labels, class_name is null, and missing lists the propositions of the class rules without a label.
        Otherwise missing is empty.

    Raises:
        InputError: A category is not in the content policy. All such rows are reported.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> message = {"role": "user", "content": "How do I boil an egg?"}
        >>> row = GoldRow((message,), "[harmful steps]", "None", {"disallowed_content": True}, line=1)
        >>> gold_classes([row], load_rulebook("rulebook"), where="gold.jsonl")["class_name"].item()
        'disallowed'
    """
    policy = rulebook.content_policy
    behavior = rulebook.behavior
    diagrams = {name: compile_classes(behavior, name) for name in behavior.response_types}
    places = [(row.category, Location(where, row.line, key_path=("category",))) for row in rows]
    if problems := unknown_categories(places, policy.categories):
        raise InputError.collect(problems)
    classified = []
    for row in rows:
        response_type = policy.response_type(row.category)
        diagram = diagrams[response_type]
        (possible,) = _possible_names(diagram, [row.labels])
        certain_class = possible[0] if len(possible) == 1 else None
        missing = [] if certain_class else [name for name in diagram.propositions if name not in row.labels]
        classified.append((row.line, row.category, response_type, certain_class, missing))
    return pl.DataFrame(classified, schema=_GOLD_CLASSES, orient="row")


def class_rule_propositions(behavior: Behavior) -> tuple[str, ...]:
    """Returns the simple propositions that the class rules of all response types depend on, sorted.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> "disallowed_content" in class_rule_propositions(load_behavior("rulebook/behavior.yaml"))
        True
    """
    diagrams = (compile_classes(behavior, response_type) for response_type in behavior.response_types)
    return tuple(sorted({name for diagram in diagrams for name in diagram.propositions}))


def _possible_names(diagram: ClassDiagram, truths: Sequence[Mapping[str, bool]]) -> list[list[str]]:
    """Returns the names of the classes that each reply may have, best first."""
    # Without the shape, the arrays of an empty group would have only one dimension.
    shape = (len(truths), len(diagram.propositions))
    values = np.array([[truth.get(name, False) for name in diagram.propositions] for truth in truths], dtype=np.bool_)
    unknown = np.array([[name not in truth for name in diagram.propositions] for truth in truths], dtype=np.bool_)
    possible = possible_classes(diagram, values.reshape(shape), unknown.reshape(shape))
    return [np.array(diagram.classes)[row].tolist() for row in possible]


def _with_possible_names(replies: pl.DataFrame, possible: list[list[str]]) -> pl.DataFrame:
    """Adds the columns class_name and possible_classes, from the possible classes of each reply."""
    return replies.with_columns(
        pl.Series("class_name", [names[0] if len(names) == 1 else None for names in possible], dtype=pl.String),
        pl.Series("possible_classes", possible, dtype=pl.List(pl.String)),
    )


def _grades_of(group: pl.DataFrame, grades: pl.DataFrame, features: FeatureMap) -> FloatArray:
    return grade_matrix(grades, group["completion_id"].to_list(), features.propositions)


def _class_names(classes: NDArray[np.intp], names: Sequence[str]) -> pl.Series:
    return pl.Series("class_name", [names[index] if index >= 0 else None for index in classes], dtype=pl.String)


def _by_response_type(
    replies: pl.DataFrame,
    classify: Callable[[str, pl.DataFrame], pl.DataFrame],
    added_columns: Mapping[str, pl.DataType | type[pl.DataType]] = _CLASS_COLUMN,
) -> pl.DataFrame:
    """Applies `classify` to each response type, because each response type has its own class rules.

    Args:
        replies: Column response_type, and any others.
        classify: Function of a response type and its replies; returns these replies with `added_columns`.
        added_columns: Data type of each column that `classify` adds, by name.

    Returns:
        All replies with the added columns, in the order of `replies`.
    """
    if replies.is_empty():
        return replies.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in added_columns.items())
    # Number the rows, classify group by group, and sort the rows back into their order.
    numbered = replies.with_row_index("_row")
    groups = numbered.partition_by("response_type", maintain_order=True)
    return pl.concat([classify(group["response_type"][0], group) for group in groups]).sort("_row").drop("_row")
