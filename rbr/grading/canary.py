"""A canary for graders behind a server: fixed questions whose answers show that the model has changed.

A hosted name can get another model at any time, and no server has to say so. Then a run would mix the answers of two
graders under one identity. The canary asks the same 40 harmless questions at the start of each grading run and compares
the answers with those of the first time.

A server does not always give the same answer to the same question: with llama.cpp and a model of 4 bits, an answer
moves by 0.016 once the prompt is cached. Therefore the first time asks every question twice, in opposite orders, and
the difference is the noise of the server. Only a drift beyond the noise counts.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rbr.errors import InputError
from rbr.grading.answers import Answer, Outcome
from rbr.grading.canary_probes import ProbeAnswers, ask_probes
from rbr.grading.drift import Difference

if TYPE_CHECKING:
    from rbr.grading import Grader, OnProgress
    from rbr.profile import GraderSettings

MIN_READABLE = 20
"""So many probes need a readable answer the first time. With fewer, the later answers show too little of a change."""

_SURE = 1e-9  # A P(yes) nearer to 0 or 1 says that the server has left no other probability.
_SHOWN_REASONS = 3


class ModelChanged(InputError):
    """The answers to the canary have moved by more than the noise, so another model gives them.

    Example:
        >>> print(ModelChanged("the model behind the name 'judge' has changed"))
        the model behind the name 'judge' has changed
    """


@runtime_checkable
class ExpectsAnswers(Protocol):
    """A grader that compares the canary's answers by itself if its server was away.

    Example:
        >>> class Server:
        ...     def expect(self, first, noise):
        ...         self.first, self.noise = first, noise
        >>> isinstance(Server(), ExpectsAnswers)
        True
    """

    def expect(self, first: ProbeAnswers, noise: Difference) -> None:
        """Keeps the first answers, and the noise of the server."""
        ...


def expect_answers(grader: "Grader", first: ProbeAnswers, noise: Difference) -> None:
    """Tells a grader what its model has answered to the canary, if the grader compares the answers by itself.

    Example:
        >>> expect_answers(object(), {}, Difference(n=0, n_changed=0, largest=0.0, mean=0.0))
    """
    if isinstance(grader, ExpectsAnswers):
        grader.expect(first, noise)


def has_canary(settings: "GraderSettings") -> bool:
    """Returns whether the model of a grader can change without a trace, because a server has it.

    The hash of the files of a model that runs in process is part of the grader's identity.

    Example:
        >>> from rbr.profile import load_profile
        >>> has_canary(load_profile("profiles/sandbox.yaml").grader)
        False
    """
    return settings.backend == "openai"


@dataclass(frozen=True)
class CheckedModel:
    """The answers of a model that is still the same, or that was asked for the first time.

    Attributes:
        new: Answers to the probes that were never asked before. Keep them.
        again: The answers to the same probes, asked in the opposite order. Keep them, too.
        n_readable: Number of probes with a readable answer, of `n_probes`.
        n_probes: Number of probes.
        noise: Difference between the two answers of the first time.
        drift: Difference to the first time; None if this is the first time.
        since: When the first answers were given.

    Example:
        >>> still = Difference(n=40, n_changed=0, largest=0.0, mean=0.0)
        >>> CheckedModel({}, {}, n_readable=40, n_probes=40, noise=still, drift=still, since="2026-11-01").words
        '40 of 40 readable, noise 0.0000, moved 0.0000 since 2026-11-01'
    """

    new: ProbeAnswers
    again: ProbeAnswers
    n_readable: int
    n_probes: int
    noise: Difference
    drift: Difference | None
    since: object

    @property
    def words(self) -> str:
        """How many probes are readable, the noise and the drift."""
        moved = (
            "asked for the first time" if self.drift is None else f"moved {self.drift.largest:.4f} since {self.since}"
        )
        return f"{self.n_readable} of {self.n_probes} readable, noise {self.noise.largest:.4f}, {moved}"


def check_model(
    grader: "Grader",
    settings: "GraderSettings",
    first: ProbeAnswers,
    again: ProbeAnswers,
    *,
    since: object,
    on_progress: "OnProgress | None" = None,
) -> CheckedModel:
    """Asks the probes, and compares the answers with those of the first time.

    Args:
        grader: The grader to ask.
        settings: Section `grader` of the profile, for the words of an error.
        first: Answers of the first time; empty if this is the first time.
        again: Answers of the first time to the probes in the opposite order. They show the noise of the server.
        since: When the first answers were given, for the words of an error.
        on_progress: See `rbr.grading.OnProgress`.

    Raises:
        InputError: The answers have moved by more than the noise (`ModelChanged`), some probes got no answer, fewer
            than `MIN_READABLE` are readable the first time, all are exactly 0 or 1, or the noise is so large that more
            than one model must have answered.

    Example:
        >>> from rbr.grading import open_grader
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> grader = open_grader(profile.models.grader, profile.grader)
        >>> first = check_model(grader, profile.grader, {}, {}, since="now")
        >>> check_model(grader, profile.grader, first.new, first.again, since="today").words
        '40 of 40 readable, noise 0.0000, moved 0.0000 since today'
    """
    where = settings.base_url or "grader.base_url"
    now = _all_answered(ask_probes(grader, on_progress=on_progress), where)
    noise, drift = Difference.between(first, again), Difference.between(first, now)
    _require_probabilities(now, where)
    _require_one_judge(noise, where)
    if drift.is_beyond(noise):
        raise _drift_error(drift, noise, since=since, name=settings.model_name, where=where)
    new = {probe: answer for probe, answer in now.items() if probe not in first}
    repeated: ProbeAnswers = {}
    if new:
        _require_readable(now, where)
        answered = _all_answered(ask_probes(grader, reverse=True, on_progress=on_progress), where)
        repeated = {probe: answered[probe] for probe in new}
        noise = Difference.between({**first, **new}, {**again, **repeated})
        _require_one_judge(noise, where)
    expect_answers(grader, {**first, **new}, noise)
    n_readable = sum(answer.outcome == Outcome.ANSWERED for answer in now.values())
    return CheckedModel(new, repeated, n_readable, len(now), noise, drift if first else None, since)


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


def _require_probabilities(answers: ProbeAnswers, where: str) -> None:
    readable = [answer.p_yes for answer in answers.values() if answer.outcome == Outcome.ANSWERED]
    if readable and all(min(p_yes, 1 - p_yes) < _SURE for p_yes in readable):
        raise InputError(
            f"all {len(readable)} answers to fixed questions are exactly 0 or 1: the server lists probabilities after "
            "temperature",
            where=where,
            hint="Nothing was graded. Set grader.extra_body to {temperature: 1}, or choose another server.",
        )


def _require_one_judge(noise: Difference, where: str) -> None:
    if not noise.is_of_one_judge:
        raise InputError(
            f"the server is not one judge: {noise.words} from the first time to the second",
            where=where,
            hint="Nothing was graded. Serve one model behind the name, without fallbacks and without sampling. If an "
            "earlier run stored these answers, raise grader.model_epoch by 1.",
        )


def _drift_error(drift: Difference, noise: Difference, *, since: object, name: str | None, where: str) -> InputError:
    return ModelChanged(
        f"the model behind the name {name!r} has changed: {drift.words} since {since}; the noise of the server is "
        f"{noise.largest:.3f} (mean {noise.mean:.3f})",
        where=where,
        hint="Nothing was graded. Serve the old model again, or set grader.model_name to a dated name of it. To go on "
        "with the new model, raise grader.model_epoch by 1: all grades are then made again.",
    )
