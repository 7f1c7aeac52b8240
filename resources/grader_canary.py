"""Checks that the model behind a server still gives the answers that it gave when its first grades were stored."""

from collections import Counter
from datetime import UTC, datetime
from math import nan

import polars as pl

from rbr.errors import InputError
from rbr.grading import Grader, Outcome
from rbr.grading.answers import Answer
from rbr.grading.canary import MIN_READABLE, Difference, ProbeAnswers, ask_probes
from resources.models import GraderInUse
from resources.store import Store
from resources.store.tables import TABLES

_SHOWN_REASONS = 3

# The graders that this process has checked: path of the store, identity of the grader.
_checked: set[tuple[str, str]] = set()


def has_canary(grader: GraderInUse) -> bool:
    """Returns whether the model of a grader can change without a trace, because a server has it.

    The hash of the files of a model that runs in process is part of the grader's identity.
    """
    return grader.settings.backend == "openai"


def check_canary(store: Store, grader: GraderInUse, model: Grader) -> str | None:
    """Asks a grader behind a server the probes, and compares the answers with those that are stored.

    The first time, the probes are asked twice, and both answers are stored: their difference is the noise. A process
    checks each grader once. A grader without a canary is not checked.

    Args:
        store: The store with the table ``canary_answers``.
        grader: The grader and its settings.
        model: The opened grader.

    Returns:
        How many probes have a readable answer, the noise and the drift in words, for the page of an asset; None if the
        grader was not asked.

    Raises:
        InputError: The answers have moved by more than the noise, some probes got no answer, or fewer than
            `MIN_READABLE` are readable the first time. Nothing is stored then.
    """
    key = (store.path, grader.version)
    if not has_canary(grader) or key in _checked:
        return None
    where = grader.settings.base_url or "grader.base_url"
    now = _all_answered(ask_probes(model), where)
    stored = store.read("canary_answers", "grader = ?", [grader.version])
    first, again = _answers(stored, ""), _answers(stored, "_again")
    noise, drift = Difference.between(first, again), Difference.between(first, now)
    if drift.is_beyond(noise):
        raise _drift_error(drift, noise, since=stored["asked_at"].min(), name=grader.settings.model_name, where=where)
    if new := {probe: answer for probe, answer in now.items() if probe not in first}:
        _require_readable(now, where)
        repeated = _all_answered(ask_probes(model, reverse=True), where)
        store.append("canary_answers", _rows(grader.version, new, repeated))
        noise = Difference.between(now, repeated)
    _checked.add(key)
    readable = sum(answer.outcome == Outcome.ANSWERED for answer in now.values())
    moved = (
        f"moved {drift.largest:.4f} since {stored['asked_at'].min()}" if stored.height else "asked for the first time"
    )
    return f"{readable} of {len(now)} readable, noise {noise.largest:.4f}, {moved}"


def _require_readable(answers: ProbeAnswers, where: str) -> None:
    unread = [answer for answer in answers.values() if answer.outcome != Outcome.ANSWERED]
    if len(answers) - len(unread) < MIN_READABLE:
        reasons = Counter(answer.reason or answer.outcome.value for answer in unread).most_common(_SHOWN_REASONS)
        raise InputError(
            f"only {len(answers) - len(unread)} of {len(answers)} fixed questions have a readable answer; others: "
            + "; ".join(reason for reason, _ in reasons),
            where=where,
            hint=f"Nothing was graded. At least {MIN_READABLE} must be readable. Set grader.prompt_template to a "
            "template that asks for one word, such as profiles/judge_prompt.jinja, or use another judge. Lower "
            "grader.min_mass only if you have compared the judge with gold labels.",
        )


def _all_answered(answers: dict[str, Answer], where: str) -> dict[str, Answer]:
    missing = [answer.reason for answer in answers.values() if answer.outcome == Outcome.NOT_ANSWERED]
    if missing:
        reasons = Counter(reason for reason in missing if reason).most_common(1)
        reason = reasons[0][0] if reasons else "no reason given"
        raise InputError(
            f"the grader gave no answer to {len(missing)} of {len(answers)} test questions: {reason}",
            where=where,
            hint="Nothing was graded. Check the server, then start the command again.",
        )
    return answers


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


def _drift_error(drift: Difference, noise: Difference, *, since: object, name: str | None, where: str) -> InputError:
    changed = f", and {drift.n_changed} became readable or unreadable" if drift.n_changed else ""
    return InputError(
        f"the model behind the name {name!r} has changed: its answers to {drift.n} fixed questions moved by up to "
        f"{drift.largest:.3f} (mean {drift.mean:.3f}){changed} since {since}; the noise of the server is "
        f"{noise.largest:.3f} (mean {noise.mean:.3f})",
        where=where,
        hint="Nothing was graded. Serve the old model again, or set grader.model_name to a dated name of it. To go on "
        "with the new model, raise grader.model_epoch by 1: all grades are then made again.",
    )
