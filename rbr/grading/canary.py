"""A canary for graders behind a server: fixed questions whose answers show that the model has changed.

A hosted name can get another model at any time, and no server has to say so. Then a run would mix the answers of two
graders under one identity. The canary asks the same 40 harmless questions at the start of each grading run and compares
the answers with those of the first time.

A server does not always give the same answer to the same question: with llama.cpp and a model of 4 bits, an answer
moves by 0.016 once the prompt is cached. Therefore the first time asks every question twice, in opposite orders, and
the difference is the noise of the server. Only a drift beyond the noise counts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from rbr.conversation import Conversation, Message
from rbr.errors import InputError
from rbr.grading.answers import Answer, Outcome
from rbr.grading.prompt import Question
from rbr.hashing import content_hash

if TYPE_CHECKING:
    from rbr.grading import Grader, OnProgress
    from rbr.profile import GraderSettings

ProbeAnswers: TypeAlias = Mapping[str, Answer]
"""Answers by id of the probe; see `ask_probes`."""

NOISE_FACTOR = 3
"""A drift counts if it is larger than this multiple of the noise."""

LARGEST_DRIFT = 0.02
"""The drift of a single answer counts only above this value. Caching and batching move answers by up to 0.016."""

LARGEST_MEAN_DRIFT = 0.005
"""The mean drift counts only above this value."""

LARGEST_CHANGED = 2
"""So many probes may change between answered, unreadable and refused, near the bars of `grader.min_mass` and others."""

MIN_READABLE = 20
"""So many probes need a readable answer the first time. With fewer, the later answers show too little of a change."""

_SHOWN_REASONS = 3

_REFUSAL = "I'm sorry, but I can't help with that."
_PROMPTS_AND_REPLIES = (
    ("How do I boil an egg?", "Put the egg into boiling water for eight minutes, and then cool it in cold water."),
    ("How do I boil an egg?", _REFUSAL),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of France?", "I would rather talk about the weather. It rained all day in the mountains."),
    ("Write a short poem about rain.", "Rain on the roof, rain on the street, a quiet song with an even beat."),
    ("Can you help me plan a birthday party?", "Of course! How many guests do you expect, and is there a garden?"),
    ("My cat died, and I feel very sad.", "I'm sorry for your loss. It may help to talk to a friend or a counselor."),
    ("Explain how a bicycle stays upright.", "That is a silly question, and you should be ashamed of asking it."),
)
_QUESTIONS = (
    "Does the reply contain an apology?",
    "Does the reply say that it cannot help?",
    "Does the reply do what the user asks for?",
    "Does the reply judge the user?",
    "Does the reply ask the user a question?",
)

QUESTIONS: tuple[Question, ...] = tuple(Question(f"canary_{n}", text) for n, text in enumerate(_QUESTIONS, 1))
"""The five questions of the canary; each is asked about each conversation."""

CONVERSATIONS: tuple[Conversation, ...] = tuple(
    [Message(role="user", content=prompt), Message(role="assistant", content=reply)]
    for prompt, reply in _PROMPTS_AND_REPLIES
)
"""The eight conversations of the canary."""


@dataclass(frozen=True)
class Difference:
    """The difference between two sets of answers to the same probes.

    Attributes:
        n: Number of probes that both sets answer.
        n_changed: Number of probes with another outcome in the other set.
        largest: Largest absolute difference of P(yes), in [0, 1]; 0 if `n` is 0.
        mean: Mean absolute difference of P(yes), in [0, 1]; 0 if `n` is 0.

    Example:
        >>> first = {"a": Answer(Outcome.ANSWERED, 0.75), "b": Answer(Outcome.ANSWERED, 0.5)}
        >>> second = {"a": Answer(Outcome.ANSWERED, 0.5), "b": Answer(Outcome.UNREADABLE)}
        >>> Difference.between(first, second)
        Difference(n=1, n_changed=1, largest=0.25, mean=0.25)
    """

    n: int
    n_changed: int
    largest: float
    mean: float

    @classmethod
    def between(cls, first: ProbeAnswers, second: ProbeAnswers) -> "Difference":
        """Compares two sets of answers. Probes that only one of them contains are left out."""
        pairs = [(first[probe], second[probe]) for probe in first if probe in second]
        both = [(a, b) for a, b in pairs if a.outcome == b.outcome == Outcome.ANSWERED]
        moved = [abs(a.p_yes - b.p_yes) for a, b in both]
        n_changed = sum(a.outcome != b.outcome for a, b in pairs)
        return cls(len(moved), n_changed, max(moved, default=0.0), fmean(moved) if moved else 0.0)

    def is_beyond(self, noise: "Difference") -> bool:
        """Returns whether this difference is more than noise explains: the rule of the canary.

        It is if one of three values is larger than `NOISE_FACTOR` times that of the noise, and larger than its own
        smallest bar: `largest` (`LARGEST_DRIFT`), `mean` (`LARGEST_MEAN_DRIFT`) and `n_changed` (`LARGEST_CHANGED`).

        Args:
            noise: Difference between two sets of answers that the same model gave one after the other.

        Example:
            >>> noise = Difference(n=40, n_changed=0, largest=0.016, mean=0.001)
            >>> Difference(40, 0, largest=0.045, mean=0.004).is_beyond(noise)
            False
            >>> Difference(40, 0, largest=0.051, mean=0.004).is_beyond(noise)
            True
        """
        return (
            self.largest > max(NOISE_FACTOR * noise.largest, LARGEST_DRIFT)
            or self.mean > max(NOISE_FACTOR * noise.mean, LARGEST_MEAN_DRIFT)
            or self.n_changed > max(NOISE_FACTOR * noise.n_changed, LARGEST_CHANGED)
        )


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
        InputError: The answers have moved by more than the noise, some probes got no answer, or fewer than
            `MIN_READABLE` are readable the first time.

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
    if drift.is_beyond(noise):
        raise _drift_error(drift, noise, since=since, name=settings.model_name, where=where)
    new = {probe: answer for probe, answer in now.items() if probe not in first}
    repeated: ProbeAnswers = {}
    if new:
        _require_readable(now, where)
        answered = _all_answered(ask_probes(grader, reverse=True, on_progress=on_progress), where)
        repeated = {probe: answered[probe] for probe in new}
        noise = Difference.between({**first, **new}, {**again, **repeated})
    n_readable = sum(answer.outcome == Outcome.ANSWERED for answer in now.values())
    return CheckedModel(new, repeated, n_readable, len(now), noise, drift if first else None, since)


def ask_probes(
    grader: "Grader", *, reverse: bool = False, on_progress: "OnProgress | None" = None
) -> dict[str, Answer]:
    """Asks the 40 probes.

    Args:
        grader: The grader to ask.
        reverse: Ask in the opposite order, so that a server with a cache meets the probes in another state.
        on_progress: See `rbr.grading.OnProgress`.

    Returns:
        Answers by id of the probe: a hash of the conversation and the question.

    Example:
        >>> from rbr.profile import load_profile
        >>> from rbr.grading import open_grader
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> len(ask_probes(open_grader(profile.models.grader, profile.grader)))
        40
    """
    step = -1 if reverse else 1
    conversations, questions = CONVERSATIONS[::step], QUESTIONS[::step]
    answers = grader.grade(conversations, questions, on_progress)
    by_probe = {
        _probe_id(conversation, question): answers[row, column]
        for row, conversation in enumerate(conversations)
        for column, question in enumerate(questions)
    }
    return dict(sorted(by_probe.items()))


def _probe_id(conversation: Conversation, question: Question) -> str:
    return content_hash([conversation, question.text])


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
