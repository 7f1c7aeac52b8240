"""Accepts the propositions that the grader judges well enough to be features (paper sections 5 and 6).

A proposition is accepted or rejected only if enough labels could be compared with the grader's answers. Otherwise it is
undecided.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from rbr.agreement.gold_agreement import agreement_by_proposition
from rbr.agreement.judgments import match_judgments
from rbr.classes.features import NEUTRAL_THRESHOLD
from rbr.rulebook import Agreement

ACCEPTED, REJECTED, UNDECIDED = "accepted", "rejected", "undecided"
OUTCOMES = (ACCEPTED, REJECTED, UNDECIDED)
"""The outcomes of `accept_propositions`."""

ACCEPTANCE_SCHEMA = pl.Schema(
    {
        "proposition": pl.String,
        "threshold": pl.Float64,
        "outcome": pl.String,
        "reason": pl.String,
        "advice": pl.String,
    }
)


def measure_agreement(
    labels: pl.DataFrame, grades: pl.DataFrame, propositions: Iterable[str] | None = None
) -> pl.DataFrame:
    """Measures how well the grader agrees with gold labels, for each proposition.

    Args:
        labels: As for `rbr.agreement.judgments.match_judgments`.
        grades: As for `match_judgments`.
        propositions: Propositions that get a row even if they have no label; None stands for those with a label.

    Returns:
        Columns `rbr.agreement.gold_agreement.AGREEMENT_SCHEMA`, one row per proposition, sorted by name. Without
        labels, all counts are 0 and the measures are null.

    Example:
        >>> rows = {"completion_id": ["a", "b", "c"], "proposition": ["apology"] * 3}
        >>> labels = pl.DataFrame(rows | {"truth": [True, False, False]})
        >>> grades = pl.DataFrame(rows | {"p_yes": [0.9, 0.6, 0.2]})
        >>> measured = measure_agreement(labels, grades, ["apology", "judgement"])
        >>> measured.select("proposition", "n", "n_yes", "balanced_accuracy").rows()
        [('apology', 3, 1, 0.75), ('judgement', 0, 0, None)]
    """
    return agreement_by_proposition(match_judgments(labels, grades, propositions))


def accept_propositions(agreement: pl.DataFrame, bars: Agreement, propositions: Iterable[str] = ()) -> pl.DataFrame:
    """Decides whether the grader judges each proposition well enough.

    A proposition is *undecided* if it has no label, if the grader's answer could be read for less than `min_read` of
    its labels, or if fewer than `min_labels` of the labels with a readable answer say yes, or say no. Otherwise the
    proposition is *accepted* if its balanced accuracy reaches its bar, and *rejected* if not.

    Args:
        agreement: Columns proposition, n, n_missing, n_yes, balanced_accuracy and threshold, as `measure_agreement`
            returns them.
        bars: What the agreement must reach.
        propositions: Propositions that get a row even if `agreement` has none; they have no label.

    Returns:
        Columns `ACCEPTANCE_SCHEMA`, one row per proposition, sorted by name. The reason says in words why a proposition
        is not accepted, and the advice says what to do; both are null if the proposition is accepted. An undecided
        proposition has the threshold 0.5, because too few labels could be compared to choose another one.

    Example:
        >>> measured = {"proposition": ["apology"], "n": [90], "n_missing": [0], "n_yes": [12]}
        >>> agreement = pl.DataFrame(measured | {"balanced_accuracy": [0.8], "threshold": [0.4]})
        >>> accept_propositions(agreement, Agreement(bar=0.7)).select("outcome", "threshold", "reason").row(0)
        ('undecided', 0.5, '12 labels say yes, 20 are needed')
        >>> accept_propositions(agreement, Agreement(bar=0.7, min_labels=10)).select("outcome", "threshold").row(0)
        ('accepted', 0.4)
    """
    measured = {row["proposition"]: row for row in agreement.iter_rows(named=True)}
    rows = [_acceptance_row(name, measured.get(name), bars) for name in sorted({*measured, *propositions})]
    return pl.DataFrame(rows, schema=ACCEPTANCE_SCHEMA, orient="row")


def _acceptance_row(name: str, measured: Mapping[str, Any] | None, bars: Agreement) -> tuple[object, ...]:
    """Returns the row of one proposition, columns `ACCEPTANCE_SCHEMA`."""
    if measured is None or not measured["n"] + measured["n_missing"]:
        advice = f"Label replies: for at least {bars.min_labels} it must be true, and for as many it must be false."
        return name, NEUTRAL_THRESHOLD, UNDECIDED, "it has no labels", advice
    problems = list(_missing_evidence(measured, bars))
    if problems:
        reason = "; ".join(reason for reason, _ in problems)
        # Two reasons may have the same advice.
        advice = " ".join(dict.fromkeys(advice for _, advice in problems))
        return name, NEUTRAL_THRESHOLD, UNDECIDED, reason, advice
    accuracy, bar = measured["balanced_accuracy"], bars.bar_of(name)
    if accuracy >= bar:
        return name, measured["threshold"], ACCEPTED, None, None
    reason = f"the balanced accuracy is {_share_below(accuracy, bar)}, {bar:g} is needed"
    advice = "Reword its question in propositions.yaml, correct wrong labels, or use a better grader."
    return name, measured["threshold"], REJECTED, reason, advice


def _missing_evidence(measured: Mapping[str, Any], bars: Agreement) -> Iterator[tuple[str, str]]:
    """Yields each reason why the labels do not suffice to decide, with the advice what to do."""
    n, n_missing, n_yes = measured["n"], measured["n_missing"], measured["n_yes"]
    share_read = n / (n + n_missing)
    if share_read < bars.min_read:
        yield (
            f"the grader's answer could be read for {n} of {n + n_missing} labels "
            f"({_share_below(share_read, bars.min_read)}), {bars.min_read:g} is needed",
            "Check how the profile reads the grader's answers: grader.yes, grader.no and grader.min_mass."
            if measured.get("n_refused", 0) < n_missing
            else "A content filter in front of the grader refused them. Use a grader without one.",
        )
    for count, answer, truth in ((n_yes, "yes", "true"), (n - n_yes, "no", "false")):
        if count < bars.min_labels:
            labels, says = ("label", "says") if count <= 1 else ("labels", "say")
            readable = " with a readable answer" if n_missing else ""
            are = "is" if bars.min_labels == 1 else "are"
            yield (
                f"{count or 'no'} {labels}{readable} {says} {answer}, {bars.min_labels} {are} needed",
                f"Label more replies for which it is {truth}.",
            )


def _share_below(share: float, bar: float) -> str:
    """Formats a share below a bar with two decimals, or with more if two would round it up to the bar."""
    return next((text for digits in range(2, 17) if float(text := f"{share:.{digits}f}") < bar), repr(share))
