"""Classes of many replies at once: the likeliest, the counted, and the true one.

Each function takes replies of any response types (columns completion_id and response_type) and the grades in
long form (completion_id, proposition, p_yes), and adds columns without changing the rows' order.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.features import FeatureMap, feature_map, likeliest
from rbr.comparisons.categories import check_categories
from rbr.conversation import GoldRow
from rbr.rulebook import Behavior, Rulebook, compile_classes

FloatArray = NDArray[np.float64]
Truths = Mapping[str, bool]

_GOLD_CLASSES = pl.Schema(
    {
        "line": pl.Int32(),
        "category": pl.String(),
        "response_type": pl.String(),
        "class_name": pl.String(),
        "missing": pl.List(pl.String()),
    }
)
_CLASS: Mapping[str, type[pl.DataType]] = {"class_name": pl.String}


def grade_matrix(grades: pl.DataFrame, completion_ids: Sequence[str], propositions: Sequence[str]) -> FloatArray:
    """Long grades as a matrix.

    Args:
        grades: Columns completion_id, proposition, p_yes (null where it could not be read).
        completion_ids: The rows, in order; may repeat.
        propositions: The columns, in order.

    Returns:
        float64[completion_ids, propositions]; NaN where there is no grade.
    """
    row = {completion_id: index for index, completion_id in enumerate(dict.fromkeys(completion_ids))}
    column = {name: index for index, name in enumerate(propositions)}
    matrix = np.full((len(row), len(column)), np.nan)
    wanted = grades.filter(pl.col("proposition").is_in(list(column)) & pl.col("p_yes").is_not_null())
    for completion_id, name, p_yes in wanted.select("completion_id", "proposition", "p_yes").iter_rows():
        if completion_id in row:
            matrix[row[completion_id], column[name]] = p_yes
    return matrix[[row[completion_id] for completion_id in completion_ids]]


def likely_classes(
    replies: pl.DataFrame, grades: pl.DataFrame, behavior: Behavior, thresholds: Mapping[str, float]
) -> pl.DataFrame:
    """Adds the most probable class, for verifying that a reply turned out as asked (paper section 2, stage 6).

    Returns:
        The replies with class_name and p_class, its probability; both null where a grade is missing.
    """

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        features = feature_map(behavior, response_type, thresholds=thresholds)
        probabilities = features.class_probabilities(_grades_of(group, grades, features))
        best = likeliest(probabilities)
        p_best = [float(row[index]) if index >= 0 else None for row, index in zip(probabilities, best, strict=True)]
        return group.with_columns(_class_names(best, features.classes), pl.Series("p_class", p_best, dtype=pl.Float64))

    return _by_response_type(replies, classify, {**_CLASS, "p_class": pl.Float64})


def counted_classes(
    replies: pl.DataFrame, grades: pl.DataFrame, behavior: Behavior, thresholds: Mapping[str, float]
) -> pl.DataFrame:
    """Adds the class by grades cut at their thresholds, which the evaluation counts (paper section 6).

    Returns:
        The replies with class_name; null where a grade that a class needs is missing.
    """

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        features = feature_map(behavior, response_type, thresholds=thresholds)
        classes = features.binary_classes(_grades_of(group, grades, features))
        return group.with_columns(_class_names(classes, features.classes))

    return _by_response_type(replies, classify)


def true_classes(replies: pl.DataFrame, truths: Sequence[Truths], behavior: Behavior) -> pl.DataFrame:
    """Adds the class by known truth values.

    Args:
        replies: Columns completion_id and response_type.
        truths: Truth value by proposition, one mapping per reply; holds those of `propositions_of_rules`.
        behavior: The behavior policy.

    Returns:
        The replies with class_name.
    """
    numbered = replies.with_row_index("_truth")

    def classify(response_type: str, group: pl.DataFrame) -> pl.DataFrame:
        diagram = compile_classes(behavior, response_type)
        values = [[truths[row][name] for name in diagram.propositions] for row in group["_truth"]]
        classes = diagram.classify(np.array(values, dtype=np.bool_).reshape(-1, len(diagram.propositions)))
        return group.with_columns(_class_names(classes, diagram.classes))

    return _by_response_type(numbered, classify).drop("_truth")


def gold_classes(rows: Sequence[GoldRow], rulebook: Rulebook, *, where: str) -> pl.DataFrame:
    """Sorts labeled replies into classes by their labels.

    Args:
        rows: The labeled replies.
        rulebook: Tells the response type of a category, and the class rules.
        where: The file that the rows come from, for messages.

    Returns:
        Columns line, category, response_type, class_name (null where labels that are missing decide it) and
        missing (those labels), in the order of the rows.

    Raises:
        InputError: A category is not in the content policy.
    """
    policy = rulebook.content_policy
    diagrams = {kind: compile_classes(rulebook.behavior, kind) for kind in rulebook.behavior.response_types}
    found = []
    for row in rows:
        check_categories([row.category], policy, where=f"{where}:{row.line}")
        kind = policy.response_type(row.category)
        diagram = diagrams[kind]
        # A label that is missing may be either: the class is certain where it comes out so with even odds.
        truth = np.array([[float(row.labels.get(name, 0.5)) for name in diagram.propositions]])
        (shares,) = diagram.class_probabilities(truth)
        certain = next((name for name, share in zip(diagram.classes, shares, strict=True) if share == 1.0), None)
        missing = [] if certain else [name for name in diagram.propositions if name not in row.labels]
        found.append((row.line, row.category, kind, certain, missing))
    return pl.DataFrame(found, schema=_GOLD_CLASSES, orient="row")


def propositions_of_rules(behavior: Behavior) -> tuple[str, ...]:
    """The simple propositions that the class rules of any response type depend on, sorted."""
    diagrams = (compile_classes(behavior, response_type) for response_type in behavior.response_types)
    return tuple(sorted({name for diagram in diagrams for name in diagram.propositions}))


def _grades_of(group: pl.DataFrame, grades: pl.DataFrame, features: FeatureMap) -> FloatArray:
    return grade_matrix(grades, group["completion_id"].to_list(), features.propositions)


def _class_names(classes: NDArray[np.intp], names: Sequence[str]) -> pl.Series:
    return pl.Series("class_name", [names[index] if index >= 0 else None for index in classes], dtype=pl.String)


def _by_response_type(
    replies: pl.DataFrame,
    classify: Callable[[str, pl.DataFrame], pl.DataFrame],
    added: Mapping[str, type[pl.DataType]] = _CLASS,
) -> pl.DataFrame:
    if replies.is_empty():
        return replies.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in added.items())
    numbered = replies.with_row_index("_row")
    groups = numbered.partition_by("response_type", maintain_order=True)
    return pl.concat([classify(group["response_type"][0], group) for group in groups]).sort("_row").drop("_row")
