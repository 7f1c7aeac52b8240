"""The canary at the start of a grading run: a server whose model changes stops the run before anything is stored."""

import itertools
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from rbr.errors import InputError
from rbr.grading import Answers, Outcome, Question
from rbr.grading.answers import Answer
from rbr.grading.canary_probes import CONVERSATIONS
from rbr.profile import ModelRef
from resources import grader_canary
from resources.asset_testing import fake_models
from resources.cells import Cells
from resources.models import GraderInUse
from resources.progress import Progress
from resources.progress_file import read_progress
from resources.store import Store
from resources.store.snapshot_content import PinnedModel
from tests.rbr.grading.grader_settings import grader_settings

SERVED = {"id": "judge", "root": "/models/judge"}
QUESTION = Question("apology", "Does the reply contain an apology?")
REPLY = {"r": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]}
PROBE_REPLIES = {conversation[-1]["content"] for conversation in CONVERSATIONS}


class HostedModel:
    """A model behind a name: P(yes) is `level`, and moves by `jitter` from one call to the next.

    Attributes:
        calls: The replies of each call.
        unreadable: Number of replies of a call of which some answers cannot be read.
        columns: Number of these answers about a reply.
        away: Whether the server gives no answer.
    """

    def __init__(
        self, level: float, jitter: float = 0.0, unreadable: int = 0, away: bool = False, columns: int = 1
    ) -> None:
        self.level, self.jitter, self.unreadable, self.away, self.columns = level, jitter, unreadable, away, columns
        self.calls: list[list[str]] = []

    def grade(self, conversations: Any, questions: Any, on_progress: Any = None) -> Answers:
        self.calls.append([conversation[-1]["content"] for conversation in conversations])
        moved = self.level + self.jitter * (len(self.calls) % 2)
        answers = Answers.of(np.full((len(conversations), len(questions)), moved))
        # The same answers cannot be read, whatever the order of the questions.
        rows = sorted(range(len(conversations)), key=lambda row: conversations[row][-1]["content"])[: self.unreadable]
        columns = sorted(range(len(questions)), key=lambda column: questions[column].text)[: self.columns]
        for row, column in itertools.product(rows, columns):
            answers[row, column] = Answer(Outcome.UNREADABLE, reason="likeliest tokens: 'The' 0.9")
        if self.away:
            answers = Answers.none(len(conversations), len(questions))
            answers[0, 0] = Answer(Outcome.NOT_ANSWERED, reason="status 503: loading")
        return answers

    @property
    def probed(self) -> int:
        """Number of calls that asked the probes."""
        return sum(set(call) <= PROBE_REPLIES for call in self.calls)


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    store = Store(path=str(tmp_path / "state" / "rbr.duckdb"))
    return Cells(store, fake_models(), Progress(directory=str(tmp_path / "progress")), "proposition_grades")


def grade(cells: Cells, model: HostedModel, reply: str = "r", **changes: Any) -> None:
    """Grades in a process of its own: each process asks the probes once."""
    grader_canary._checked.clear()
    settings = grader_settings(backend="openai", base_url="http://127.0.0.1:9/v1", model_name="judge", **changes)
    grader = GraderInUse(None, settings, SERVED)
    replace(cells, models=fake_models(grader=model)).grade({reply: REPLY["r"]}, {reply: [QUESTION]}, grader)


def test_the_first_run_asks_the_probes_twice_and_stores_both_answers(cells: Cells) -> None:
    model = HostedModel(0.5, jitter=0.01)
    grade(cells, model)
    stored = cells.store.read("canary_answers")
    assert stored.height == 40 and model.probed == 2
    assert (stored["p_yes"] - stored["p_yes_again"]).abs().max() == pytest.approx(0.01)
    assert cells.store.read("grades").height == 1


def test_a_later_run_asks_the_probes_once_and_keeps_the_first_answers(cells: Cells) -> None:
    grade(cells, HostedModel(0.5))
    before = cells.store.read("canary_answers")
    model = HostedModel(0.503)
    grade(cells, model, reply="another")
    assert model.probed == 1
    assert cells.store.read("canary_answers").equals(before)


@pytest.mark.parametrize(
    ("first", "later", "words"),
    [
        pytest.param(HostedModel(0.5), HostedModel(0.8), "by up to 0.300 (mean 0.300)", id="another model"),
        pytest.param(HostedModel(0.5), HostedModel(0.51), "by up to 0.010 (mean 0.010)", id="all answers move a bit"),
        pytest.param(HostedModel(0.5, jitter=0.01), HostedModel(0.6), "the noise of the server is 0.010", id="noise"),
        pytest.param(HostedModel(0.5), HostedModel(0.5, unreadable=3), "3 became readable or unreadable", id="unread"),
    ],
)
def test_a_drift_stops_the_run_before_anything_is_graded(
    cells: Cells, first: HostedModel, later: HostedModel, words: str
) -> None:
    grade(cells, first)
    with pytest.raises(InputError) as caught:
        grade(cells, later, reply="another")
    text = str(caught.value)
    assert words in text and "the model behind the name 'judge' has changed" in text
    assert "grader.model_epoch" in text
    assert later.probed == len(later.calls) == 1
    assert cells.store.read("grades").height == 1


def test_a_drift_within_the_noise_of_the_first_run_passes(cells: Cells) -> None:
    grade(cells, HostedModel(0.5, jitter=0.05))
    grade(cells, HostedModel(0.6), reply="another")
    assert cells.store.read("grades").height == 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(HostedModel(0.05, jitter=0.9), "the server is not one judge: its answers to 40", id="two models"),
        pytest.param(HostedModel(1.0), "all 40 answers to fixed questions are exactly 0 or 1", id="one-hot"),
        pytest.param(HostedModel(1e-12), "all 40 answers to fixed questions are exactly 0 or 1", id="nearly one-hot"),
    ],
)
def test_a_server_that_is_no_judge_is_refused_the_first_time(cells: Cells, model: HostedModel, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        grade(cells, model)
    assert "Nothing was graded" in caught.value.hint
    assert cells.store.read("canary_answers").is_empty() and cells.store.read("grades").is_empty()


def test_a_model_that_is_opened_again_expects_the_same_answers(cells: Cells) -> None:
    class Watching(HostedModel):
        expected: Any = None

        def expect(self, first: Any, noise: Any) -> None:
            self.expected = {probe: answer.p_yes for probe, answer in first.items()}, noise.largest

    first, again = Watching(0.5, jitter=0.01), Watching(0.5)
    grade(cells, first)
    settings = grader_settings(backend="openai", base_url="http://127.0.0.1:9/v1", model_name="judge")
    models = fake_models(grader=again)
    replace(cells, models=models).grade({"b": REPLY["r"]}, {"b": [QUESTION]}, GraderInUse(None, settings, SERVED))
    assert again.probed == 0
    assert again.expected == first.expected and len(first.expected[0]) == 40
    assert first.expected[1] == pytest.approx(0.01)


def test_a_new_epoch_accepts_the_new_model_and_grades_everything_again(cells: Cells) -> None:
    grade(cells, HostedModel(0.2))
    grade(cells, HostedModel(0.9), model_epoch=1)
    assert sorted(cells.store.read("grades")["p_yes"]) == [0.2, 0.9]
    assert cells.store.read("canary_answers").height == 80
    # The old epoch still has the old answers, so the new model does not pass for the old one.
    with pytest.raises(InputError, match="has changed"):
        grade(cells, HostedModel(0.9), reply="another")


@pytest.mark.parametrize(("unreadable", "stops"), [(4, False), (5, True)])
def test_a_grader_that_answers_fewer_than_half_of_the_probes_the_first_time_is_refused(
    cells: Cells, unreadable: int, stops: bool
) -> None:
    model = HostedModel(0.5, unreadable=unreadable, columns=5)
    if not stops:
        grade(cells, model)
        assert cells.work["canary"] == "20 of 40 readable, noise 0.0000, asked for the first time"
        return
    with pytest.raises(InputError) as caught:
        grade(cells, model)
    text = str(caught.value)
    assert "only 15 of 40 fixed questions have a readable answer; others: likeliest tokens: 'The' 0.9" in text
    assert "grader.prompt_template" in text and "grader.min_mass" in text
    assert model.probed == len(model.calls) == 1
    assert cells.store.read("canary_answers").is_empty() and cells.store.read("grades").is_empty()


def test_the_page_of_the_stage_that_asked_shows_noise_and_drift(cells: Cells) -> None:
    grade(cells, HostedModel(0.5, jitter=0.01))
    assert cells.work["canary"] == "40 of 40 readable, noise 0.0100, asked for the first time"
    grade(cells, HostedModel(0.513), reply="another")
    since = cells.store.read("canary_answers")["asked_at"].min()
    assert cells.work["canary"] == f"40 of 40 readable, noise 0.0100, moved 0.0030 since {since}"


def test_a_server_that_is_away_stops_the_run_and_leaves_no_answers(cells: Cells) -> None:
    with pytest.raises(InputError, match="no answer to 40 of 40 test questions: status 503: loading"):
        grade(cells, HostedModel(0.5, away=True))
    assert cells.store.read("canary_answers").is_empty()


def test_a_process_asks_the_probes_of_a_grader_once(cells: Cells) -> None:
    model = HostedModel(0.5)
    grade(cells, model)
    settings = grader_settings(backend="openai", base_url="http://127.0.0.1:9/v1", model_name="judge")
    with_model = replace(cells, models=fake_models(grader=model))
    with_model.grade({"b": REPLY["r"]}, {"b": [QUESTION]}, GraderInUse(None, settings, SERVED))
    assert model.probed == 2


def test_the_progress_shows_a_wait_while_the_probes_are_asked_and_counts_no_probe(cells: Cells) -> None:
    seen: list[tuple[int, int, str]] = []

    class Waiting(HostedModel):
        def grade(self, conversations: Any, questions: Any, on_progress: Any = None) -> Answers:
            on_progress(0, "the server is away")
            sleep(0.31)  # The progress file is written at most about three times a second.
            on_progress(1, "the server is away")
            seen.extend((job.done, job.total, job.note) for job in read_progress(cells.progress.directory))
            return super().grade(conversations, questions, on_progress)

    grade(cells, Waiting(0.5))
    # The probes twice, then the reply.
    assert seen[:2] == [(0, 1, "the server is away")] * 2


def test_nothing_to_grade_asks_no_probe(cells: Cells) -> None:
    grade(cells, HostedModel(0.5))
    model = HostedModel(0.9)
    grade(cells, model)
    assert model.calls == []


def test_a_grader_in_process_has_no_canary(cells: Cells) -> None:
    model = HostedModel(0.5)
    grader = GraderInUse(PinnedModel(ModelRef(path="p", revision=None), "f"), grader_settings(), None)
    replace(cells, models=fake_models(grader=model)).grade(REPLY, {"r": [QUESTION]}, grader)
    assert model.probed == 0
    assert cells.store.read("canary_answers").is_empty()
