"""Gold labels in long form against the grader, and which propositions it judges well enough to be used."""

import numpy as np
import polars as pl

from rbr.classes.classification import grade_matrix
from rbr.classes.features import NEUTRAL_THRESHOLD
from rbr.grading.agreement import agreement
from rbr.rulebook import Agreement


def measure_agreement(labels: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """Measures how well the grader agrees with gold labels, without holding it against any bar.

    Args:
        labels: Columns completion_id, proposition, truth: the labels that count; each judgement of a reply that
            several people judged. A label whose proposition the reply's response type does not ask for is
            better left out: released labels default to false there.
        grades: Columns completion_id, proposition, p_yes (null where it could not be read).

    Returns:
        The measures of `rbr.grading.agreement.agreement`, one row per proposition, sorted by name; the interval as
        balanced_accuracy_low and balanced_accuracy_high.
    """
    propositions = sorted(labels["proposition"].unique())
    person = pl.int_range(pl.len()).over("completion_id", "proposition")
    judgement = pl.format("{}/{}", "completion_id", person).alias("judgement")
    judged = labels.with_columns(judgement, pl.col("truth").cast(pl.Float64).alias("p_yes"))
    rows = judged.select("judgement", "completion_id").unique().sort("judgement")
    as_grades = judged.select(pl.col("judgement").alias("completion_id"), "proposition", "p_yes")
    truth = grade_matrix(as_grades, rows["judgement"].to_list(), propositions)
    p_yes = grade_matrix(grades, rows["completion_id"].to_list(), propositions)
    measured = agreement(propositions, p_yes, truth == 1.0, ~np.isnan(truth), bar_of=lambda _: 0.0)
    interval = {"low": "balanced_accuracy_low", "high": "balanced_accuracy_high"}
    return measured.drop("bar", "accepted", "reason").rename(interval)


def accept(agreement: pl.DataFrame, bars: Agreement) -> pl.DataFrame:
    """Holds the measured agreement against the bars.

    Args:
        agreement: Columns proposition, balanced_accuracy (null where it could not be measured) and threshold.
        bars: Least balanced accuracy by proposition.

    Returns:
        Columns proposition, threshold, accepted, in the order given. What could not be measured is not
        accepted and keeps the neutral threshold.
    """
    bar = pl.Series([bars.bar_of(name) for name in agreement["proposition"]], dtype=pl.Float64)
    reached = (pl.col("balanced_accuracy") >= bar).fill_null(False)
    threshold = pl.col("threshold").fill_null(NEUTRAL_THRESHOLD)
    return agreement.select("proposition", threshold, reached.alias("accepted"))
