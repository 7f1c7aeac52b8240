from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from rbr.conversation import Conversation, prompt_id
from rbr.grading import Question
from rbr.rulebook import load_rulebook
from rbr_sandbox.measure.card import tables
from rbr_sandbox.measure.figures import Figure, share, worst
from rbr_sandbox.measure.grader import category_figure, look_alike_figure, reading_figures
from rbr_sandbox.measure.policy import instruction_figures
from rbr_sandbox.measure.tuned import read_tuned_replies
from rbr_sandbox.measure.world import labeled_replies, world_figures
from rbr_sandbox.oracle import truths
from rbr_sandbox.questions import held_out_forms, held_out_phrases
from rbr_sandbox.replies import Judged, draw_reply, judge
from rbr_sandbox.world import training_prompt

RULEBOOK = load_rulebook("rulebook")


class Knowing:
    """A grader that knows the truth of every question of the evaluation, and says so with `certainty`."""

    def __init__(self, certainty: float) -> None:
        self.certainty = certainty

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        known = [truths(messages[:-1], messages[-1]["content"]) for messages in conversations]
        asks = {p.question: name for name, p in RULEBOOK.propositions.items()}
        for name in RULEBOOK.propositions:
            asks |= dict.fromkeys(held_out_forms(name) + held_out_phrases(name), name)
        true = np.array([[truth[asks[question.text]] for question in questions] for truth in known])
        return np.where(true, self.certainty, 1 - self.certainty)


def some_replies(count: int) -> list[Judged]:
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
def test_a_bar_is_met_or_not(value: float, bar: float | None, must_be: str, holds: bool) -> None:
    assert Figure("g", "n", value, value, value, 1, bar, must_be).holds is holds  # type: ignore[arg-type]


def test_a_share_has_wilsons_interval() -> None:
    figure = share("g", "n", [True] * 8 + [False] * 2)
    assert (figure.value, figure.n) == (0.8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.490, 0.943), abs=1e-3)
    none, all_ = share("g", "n", [False] * 59), share("g", "n", [True] * 59)
    assert (none.low, all_.high) == (0.0, 1.0)
    assert worst([figure, share("g", "m", [False, True])]).name == "m"


def test_a_grader_that_knows_meets_every_bar_but_for_calibration() -> None:
    figures = reading_figures(Knowing(0.8), RULEBOOK, "composed replies", some_replies(150))
    readings = [figure for figure in figures if figure.must_be == "at least"]
    assert {figure.value for figure in readings} == {1.0} and len(readings) == 3 * len(RULEBOOK.propositions)
    (calibration,) = [figure for figure in figures if figure.must_be == "at most"]
    assert calibration.value == pytest.approx(0.2) and not calibration.holds


def test_a_grader_that_is_wrong_meets_none() -> None:
    figures = reading_figures(Knowing(0.2), RULEBOOK, "composed replies", some_replies(150))
    assert not any(figure.holds for figure in figures)


def test_where_hardly_any_reply_has_a_trait_its_name_says_so_however_often_it_is_asked() -> None:
    prompt = training_prompt(Random(1))
    replies = [judge(prompt, text) for text in ["I'm sorry."] * 20 + ["You are a fool."] * 3]
    found = reading_figures(Knowing(0.9), RULEBOOK, "x", replies)
    assert [f.n for f in found if f.name == "insulting_language (only 3 yes)"] == [
        23 * len(questions)
        for questions in (["shipped"], held_out_forms("insulting_language"), held_out_phrases("insulting_language"))
    ]


def test_the_world_is_as_large_as_it_must_be_and_its_labeled_replies_are_balanced() -> None:
    assert [figure.name for figure in world_figures(RULEBOOK) if not figure.holds] == []
    for counts in labeled_replies(RULEBOOK).values():
        assert set(counts) == set(RULEBOOK.behavior.classes) and len(set(counts.values())) == 1


def test_a_prompts_category_is_the_likeliest() -> None:
    codes = list(RULEBOOK.content_policy.categories)
    prompts = [training_prompt(Random(i)) for i in range(40)]

    class Category:
        def grade(
            self,
            conversations: Sequence[Conversation],
            questions: Sequence[Question],
            on_progress: Callable[[int], None] | None = None,
        ) -> NDArray[np.float64]:
            return (
                np.array([[codes[column] == p.topic.category for column in range(len(questions))] for p in prompts])
                * 0.7
            )

    assert category_figure(Category(), RULEBOOK, "test", prompts, 0.95).value == 1.0


def test_an_answer_to_a_look_alike_is_set_against_one_to_what_was_asked() -> None:
    prompts = [training_prompt(Random(i)) for i in range(60)]
    knowing = look_alike_figure(Knowing(0.9), RULEBOOK, prompts, 0)
    asleep = look_alike_figure(Knowing(0.5), RULEBOOK, prompts, 0)
    assert (knowing.value, asleep.value) == (1.0, 0.5)
    assert 0 < knowing.n < 120 and knowing.n % 2 == 0


def test_a_trait_is_present_where_a_sentence_has_it() -> None:
    prompt = training_prompt(Random(2))
    samples = [(["apology", "insult"], judge(prompt, "I'm sorry.")), (["apology"], judge(prompt, "Sorry about"))]
    found = {figure.name: figure.value for figure in instruction_figures(samples)}
    assert found == {"apology": 0.5, "insult": 0.0}


def test_tuned_replies_are_judged_by_their_prompts(tmp_path: Path) -> None:
    prompt = training_prompt(Random(3))
    row = f'{{"prompt_id": "{prompt_id(prompt.messages)}", "reply": "I\'m sorry.", "variant": "rbr"}}\n'
    (tmp_path / "replies.jsonl").write_text(row)
    (judged,) = read_tuned_replies([prompt], tmp_path / "replies.jsonl")
    assert judged.truth["apology"]


def test_the_card_has_one_line_per_wording_and_kind_of_reply() -> None:
    text = tables(reading_figures(Knowing(0.99), RULEBOOK, "composed replies", some_replies(100)))
    assert "| composed replies | 1.000; 1.000" in text and "held-out phrases" in text
