"""Finds pairs of propositions that move together or exclude each other, and measures how classes suffer from it."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl

from rbr.agreement.class_calibration import UNDECIDED, estimate_means, simultaneous_z
from rbr.agreement.judged_replies import JudgedReplies
from rbr.classes.independence import effect

TOGETHER, APART, NOT_FOUND = "move together", "exclude each other", "no dependence found"

PAIR_SCHEMA = pl.Schema(
    {
        "class_name": pl.String,
        "first": pl.String,
        "second": pl.String,
        "n": pl.Int64,
        "missed_probability": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "verdict": pl.String,
    }
)


def dependent_pairs(judged: JudgedReplies, *, min_labels: int = 20) -> pl.DataFrame:
    """Measures, for each pair of propositions and each class, the probability that independence misses.

    The measure is the mean of (x_i - p_i) (x_j - p_j), times the effect of the pair on the class (see
    `rbr.classes.independence`). Replies for which the pair cannot change the class therefore do not count. The
    difference between the joint frequency and the mean product would be no sound measure: it is not 0 if the
    propositions are independent but one grade is a little too high.

    Args:
        judged: The labeled replies.
        min_labels: A pair with fewer readable labeled replies is undecided.

    Returns:
        One row per class and pair, columns `PAIR_SCHEMA`. Pairs that change the class in none of the replies are left
        out. The largest missed probability comes first.

        - missed_probability: with this pair's dependence, the mean probability of the class would be so much higher.
        - low, high: interval; the intervals of all rows together hold with 95 % probability.
        - verdict: ``move together`` or ``exclude each other`` if 0 lies outside the interval, otherwise ``no dependence
          found``; ``undecided``, without a number, if there are too few labels.

    Example:
        >>> from rbr.classes.features import FeatureMap
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "a and b", "bad": "not (a and b)"}, ["good", "bad"])
        >>> a = np.arange(40) % 2 == 0
        >>> truth = np.stack([a, a], axis=1)  # a and b are always equal, but the grader cannot tell their values
        >>> prompts = [str(number) for number in range(40)]
        >>> judged = JudgedReplies(FeatureMap(diagram, (), {}), np.full((40, 2), 0.5), truth, truth | True, prompts)
        >>> dependent_pairs(judged).select("class_name", "first", "second", "missed_probability", "verdict").row(0)
        ('good', 'a', 'b', 0.25, 'move together')
    """
    names = judged.features.diagram.propositions
    pairs = list(_measured_pairs(judged, min_labels))
    z = simultaneous_z(len(pairs))
    rows: list[tuple[object, ...]] = []
    for pair in pairs:
        about = (pair.class_name, names[pair.first], names[pair.second], pair.n)
        if np.isnan(pair.error):
            rows.append((*about, None, None, None, UNDECIDED))
        else:
            found = abs(pair.missed) > z * pair.error
            verdict = NOT_FOUND if not found else TOGETHER if pair.relation > 0 else APART
            rows.append((*about, pair.missed, pair.missed - z * pair.error, pair.missed + z * pair.error, verdict))
    size = pl.col("missed_probability").abs()
    table = pl.DataFrame(rows, schema=PAIR_SCHEMA, orient="row")
    return table.sort(size, descending=True, nulls_last=True, maintain_order=True)


class _MeasuredPair(NamedTuple):
    """A pair of columns. `relation` is positive if both are true together more often than independence predicts."""

    class_name: str
    first: int
    second: int
    n: int
    missed: float
    error: float
    relation: float


def _measured_pairs(judged: JudgedReplies, min_labels: int) -> Iterator[_MeasuredPair]:
    """Yields each class and pair. The figures are NaN if there are too few labels."""
    diagram = judged.features.diagram
    residuals = judged.x - judged.p  # [N, propositions]
    spread = judged.p * (1 - judged.p)
    for first, second in combinations(range(len(diagram.propositions)), 2):
        products = residuals[:, first] * residuals[:, second]
        used = ~np.isnan(products) & judged.read
        n = int(used.sum())
        if n < min_labels:
            yield from (_MeasuredPair(name, first, second, n, np.nan, np.nan, np.nan) for name in diagram.classes)
            continue
        effects = effect(diagram, judged.p[used], first, second)  # [n, classes]
        sizes = np.abs(effects)
        missed = products[used, None] * effects
        variance = (spread[:, first] * spread[:, second])[used, None] * effects**2
        estimates = estimate_means(missed, variance, judged.prompt_numbers[used], one_prompt=sizes.mean(axis=0))
        relations = products[used] @ sizes
        for column, name in enumerate(diagram.classes):
            if sizes[:, column].any():
                figures = (estimates.mean[column], estimates.error[column], relations[column])
                yield _MeasuredPair(name, first, second, n, *map(float, figures))
