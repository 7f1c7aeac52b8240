"""Matches the labels that people gave with the grades of the same replies."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rbr.classes.grade_matrix import grade_matrix
from rbr.grading.answers import Outcome

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Judgments:
    """Labels and grades of N judgments and K propositions. A judgment is what one person said about one reply.

    Attributes:
        propositions: Names of the K propositions.
        p_yes: Grades, float64[N, K] in [0, 1]; NaN if there is no grade.
        gold: Labels, bool[N, K]; False if there is none.
        labeled: Whether there is a label, bool[N, K].
        refused: Whether a content filter refused to let the grader judge the reply, bool[N, K].
        clusters: Number of the prompt of each judgment, shape [N].

    Raises:
        ValueError: The arrays have different shapes.

    Example:
        >>> yes = np.array([[True], [False]])
        >>> judgments = Judgments(["apology"], np.array([[0.9], [0.2]]), yes, yes | True, yes & False, np.arange(2))
        >>> judgments.of("apology").p_yes
        array([0.9, 0.2])
    """

    propositions: list[str]
    p_yes: FloatArray
    gold: BoolArray
    labeled: BoolArray
    refused: BoolArray
    clusters: NDArray[np.intp]

    def __post_init__(self) -> None:
        shape = (len(self.clusters), len(self.propositions))
        if any(array.shape != shape for array in (self.p_yes, self.gold, self.labeled, self.refused)):
            raise ValueError("p_yes, gold, labeled and refused must have the shape [judgments, propositions]")

    def of(self, proposition: str) -> "GradedLabels":
        """Returns the labels of one proposition with their grades."""
        column = self.propositions.index(proposition)
        labeled = self.labeled[:, column]
        graded = labeled & ~np.isnan(self.p_yes[:, column])
        missing = labeled & ~graded
        return GradedLabels(
            self.p_yes[graded, column],
            self.gold[graded, column],
            self.clusters[graded],
            n_missing=int(missing.sum()),
            n_refused=int((missing & self.refused[:, column]).sum()),
        )


@dataclass(frozen=True)
class GradedLabels:
    """The n labels of one proposition that have a grade, and how many have none.

    Attributes:
        p_yes: Grades, float64[n] in [0, 1].
        gold: Labels, bool[n].
        clusters: Number of the prompt of each label, shape [n].
        n_missing: Number of labels without a grade.
        n_refused: How many of these a content filter refused.

    Example:
        >>> GradedLabels(np.array([0.9]), np.array([True]), np.arange(1), n_missing=2, n_refused=1).n_missing
        2
    """

    p_yes: FloatArray
    gold: BoolArray
    clusters: NDArray[np.intp]
    n_missing: int
    n_refused: int


def match_judgments(labels: pl.DataFrame, grades: pl.DataFrame, propositions: Iterable[str] | None = None) -> Judgments:
    """Matches labels with grades.

    Args:
        labels: Columns completion_id, proposition, truth. Each row is one person's judgment of one proposition, so
            several people may judge the same reply. Leave out the propositions that the reply's response type does
            not use: the released data label them false by default. The column prompt_id, if it is there, says which
            replies belong to the same prompt; otherwise every reply has its own.
        grades: Columns completion_id, proposition, p_yes (null if there is no grade). The column outcome, if it is
            there, has a value of `rbr.grading.Outcome`.
        propositions: Propositions that get a column even if they have no label; None stands for those with a label.

    Example:
        >>> rows = {"completion_id": ["a", "b"], "proposition": ["apology"] * 2}
        >>> labels = pl.DataFrame(rows | {"truth": [True, False]})
        >>> grades = pl.DataFrame(rows | {"p_yes": [0.9, None], "outcome": ["answered", "refused"]})
        >>> match_judgments(labels, grades).of("apology").n_refused
        1
    """
    names = sorted({*labels["proposition"], *(propositions or ())})
    prompt = "prompt_id" if "prompt_id" in labels.columns else "completion_id"
    # 1. Number the people who judged a reply. The rows of the matrices below are completion_id/0, completion_id/1, ...
    person = pl.int_range(pl.len()).over("completion_id", "proposition")
    judgment = pl.format("{}/{}", "completion_id", person).alias("judgment")
    judged = labels.with_columns(judgment, pl.col("truth").cast(pl.Float64).alias("p_yes"), prompt=pl.col(prompt))
    rows = judged.select("judgment", "completion_id", "prompt").unique().sort("judgment")
    # 2. Pivot the labels to a matrix as if they were grades: 1.0 for true, 0.0 for false, NaN for no label.
    labels_as_grades = judged.select(pl.col("judgment").alias("completion_id"), "proposition", "p_yes")
    truth = grade_matrix(labels_as_grades, rows["judgment"].to_list(), names)  # [judgments, propositions]
    # 3. Repeat the grades of a reply for each of its judgments.
    completion_ids = rows["completion_id"].to_list()
    p_yes = grade_matrix(grades, completion_ids, names)  # [judgments, propositions]
    refused = np.zeros(p_yes.shape, dtype=np.bool_)
    if "outcome" in grades.columns:
        is_refused = (pl.col("outcome") == Outcome.REFUSED.value).cast(pl.Float64)
        refused = grade_matrix(grades.with_columns(p_yes=is_refused), completion_ids, names) == 1.0
    clusters = rows["prompt"].rank("dense").to_numpy().astype(np.intp)
    return Judgments(names, p_yes, truth == 1.0, ~np.isnan(truth), refused, clusters)
