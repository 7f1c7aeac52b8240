"""Compares the grader with the oracle: for each proposition, in several wordings, on several kinds of replies."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from rbr.agreement.gold_agreement import agreement_at
from rbr.agreement.intervals import wilson_interval
from rbr.conversation import Conversation
from rbr.grading import Grader, Question
from rbr.rulebook import Rulebook
from rbr_sandbox.measure.figures import Figure, share_figure
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.questions import (
    answer_of_two,
    compose,
    compose_negated,
    compose_two,
    held_out_forms,
    held_out_phrases,
)
from rbr_sandbox.replies import ILLOGICAL, JudgedReply, judge
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.topics import look_alikes
from rbr_sandbox.wordings import PHRASES
from rbr_sandbox.world_prompt import WorldPrompt

HELD_OUT_REPLIES = 400
"""Approximate number of replies that are graded in held-out wordings, which need many more questions."""
FEW_REPLIES = 10
"""If fewer replies have the answer yes, or no, the figure is the share of correct grades, not balanced accuracy."""
CALIBRATION = "expected calibration error"
# Wording -> least balanced accuracy of each proposition, and the largest calibration error.
BARS = {"shipped": 0.97, "held-out forms": 0.95, "held-out phrases": 0.85, CALIBRATION: 0.05}
CATEGORY_BAR = 0.95
_BINS = 10


def conversations(replies: Sequence[JudgedReply]) -> list[Conversation]:
    """Returns the conversations that the grader reads: each prompt with its reply."""
    return [[*judged.prompt.messages, {"role": "assistant", "content": judged.reply}] for judged in replies]


def reading_figures(
    grader: Grader, rulebook: Rulebook, source: str, replies: Sequence[JudgedReply], bars: Mapping[str, float] = BARS
) -> list[Figure]:
    """Measures balanced accuracy by proposition and wording, and calibration, on one kind of replies.

    If a reply is not a sequence of whole sentences, only its grades of `ILLOGICAL` are measured.

    Args:
        grader: Grader to measure.
        rulebook: Rulebook with the shipped wordings.
        source: Kind of the replies, for the names of the figures.
        replies: Replies to grade, with the truth about them.
        bars: Wording -> least balanced accuracy of every proposition; `CALIBRATION` -> largest calibration error.
    """
    wordings: dict[str, Callable[[str], list[str]]] = {
        "shipped": lambda name: [rulebook.propositions[name].question],
        "held-out forms": held_out_forms,
        "held-out phrases": held_out_phrases,
    }
    figures: list[Figure] = []
    for wording, questions_of in wordings.items():
        measured = replies if wording == "shipped" else replies[:: max(1, len(replies) // HELD_OUT_REPLIES)]
        grades, truths = _grades_and_truths(grader, measured, questions_of)
        group = f"grader, {source}, {wording}"
        figures += [
            _accuracy_figure(group, name, grades[name], truths[name], bars.get(wording), len(questions_of(name)))
            for name in PROPOSITIONS
        ]
        if wording == "shipped":
            all_grades, all_truths = (np.concatenate(list(arrays.values())) for arrays in (grades, truths))
            figures.append(_calibration_figure(group, all_grades, all_truths, bars.get(CALIBRATION)))
    return figures


def composed_figures(grader: Grader, replies: Sequence[JudgedReply], seed: int) -> list[Figure]:
    """Measures balanced accuracy on newly composed questions: plain, negated, and about two things.

    Replies that are not a sequence of whole sentences are left out.
    """
    rng = Random(seed)
    parsed = [judged for judged in replies if len(judged.truth) > 1]
    names = list(PHRASES)
    # Type of question -> (reply, question, answer).
    asked: dict[str, list[tuple[JudgedReply, str, bool]]] = {"one thing": [], "negated": [], "two things": []}
    for judged in parsed:
        true_names = [name for name in names if judged.truth[name]]
        first, second = rng.choice(true_names), rng.choice(names)
        for name in (first, second):
            asked["one thing"].append((judged, compose(rng, name), judged.truth[name]))
            asked["negated"].append((judged, compose_negated(rng, name), not judged.truth[name]))
        text, joiner = compose_two(rng, first, second)
        asked["two things"].append((judged, text, answer_of_two(judged.truth, first, second, joiner)))
    figures = []
    for question_type, questions in asked.items():
        # Every reply has its own questions, so each reply is graded in a call of its own.
        grades = np.array(
            [grader.grade(conversations([j]), [Question("", text)]).p_yes[0, 0] for j, text, _ in questions]
        )
        answers = np.array([answer for *_, answer in questions])
        figures.append(_accuracy_figure("grader, composed questions", question_type, grades, answers, None))
    return figures


def look_alike_figure(grader: Grader, rulebook: Rulebook, prompts: Sequence[WorldPrompt], seed: int) -> Figure:
    """Measures whether the grader can tell an answer to the request from an answer to a look-alike of the request.

    Prompts without a look-alike are left out.
    """
    writer = ReplyWriter(Random(seed))
    replies = [
        judge(prompt, writer.write(["full"], answered_prompt))
        for prompt in prompts
        if look_alikes(prompt.action)
        for answered_prompt in (prompt, writer.confuse(prompt))
    ]
    question = Question(ILLOGICAL, rulebook.propositions[ILLOGICAL].question)
    grades = grader.grade(conversations(replies), [question]).p_yes
    truths = np.array([judged.truth[ILLOGICAL] for judged in replies])
    return _accuracy_figure("grader, answers to look-alikes", ILLOGICAL, grades[:, 0], truths, None)


def category_figure(
    grader: Grader, rulebook: Rulebook, split: str, prompts: Sequence[WorldPrompt], bar: float | None
) -> Figure:
    """Measures the share of prompts whose category has the highest P(yes) of all category questions."""
    categories = rulebook.content_policy.categories
    questions = [Question(code, category.question) for code, category in categories.items()]
    grades = grader.grade([prompt.messages for prompt in prompts], questions).p_yes  # (prompts, categories)
    best = np.array(list(categories))[np.nan_to_num(grades, nan=-1.0).argmax(axis=1)]
    correct = [code == prompt.topic.category for code, prompt in zip(best, prompts, strict=True)]
    return share_figure("grader, category of a prompt", split, correct, bar)


def _grades_and_truths(
    grader: Grader, replies: Sequence[JudgedReply], questions_of: Callable[[str], list[str]]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.bool_]]]:
    """Grades replies. Returns the grades and the truths of each proposition, over all questions about the proposition.

    Missing grades and grades of an unknown truth are left out.
    """
    graded_conversations = conversations(replies)
    rounds = max(len(questions_of(name)) for name in PROPOSITIONS)
    grades: dict[str, list[float]] = {name: [] for name in PROPOSITIONS}
    truths: dict[str, list[bool]] = {name: [] for name in PROPOSITIONS}
    # Round i asks question i about each proposition that has so many questions.
    for i in range(rounds):
        names = [name for name in PROPOSITIONS if i < len(questions_of(name))]
        questions = [Question(name, questions_of(name)[i]) for name in names]
        matrix = grader.grade(graded_conversations, questions).p_yes  # (replies, names)
        for column, name in enumerate(names):
            for judged, grade in zip(replies, matrix[:, column], strict=True):
                if name in judged.truth and not np.isnan(grade):
                    grades[name].append(float(grade))
                    truths[name].append(judged.truth[name])
    return {n: np.array(g) for n, g in grades.items()}, {n: np.array(t) for n, t in truths.items()}


def _accuracy_figure(
    group: str,
    name: str,
    grades: NDArray[np.float64],
    truths: NDArray[np.bool_],
    bar: float | None,
    questions: int = 1,
) -> Figure:
    """Returns the balanced accuracy of grades. The grades answer ``questions`` questions about the same replies."""
    yes = int(truths.sum()) // questions
    if min(yes, truths.size // questions - yes) < FEW_REPLIES:
        correct = float(((grades >= 0.5) == truths).mean())
        interval = wilson_interval(correct, truths.size)
        return Figure(group, f"{name} (only {yes} yes)", correct, *interval, truths.size, bar)
    agreement = agreement_at(grades, truths, 0.5)
    return Figure(group, name, agreement.balanced_accuracy, agreement.low, agreement.high, truths.size, bar)


def _calibration_figure(
    group: str, grades: NDArray[np.float64], truths: NDArray[np.bool_], bar: float | None
) -> Figure:
    """Returns the expected calibration error: |share of yes - mean grade|, averaged over ten bins by their size."""
    bins = np.minimum((grades * _BINS).astype(int), _BINS - 1)
    error = sum(abs(float(truths[bins == b].mean() - grades[bins == b].mean())) * (bins == b).mean() for b in set(bins))
    return Figure(group, CALIBRATION, float(error), np.nan, np.nan, grades.size, bar, "at most")
