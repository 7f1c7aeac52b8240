"""Accepts the propositions that the grader judges well enough to be features (paper sections 5 and 6)."""

import numpy as np
import polars as pl

from rbr.classes.features import NEUTRAL_THRESHOLD
from rbr.classes.grade_matrix import grade_matrix
from rbr.grading.gold_agreement import agreement_by_proposition
from rbr.rulebook import Agreement


def measure_agreement(labels: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """Measures how well the grader agrees with gold labels, for each proposition.

    Args:
        labels: Columns completion_id, proposition, truth. Each row is one person's judgment of one proposition, so
            several people may judge the same reply. Leave out the propositions that the reply's response type does
            not use: the released data label them false by default.
        grades: Columns completion_id, proposition, p_yes (null if the answer could not be read).

    Returns:
        Columns `rbr.grading.gold_agreement.AGREEMENT_SCHEMA`, one row per proposition, sorted by name.

    Example:
        >>> rows = {"completion_id": ["a", "b", "c"], "proposition": ["apology"] * 3}
        >>> labels = pl.DataFrame(rows | {"truth": [True, False, False]})
        >>> grades = pl.DataFrame(rows | {"p_yes": [0.9, 0.6, 0.2]})
        >>> measure_agreement(labels, grades).select("proposition", "n", "balanced_accuracy").rows()
        [('apology', 3, 0.75)]
    """
    propositions = sorted(labels["proposition"].unique())
    # 1. Number the people who judged a reply. The rows of the matrices below are completion_id/0, completion_id/1, ...
    person = pl.int_range(pl.len()).over("completion_id", "proposition")
    judgment = pl.format("{}/{}", "completion_id", person).alias("judgment")
    judged = labels.with_columns(judgment, pl.col("truth").cast(pl.Float64).alias("p_yes"))
    rows = judged.select("judgment", "completion_id").unique().sort("judgment")
    # 2. Pivot the labels to a matrix as if they were grades: 1.0 for true, 0.0 for false, NaN for no label.
    labels_as_grades = judged.select(pl.col("judgment").alias("completion_id"), "proposition", "p_yes")
    truth = grade_matrix(labels_as_grades, rows["judgment"].to_list(), propositions)  # [judgments, propositions]
    # 3. Repeat the grades of a reply for each of its judgments.
    p_yes = grade_matrix(grades, rows["completion_id"].to_list(), propositions)  # [judgments, propositions]
    return agreement_by_proposition(propositions, p_yes, gold=truth == 1.0, labeled=~np.isnan(truth))


def accept_propositions(agreement: pl.DataFrame, bars: Agreement) -> pl.DataFrame:
    """Accepts each proposition whose balanced accuracy reaches its bar.

    Args:
        agreement: Columns proposition, balanced_accuracy (null if it could not be measured) and threshold.
        bars: Smallest balanced accuracy at which a proposition is accepted, by proposition.

    Returns:
        Columns proposition, threshold and accepted, in the order of `agreement`. A proposition whose agreement could
        not be measured is not accepted and has the threshold 0.5.

    Example:
        >>> measured = pl.DataFrame({"proposition": ["apology"], "balanced_accuracy": [0.8], "threshold": [0.4]})
        >>> accept_propositions(measured, Agreement(bar=0.7)).rows()
        [('apology', 0.4, True)]
    """
    bar = pl.Series([bars.bar_of(name) for name in agreement["proposition"]], dtype=pl.Float64)
    reaches_bar = (pl.col("balanced_accuracy") >= bar).fill_null(False)
    threshold = pl.col("threshold").fill_null(NEUTRAL_THRESHOLD)
    return agreement.select("proposition", threshold, reaches_bar.alias("accepted"))
