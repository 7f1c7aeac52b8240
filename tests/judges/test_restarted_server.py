"""A server that is killed and started again in the middle of a grading run costs waiting only."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from rbr.grading import Answers, Outcome, open_grader
from tests.judges.conftest import JudgeModel
from tests.judges.judged_conversations import QUESTIONS, gold_conversations
from tests.judges.plain_pass import NO, YES
from tests.judges.servers import JudgeServer, llamacpp
from tests.rbr.grading.grader_settings import grader_settings

pytestmark = pytest.mark.slow

CONVERSATIONS = gold_conversations(40)


@pytest.fixture
def server(tiny_grader: JudgeModel) -> Iterator[JudgeServer]:
    with llamacpp(tiny_grader.gguf, tiny_grader.name, context=tiny_grader.context) as server:
        yield server


def grader(model: JudgeModel, server: JudgeServer, endpoint: str, **settings: object):
    changes = {"backend": "openai", "base_url": f"{server.url}/v1", "model_name": model.name, "yes": YES, "no": NO}
    return open_grader(
        model.ref, grader_settings(**{**changes, "endpoint": endpoint, "timeout_s": 60.0, "wait_s": 120.0, **settings})
    )


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_every_question_is_answered_as_without_the_interruption(
    tiny_grader: JudgeModel, server: JudgeServer, endpoint: str
) -> None:
    undisturbed = grader(tiny_grader, server, endpoint).grade(CONVERSATIONS, QUESTIONS)
    assert undisturbed.count(Outcome.ANSWERED) == undisturbed.p_yes.size
    killed_after: list[int] = []
    notes: list[str] = []
    restart = threading.Timer(3.0, server.start)

    def on_progress(done: int, note: str) -> None:
        notes.append(note)
        if done >= 10 and not killed_after:
            killed_after.append(done)
            server.kill()
            restart.start()

    answers: Answers = grader(tiny_grader, server, endpoint).grade(CONVERSATIONS, QUESTIONS, on_progress)
    restart.join()
    assert 10 <= killed_after[0] < len(CONVERSATIONS)
    assert any(notes), "nobody says that the server is away"
    assert answers.count(Outcome.ANSWERED) == answers.p_yes.size, answers.reasons
    np.testing.assert_allclose(answers.p_yes, undisturbed.p_yes, atol=1e-4)


def test_a_server_that_does_not_come_back_leaves_questions_without_an_answer(
    tiny_grader: JudgeModel, server: JudgeServer
) -> None:
    def on_progress(done: int, note: str) -> None:
        if done >= 10:
            server.kill()

    answers = grader(tiny_grader, server, "completions", wait_s=2.0).grade(CONVERSATIONS, QUESTIONS, on_progress)
    answered, missing = answers.count(Outcome.ANSWERED), answers.count(Outcome.NOT_ANSWERED)
    assert answered >= 10 * len(QUESTIONS)
    assert missing > 0
    assert answered + missing == answers.p_yes.size
    assert np.isnan(answers.p_yes).sum() == missing


def test_a_server_that_starts_late_is_waited_for(tiny_grader: JudgeModel, server: JudgeServer) -> None:
    server.kill()
    restart = threading.Timer(3.0, server.start)
    restart.start()
    answers = grader(tiny_grader, server, "chat").grade(CONVERSATIONS[:2], QUESTIONS[:2])
    restart.join()
    assert answers.count(Outcome.ANSWERED) == 4


def test_a_wrong_name_is_told_although_llamacpp_answers_to_it(
    tiny_grader: JudgeModel, server: JudgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    answers = grader(tiny_grader, server, "chat", model_name="another-judge").grade(CONVERSATIONS[:1], QUESTIONS[:1])
    assert answers.count(Outcome.ANSWERED) == 1
    (warning,) = [record.getMessage() for record in caplog.records if "another-judge" in record.getMessage()]
    assert f"lists {tiny_grader.name}" in warning
