"""Checks that the model behind a server still gives the answers that it gave when its first grades were stored."""

from datetime import UTC, datetime
from math import nan

import polars as pl

from rbr.grading import Grader, OnProgress, Outcome
from rbr.grading.answers import Answer
from rbr.grading.canary import check_model, expect_answers, has_canary
from rbr.grading.canary_probes import ProbeAnswers
from rbr.grading.drift import Difference
from resources.models import GraderInUse
from resources.store import Store
from resources.store.tables import TABLES

_SHOWN_REASONS = 3

# The graders that this process has checked: path of the store, identity of the grader.
_checked: set[tuple[str, str]] = set()


def check_canary(store: Store, grader: GraderInUse, model: Grader, on_progress: OnProgress | None = None) -> str | None:
    """Asks a grader behind a server the probes, and compares the answers with those that are stored.

    The first time, the probes are asked twice, and both answers are stored: their difference is the noise. A process
    checks each grader once. A grader without a canary is not checked.

    Args:
        store: The store with the table ``canary_answers``.
        grader: The grader and its settings.
        model: The opened grader.
        on_progress: See `rbr.grading.OnProgress`.

    Returns:
        How many probes have a readable answer, the noise and the drift in words, for the page of an asset; None if the
        grader was not asked.

    Raises:
        InputError: The answers have moved by more than the noise, some probes got no answer, or fewer than
            `MIN_READABLE` are readable the first time. Nothing is stored then.
    """
    key = (store.path, grader.version)
    if not has_canary(grader.settings):
        return None
    stored = store.read("canary_answers", "grader = ?", [grader.version])
    first, again = _answers(stored, ""), _answers(stored, "_again")
    if key in _checked:
        # The model may have been opened again since.
        expect_answers(model, first, Difference.between(first, again))
        return None
    checked = check_model(
        model,
        grader.settings,
        first,
        again,
        since=stored["asked_at"].min(),
        on_progress=on_progress,
    )
    if checked.new:
        store.append("canary_answers", _rows(grader.version, checked.new, checked.again))
    _checked.add(key)
    return checked.words


def _answers(stored: pl.DataFrame, suffix: str) -> dict[str, Answer]:
    columns = ("probe", f"outcome{suffix}", f"p_yes{suffix}")
    return {
        probe: Answer(Outcome(outcome), nan if p_yes is None else p_yes)
        for probe, outcome, p_yes in stored.select(columns).iter_rows()
    }


def _rows(version: str, first: ProbeAnswers, again: ProbeAnswers) -> pl.DataFrame:
    asked_at = datetime.now(UTC).isoformat(timespec="seconds")
    return pl.DataFrame(
        [
            (version, probe, _p_yes(answer), answer.outcome.value, _p_yes(other), other.outcome.value, asked_at)
            for probe, answer in first.items()
            for other in [again[probe]]
        ],
        schema=TABLES["canary_answers"].dtypes,
        orient="row",
    )


def _p_yes(answer: Answer) -> float | None:
    return answer.p_yes if answer.outcome == Outcome.ANSWERED else None
