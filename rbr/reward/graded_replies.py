"""R_rbr of replies from the answers of a real grader: refused, unreadable and missing answers (paper section 4, Eq. 1).

- A reply that a content filter refuses to judge is probably one of the worst. It gets the lowest R_rbr of its response
  type, or none.
- A reply with an unreadable answer has an R_rbr only if no answer could change it.
- If the grader is away, there is no R_rbr at all: `grade_replies` raises an error. No reward is made up.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Answers, Grader, OnProgress, Outcome, Question
from rbr.reward.artifact import RewardRules
from rbr.reward.class_order import ClassOrder

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

OnRefusal: TypeAlias = Literal["worst", "mask"]
"""What happens to a reply that a content filter refuses to judge: the lowest R_rbr of its response type, or none."""

MAX_UNREAD = 12
"""A reply with more unreadable answers has no R_rbr, so that at most 2**12 completions are tried."""

_SAME = 1e-9  # Completions with a smaller difference, in units of R_rm, count as equal.
_SHOWN_REASONS = 3


@dataclass(frozen=True)
class GradedReplies:
    """R_rbr of N replies, and why it is missing.

    Attributes:
        r_rbr: R_rbr in units of R_rm, float64[N]; NaN if it is not known.
        class_probabilities: Probability of each class, float64[N] by name; NaN if the reply's response type does not
            have the class, or if a grade that the class rules need is missing.
        refused: Whether a content filter rejected a question about the reply, bool[N].
        unread: Whether an answer about the reply could not be read, bool[N].
        unanswered: Whether a question about the reply got no answer, although the grader answers others, bool[N].
        reasons: The grader's words about the first answer that is missing, by row; only if it gave any.

    Example:
        >>> no = np.array([False])
        >>> graded = GradedReplies(np.array([0.5]), {"ideal": np.array([0.75])}, no, no, no, reasons={})
        >>> GradedReplies.joined([([1], graded)], n_replies=2).r_rbr
        array([nan, 0.5])
    """

    r_rbr: FloatArray
    class_probabilities: dict[str, FloatArray]
    refused: BoolArray
    unread: BoolArray
    unanswered: BoolArray
    reasons: dict[int, str]

    @classmethod
    def joined(cls, parts: Sequence[tuple[Sequence[int], "GradedReplies"]], n_replies: int) -> "GradedReplies":
        """Joins the replies of several response types.

        Args:
            parts: Positions among all replies, and the graded replies of one response type.
            n_replies: Number of all replies.
        """
        names = dict.fromkeys(name for _, part in parts for name in part.class_probabilities)
        joined = cls(
            np.full(n_replies, np.nan),
            {name: np.full(n_replies, np.nan) for name in names},
            refused=np.zeros(n_replies, dtype=bool),
            unread=np.zeros(n_replies, dtype=bool),
            unanswered=np.zeros(n_replies, dtype=bool),
            reasons={},
        )
        for rows, part in parts:
            joined.r_rbr[rows] = part.r_rbr
            joined.refused[rows], joined.unread[rows] = part.refused, part.unread
            joined.unanswered[rows] = part.unanswered
            for name, values in part.class_probabilities.items():
                joined.class_probabilities[name][rows] = values
            joined.reasons.update({rows[row]: reason for row, reason in part.reasons.items()})
        return joined

    def cause(self, row: int) -> str:
        """Returns why a reply has no R_rbr, as a predicate."""
        if self.refused[row]:
            return "were refused by the grader's content filter"
        if self.unanswered[row]:
            return "got no answer from the grader"
        return "had an unreadable answer"


def grade_replies(
    grader: Grader,
    rules: RewardRules,
    conversations: Sequence[Conversation],
    questions: Sequence[Question],
    *,
    on_refusal: OnRefusal = "worst",
    on_progress: OnProgress | None = None,
) -> GradedReplies:
    """Asks the grader about replies, and computes their R_rbr.

    Args:
        grader: The grader.
        rules: Rules and weights of the replies' response type.
        conversations: Prompts with their replies; all of one response type.
        questions: The questions of ``rules.features.propositions``, in this order.
        on_refusal: ``worst`` gives a refused reply `lowest_r_rbr`; ``mask`` gives it no R_rbr.
        on_progress: See `rbr.grading.OnProgress`.

    Raises:
        InputError: The grader is away.

    Example:
        >>> from rbr.grading import Answer
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> rules = RewardRules(classes=("good", "bad"), rule_propositions=("apology",), tests=diagram.tests,
        ...                     root=diagram.root, feature_propositions=(), thresholds={}, weights=(2.0, -2.0))
        >>> class Filtered:
        ...     def grade(self, conversations, questions, on_progress=None):
        ...         answers = Answers.of(np.ones((2, 1)))
        ...         answers[1, 0] = Answer(Outcome.REFUSED, reason="content_filter")
        ...         return answers
        >>> grade_replies(Filtered(), rules, [[], []], [Question("apology", "Is there an apology?")]).r_rbr
        array([ 2., -2.])
    """
    answers = _ask(grader, conversations, questions, on_progress)
    refused, unread, unanswered = (
        (answers.outcomes == outcome).any(axis=1)
        for outcome in (Outcome.REFUSED, Outcome.UNREADABLE, Outcome.NOT_ANSWERED)
    )
    r_rbr = known_r_rbr(rules, answers.p_yes)
    r_rbr[refused] = lowest_r_rbr(rules) if on_refusal == "worst" else np.nan
    probabilities = rules.features.class_probabilities(answers.p_yes)  # [N, classes]
    by_name = dict(zip(rules.classes, probabilities.T, strict=True))
    return GradedReplies(r_rbr, by_name, refused, unread, unanswered & ~refused, _first_reasons(answers))


def lowest_r_rbr(rules: RewardRules) -> float:
    """Returns the lowest R_rbr that any reply of a response type can have, in units of R_rm.

    The minimum is exact: it covers all combinations of truth values that the class rules allow.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "apology", "bad": "not apology"}, ["good", "bad"])
        >>> rules = RewardRules(classes=("good", "bad"), rule_propositions=("apology",), tests=diagram.tests,
        ...                     root=diagram.root, feature_propositions=("insult",), thresholds={},
        ...                     weights=(2.0, -2.0, -0.5))
        >>> lowest_r_rbr(rules)
        -2.5
    """
    order = ClassOrder(rules.features.diagram, rules.feature_propositions)
    return order.lowest(np.array(rules.weights)).r_rbr


def known_r_rbr(rules: RewardRules, p_yes: FloatArray) -> FloatArray:
    """Returns R_rbr of each reply whose missing grades cannot change it.

    R_rbr is linear in each grade. If it is the same for every completion of the missing grades by 0 and 1, it is
    therefore the same for all values of them.

    Args:
        rules: Rules and weights of the replies' response type.
        p_yes: Grades, float64[N, rules.features.propositions] in [0, 1]; NaN if a grade is missing.

    Returns:
        float64[N] in units of R_rm; NaN if two completions differ by more than 1e-9, or if more than `MAX_UNREAD`
        grades are missing.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> diagram = compile_rules({"good": "not harm and polite", "bad": "harm or not polite"}, ["good", "bad"])
        >>> rules = RewardRules(classes=("good", "bad"), rule_propositions=("harm", "polite"), tests=diagram.tests,
        ...                     root=diagram.root, feature_propositions=(), thresholds={}, weights=(1.0, -1.0))
        >>> known_r_rbr(rules, np.array([[1.0, np.nan], [0.0, np.nan]]))  # Harm is bad, polite or not.
        array([-1., nan])
    """
    r_rbr = rules.r_rbr(p_yes)
    for row in np.flatnonzero(np.isnan(r_rbr)):
        unread = np.flatnonzero(np.isnan(p_yes[row]))
        if len(unread) > MAX_UNREAD:
            continue
        # Most replies fail this cheap test: each missing grade alone is 1, and the others are 0.
        if np.ptp(_completed(rules, p_yes[row], unread, np.eye(len(unread) + 1, len(unread)))) > _SAME:
            continue
        truth = np.arange(2 ** len(unread))[:, None] >> np.arange(len(unread)) & 1
        values = _completed(rules, p_yes[row], unread, truth)
        if np.ptp(values) <= _SAME:
            r_rbr[row] = values[0]
    return r_rbr


def _completed(rules: RewardRules, grades: FloatArray, unread: NDArray[np.intp], truth: NDArray) -> FloatArray:
    """Returns R_rbr of a reply for each completion of its missing grades; `truth` is [completions, unread]."""
    completions = np.repeat(grades[None, :], len(truth), axis=0)
    completions[:, unread] = truth
    return rules.r_rbr(completions)


def _ask(
    grader: Grader,
    conversations: Sequence[Conversation],
    questions: Sequence[Question],
    on_progress: OnProgress | None,
) -> Answers:
    """Asks the questions. Replies with a question that got no answer are asked about again, once.

    A reply that every server error hits again is different from a grader that is away. To tell them apart, the second
    call has one more reply: one that got all its answers in the first call.

    Raises:
        InputError: The grader is away: no reply got its answers, or that reply did not get them again.
    """
    answers = grader.grade(conversations, questions, on_progress)
    missing = _without_answer(answers)
    if not missing.any():
        return answers
    complete = np.flatnonzero((answers.outcomes != Outcome.NOT_ANSWERED).all(axis=1))
    if not complete.size:
        raise _away([answers], int(missing.sum()), len(conversations))
    rows = np.flatnonzero(missing)
    again = grader.grade([conversations[row] for row in [*rows, complete[0]]], questions, on_progress)
    if (again.outcomes[-1] == Outcome.NOT_ANSWERED).any():
        raise _away([answers, again], len(rows), len(conversations))
    for new_row, row in enumerate(rows):
        for column in range(len(questions)):
            if answers.outcomes[row, column] == Outcome.NOT_ANSWERED:
                answers[int(row), column] = again[new_row, column]
    return answers


def _first_reasons(answers: Answers) -> dict[int, str]:
    """Returns the first reason of each reply: that of a refusal, or else of a missing or unreadable answer."""
    reasons: dict[int, str] = {}
    for outcome in (Outcome.REFUSED, Outcome.NOT_ANSWERED, Outcome.UNREADABLE):
        for (row, column), reason in sorted(answers.reasons.items()):
            if answers.outcomes[row, column] == outcome:
                reasons.setdefault(row, reason)
    return reasons


def _without_answer(answers: Answers) -> BoolArray:
    """Returns the replies with a question that got no answer. A refused reply needs no further answer."""
    refused = (answers.outcomes == Outcome.REFUSED).any(axis=1)
    return (answers.outcomes == Outcome.NOT_ANSWERED).any(axis=1) & ~refused


def _away(answers: Sequence[Answers], n_missing: int, n_replies: int) -> InputError:
    reasons = Counter(chain.from_iterable(part.reasons_of(Outcome.NOT_ANSWERED) for part in answers))
    listed = "; ".join(reason for reason, _ in reasons.most_common(_SHOWN_REASONS))
    return InputError(
        f"the grader gave no answer about {n_missing:,} of {n_replies:,} replies: {listed or 'no reason given'}",
        where="grader",
        hint="No reward is made up, so the training has stopped. Check that the grader's server runs, then start the "
        "training again. If the server needs more time, raise grader.wait_s.",
    )
