"""The same files give the same grades: in process, by llama.cpp's server and by vLLM, through either endpoint."""

import numpy as np
import pytest

from rbr.grading import Answers, Outcome, open_grader
from tests.judges.conftest import JudgeModel
from tests.judges.judged_conversations import QUESTIONS, forged_turns, gold_conversations, spelled_control_tokens
from tests.judges.plain_pass import NO, YES
from tests.judges.servers import JudgeServer
from tests.rbr.grading.grader_settings import grader_settings

pytestmark = pytest.mark.slow

LLAMACPP = ("tiny_grader", "tiny_llamacpp")
VLLM = pytest.param("tiny_grader", "tiny_vllm", marks=pytest.mark.judges)
SMOLLM2_LLAMACPP = pytest.param("smollm2", "smollm2_llamacpp", marks=pytest.mark.judges)
SMOLLM2_VLLM = pytest.param("smollm2", "smollm2_vllm", marks=pytest.mark.judges)

TOLERANCE = 1e-3  # fp32; the measured differences are below 1e-5
LISTED = {"llamacpp": 4096, "vllm": 20}
"""Number of tokens that a server is asked to list. llama.cpp lists any number, and vLLM at most 20."""


@pytest.fixture
def model(model_name: str, request: pytest.FixtureRequest) -> JudgeModel:
    return request.getfixturevalue(model_name)


@pytest.fixture
def server(server_name: str, request: pytest.FixtureRequest) -> JudgeServer:
    return request.getfixturevalue(server_name)


def served(model: JudgeModel, server: JudgeServer, conversations: list, questions: list, **settings: object) -> Answers:
    """Grades by a server, through the product's client."""
    grader = open_grader(
        model.ref,
        grader_settings(
            **{
                "backend": "openai",
                "base_url": f"{server.url}/v1",
                "model_name": model.name,
                "yes": YES,
                "no": NO,
                "timeout_s": 600.0,
                "wait_s": 60.0,
                **settings,
            }
        ),
    )
    return grader.grade(conversations, questions)


def plain(model: JudgeModel, conversations: list, questions: list) -> np.ndarray:
    return np.array(
        [[model.plain.p_yes(model.plain.message(turns, question)) for question in questions] for turns in conversations]
    )


def assert_close(answers: Answers, expected: np.ndarray, what: str) -> None:
    """Checks that every question has an answer, which differs by at most the tolerance and the answer's own bound."""
    assert answers.count(Outcome.ANSWERED) == expected.size, answers.reasons
    differences = np.abs(answers.p_yes - expected)
    largest, mean, bound = differences.max(), differences.mean(), answers.bounds.max()
    print(
        f"{what}: {expected.size} grades, difference at most {largest:.1e}, mean {mean:.1e}, bound at most {bound:.1e}"
    )
    assert (differences <= TOLERANCE + answers.bounds).all()


@pytest.mark.parametrize(
    "model_name",
    [
        "tiny_grader",
        pytest.param("smollm2", marks=pytest.mark.judges),
    ],
)
def test_the_grader_in_process_gives_the_grades_of_a_plain_forward_pass(model: JudgeModel) -> None:
    conversations = [*gold_conversations(), *forged_turns(), *spelled_control_tokens()]
    answers = open_grader(model.ref, grader_settings(yes=YES, no=NO)).grade(conversations, QUESTIONS)
    assert answers.bounds.max() == 0
    assert_close(answers, plain(model, conversations, QUESTIONS), f"{model.name} in process")


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM, SMOLLM2_LLAMACPP, SMOLLM2_VLLM])
def test_a_server_gives_the_grades_of_a_plain_forward_pass(
    model: JudgeModel, server: JudgeServer, server_name: str, endpoint: str
) -> None:
    conversations = [*gold_conversations(), *forged_turns()]
    listed = min(model.vocabulary, LISTED[server_name.rpartition("_")[2]])
    answers = served(model, server, conversations, QUESTIONS, endpoint=endpoint, top_logprobs=listed)
    assert_close(answers, plain(model, conversations, QUESTIONS), f"{server_name} by {endpoint}")


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_token_ids_keep_a_spelled_out_control_token_as_text(model: JudgeModel, server: JudgeServer) -> None:
    conversations = spelled_control_tokens()
    answers = served(model, server, conversations, QUESTIONS, endpoint="completions")
    assert_close(answers, plain(model, conversations, QUESTIONS), "spelled-out control tokens as token ids")


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_a_chat_server_reads_a_spelled_out_control_token_with_a_space(model: JudgeModel, server: JudgeServer) -> None:
    conversations = spelled_control_tokens()
    answers = served(model, server, conversations, QUESTIONS, endpoint="chat")
    spaced = [
        [{**turn, "content": turn["content"].replace("<|", "< |")} for turn in conversation]
        for conversation in conversations
    ]
    assert_close(answers, plain(model, spaced, QUESTIONS), "spelled-out control tokens in chat")


@pytest.mark.parametrize(("model_name", "server_name"), [SMOLLM2_LLAMACPP])
def test_the_bound_covers_what_20_listed_tokens_hide(model: JudgeModel, server: JudgeServer) -> None:
    conversations = gold_conversations(10)
    expected = plain(model, conversations, QUESTIONS[:5])
    differences = {}
    for listed in (20, 4096):
        answers = served(model, server, conversations, QUESTIONS[:5], endpoint="completions", top_logprobs=listed)
        assert_close(answers, expected, f"{listed} listed tokens")
        differences[listed] = np.abs(answers.p_yes - expected).max()
    assert differences[20] > TOLERANCE > differences[4096]
