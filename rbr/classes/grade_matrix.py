"""Stored grades as a matrix: one row per completion, one column per proposition."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def grade_matrix(grades: pl.DataFrame, completion_ids: Sequence[str], propositions: Sequence[str]) -> FloatArray:
    """Pivots grades from long form to a matrix.

    Args:
        grades: Columns completion_id, proposition, p_yes (null if the answer could not be read).
        completion_ids: Replies in the order of the rows; an id may occur more than once.
        propositions: Propositions in the order of the columns.

    Returns:
        float64[completion_ids, propositions]; NaN if there is no grade.

    Example:
        >>> grades = pl.DataFrame({"completion_id": ["a", "b"], "proposition": ["apology"] * 2, "p_yes": [0.9, None]})
        >>> grade_matrix(grades, ["b", "a"], ["apology", "judgement"])
        array([[nan, nan],
               [0.9, nan]])
    """
    # Fill a matrix with one row per distinct id. The last line repeats rows for repeated ids.
    row = {completion_id: index for index, completion_id in enumerate(dict.fromkeys(completion_ids))}
    column = {name: index for index, name in enumerate(propositions)}
    matrix = np.full((len(row), len(column)), np.nan)
    readable = grades.filter(pl.col("proposition").is_in(list(column)) & pl.col("p_yes").is_not_null())
    for completion_id, name, p_yes in readable.select("completion_id", "proposition", "p_yes").iter_rows():
        if completion_id in row:
            matrix[row[completion_id], column[name]] = p_yes
    return matrix[[row[completion_id] for completion_id in completion_ids]]
