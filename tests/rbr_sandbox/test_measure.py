from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from rbr.conversation import Conversation, prompt_id
from rbr.grading import Answers, OnProgress, Question
from rbr.rulebook import load_rulebook
from rbr_sandbox.measure.figures import Figure, lowest, share_figure
from rbr_sandbox.measure.measure_grader import category_figure, look_alike_figure, reading_figures
from rbr_sandbox.measure.measure_policy import instruction_figures
from rbr_sandbox.measure.measure_world import labeled_replies, world_figures
from rbr_sandbox.measure.model_card import card_tables
from rbr_sandbox.measure.tuned_replies import read_tuned_replies
from rbr_sandbox.oracle import truths
from rbr_sandbox.questions import held_out_forms, held_out_phrases
from rbr_sandbox.replies import JudgedReply, draw_reply, judge
from rbr_sandbox.world import training_prompt

RULEBOOK = load_rulebook("rulebook")


class OracleGrader:
    """A grader that knows the answer to every measured question; P(yes) is `certainty` if the answer is yes."""

    def __init__(self, certainty: float) -> None:
        self.certainty = certainty

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        known_truths = [truths(messages[:-1], messages[-1]["content"]) for messages in conversations]
        proposition_of = {p.question: name for name, p in RULEBOOK.propositions.items()}
        for name in RULEBOOK.propositions:
            proposition_of |= dict.fromkeys(held_out_forms(name) + held_out_phrases(name), name)
        answers = np.array([[truth[proposition_of[q.text]] for q in questions] for truth in known_truths])
        return Answers.of(np.where(answers, self.certainty, 1 - self.certainty))


def draw_replies(count: int) -> list[JudgedReply]:
    rng = Random(0)
    return [draw_reply(rng, training_prompt(rng), training_prompt) for _ in range(count)]


@pytest.mark.parametrize(
    ("value", "bar", "must_be", "holds"),
    [
        (0.9, 0.9, "at least", True),
        (0.89, 0.9, "at least", False),
        (0.01, 0.01, "at most", True),
        (0.02, 0.01, "at most", False),
        (0.0, None, "at least", True),
    ],
)
def test_a_value_meets_its_bar_or_not(value: float, bar: float | None, must_be: str, holds: bool) -> None:
    assert Figure("g", "n", value, value, value, 1, bar, must_be).holds is holds  # type: ignore[arg-type]


def test_a_share_has_a_wilson_interval() -> None:
    figure = share_figure("g", "n", [True] * 8 + [False] * 2)
    assert (figure.value, figure.n) == (0.8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.490, 0.943), abs=1e-3)
    none, all_ = share_figure("g", "n", [False] * 59), share_figure("g", "n", [True] * 59)
    assert (none.low, all_.high) == (0.0, 1.0)
    assert lowest([figure, share_figure("g", "m", [False, True])]).name == "m"


def test_a_grader_that_is_always_right_meets_every_bar_except_calibration() -> None:
    figures = reading_figures(OracleGrader(0.8), RULEBOOK, "composed replies", draw_replies(150))
    accuracies = [figure for figure in figures if figure.must_be == "at least"]
    assert {figure.value for figure in accuracies} == {1.0} and len(accuracies) == 3 * len(RULEBOOK.propositions)
    (calibration,) = [figure for figure in figures if figure.must_be == "at most"]
    assert calibration.value == pytest.approx(0.2) and not calibration.holds


def test_a_grader_that_is_always_wrong_meets_no_bar() -> None:
    figures = reading_figures(OracleGrader(0.2), RULEBOOK, "composed replies", draw_replies(150))
    assert not any(figure.holds for figure in figures)


def test_the_name_of_a_figure_says_if_few_replies_have_the_trait() -> None:
    prompt = training_prompt(Random(1))
    replies = [judge(prompt, text) for text in ["I'm sorry."] * 20 + ["You are a fool."] * 3]
    figures = reading_figures(OracleGrader(0.9), RULEBOOK, "x", replies)
    assert [f.n for f in figures if f.name == "insulting_language (only 3 yes)"] == [
        23 * len(questions)
        for questions in (["shipped"], held_out_forms("insulting_language"), held_out_phrases("insulting_language"))
    ]


def test_the_world_meets_its_bars_and_its_labeled_replies_are_balanced() -> None:
    assert [figure.name for figure in world_figures(RULEBOOK) if not figure.holds] == []
    for counts in labeled_replies(RULEBOOK).values():
        assert set(counts) == set(RULEBOOK.behavior.classes) and len(set(counts.values())) == 1


def test_the_measured_category_of_a_prompt_has_the_highest_grade() -> None:
    codes = list(RULEBOOK.content_policy.categories)
    prompts = [training_prompt(Random(i)) for i in range(40)]

    class CategoryGrader:
        def grade(
            self,
            conversations: Sequence[Conversation],
            questions: Sequence[Question],
            on_progress: OnProgress | None = None,
        ) -> Answers:
            rows = [[codes[column] == p.topic.category for column in range(len(questions))] for p in prompts]
            return Answers.of(np.array(rows) * 0.7)

    assert category_figure(CategoryGrader(), RULEBOOK, "test", prompts, 0.95).value == 1.0


def test_an_answer_to_a_look_alike_is_compared_with_an_answer_to_the_requested_action() -> None:
    prompts = [training_prompt(Random(i)) for i in range(60)]
    right = look_alike_figure(OracleGrader(0.9), RULEBOOK, prompts, 0)
    undecided = look_alike_figure(OracleGrader(0.5), RULEBOOK, prompts, 0)
    assert (right.value, undecided.value) == (1.0, 0.5)
    assert 0 < right.n < 120 and right.n % 2 == 0


def test_an_instructed_trait_is_present_if_a_sentence_has_it() -> None:
    prompt = training_prompt(Random(2))
    samples = [(["apology", "insult"], judge(prompt, "I'm sorry.")), (["apology"], judge(prompt, "Sorry about"))]
    shares = {figure.name: figure.value for figure in instruction_figures(samples)}
    assert shares == {"apology": 0.5, "insult": 0.0}


def test_tuned_replies_are_judged_against_their_prompts(tmp_path: Path) -> None:
    prompt = training_prompt(Random(3))
    row = f'{{"prompt_id": "{prompt_id(prompt.messages)}", "reply": "I\'m sorry.", "variant": "rbr"}}\n'
    (tmp_path / "replies.jsonl").write_text(row)
    (judged,) = read_tuned_replies([prompt], tmp_path / "replies.jsonl")
    assert judged.truth["apology"]


def test_the_card_has_a_row_per_kind_of_reply_and_a_column_per_wording() -> None:
    text = card_tables(reading_figures(OracleGrader(0.99), RULEBOOK, "composed replies", draw_replies(100)))
    assert "| composed replies | 1.000; 1.000" in text and "held-out phrases" in text
