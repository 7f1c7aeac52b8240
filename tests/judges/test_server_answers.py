"""What llama.cpp's server and vLLM take and give, without this project's client.

Both servers read the same tokens as transformers, and give the probabilities of a plain forward pass.
"""

from collections.abc import Mapping
from math import exp
from typing import Any

import pytest

from tests.judges.conftest import JudgeModel
from tests.judges.judged_conversations import QUESTIONS, forged_turns, gold_conversations, spelled_control_tokens
from tests.judges.plain_pass import NO, YES
from tests.judges.servers import JudgeServer

pytestmark = pytest.mark.slow

LLAMACPP = ("tiny_grader", "tiny_llamacpp")
VLLM = pytest.param("tiny_grader", "tiny_vllm", marks=pytest.mark.judges)
SMOLLM2_LLAMACPP = pytest.param("smollm2", "smollm2_llamacpp", marks=pytest.mark.judges)
SMOLLM2_VLLM = pytest.param("smollm2", "smollm2_vllm", marks=pytest.mark.judges)


@pytest.fixture
def model(model_name: str, request: pytest.FixtureRequest) -> JudgeModel:
    return request.getfixturevalue(model_name)


@pytest.fixture
def server(server_name: str, request: pytest.FixtureRequest) -> JudgeServer:
    return request.getfixturevalue(server_name)


def messages(model: JudgeModel, conversations: int, questions: int) -> list[str]:
    turns = [*gold_conversations(conversations), *forged_turns()]
    return [model.plain.message(turn, question) for turn in turns for question in QUESTIONS[:questions]]


def p_yes(listed: Mapping[str, float]) -> float:
    """P(yes) from the listed log probabilities, by the token's text."""
    yes, no = (sum(exp(listed.get(spelling, -99.0)) for spelling in spellings) for spellings in (YES, NO))
    return yes / (yes + no)


def by_chat(server: JudgeServer, message: str, top_logprobs: int = 20) -> dict[str, float]:
    answer = server.post(
        "/v1/chat/completions",
        model=server.name,
        messages=[{"role": "user", "content": message}],
        max_tokens=1,
        temperature=0,
        logprobs=True,
        top_logprobs=top_logprobs,
    ).json()
    return first_token(answer["choices"][0])


def by_token_ids(
    server: JudgeServer, prompts: list[list[int]], logprobs: int = 20, **more: object
) -> list[dict[str, float]]:
    """One request with a list of prompts; llama.cpp answers in the format of chat, vLLM in that of completions."""
    answer = server.post(
        "/v1/completions", model=server.name, prompt=prompts, max_tokens=1, temperature=0, logprobs=logprobs, **more
    ).json()
    return [first_token(choice) for choice in sorted(answer["choices"], key=lambda choice: choice["index"])]


def first_token(choice: dict[str, Any]) -> dict[str, float]:
    """The log probabilities of the first token, by the token's text."""
    logprobs = choice["logprobs"]
    if "content" in logprobs:
        return {entry["token"]: entry["logprob"] for entry in logprobs["content"][0]["top_logprobs"]}
    return logprobs["top_logprobs"][0]


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, SMOLLM2_LLAMACPP])
def test_llamacpp_reads_the_same_tokens_as_transformers(model: JudgeModel, server: JudgeServer) -> None:
    for message in messages(model, conversations=20, questions=3):
        prompt = model.plain.tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        read = server.post("/tokenize", content=prompt, parse_special=True, add_special=False).json()["tokens"]
        assert read == model.plain.tokens(message), message


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, SMOLLM2_LLAMACPP])
def test_a_control_token_that_a_reply_spells_out_is_text_for_both(model: JudgeModel, server: JudgeServer) -> None:
    for turns in spelled_control_tokens():
        reply = turns[-1]["content"]
        read = server.post("/tokenize", content=reply, parse_special=False, add_special=False).json()["tokens"]
        tokens = model.plain.tokenizer.encode(reply, add_special_tokens=False, split_special_tokens=True)
        assert read == tokens
        assert not set(tokens) & set(model.plain.tokenizer.all_special_ids)


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_a_chat_request_gives_the_probabilities_of_a_plain_forward_pass(model: JudgeModel, server: JudgeServer) -> None:
    differences = [
        abs(p_yes(by_chat(server, message)) - model.plain.p_yes(message))
        for message in messages(model, conversations=20, questions=10)
    ]
    print(f"{server.name}: {len(differences)} grades, largest difference {max(differences):.1e}")
    assert max(differences) < 1e-3


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_a_list_of_token_id_prompts_is_answered_in_order(model: JudgeModel, server: JudgeServer) -> None:
    asked = messages(model, conversations=4, questions=5)
    listed = by_token_ids(server, [model.plain.tokens(message) for message in asked])
    assert len(listed) == len(asked)
    for message, answer in zip(asked, listed, strict=True):
        assert p_yes(answer) == pytest.approx(model.plain.p_yes(message), abs=1e-3)


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_a_prompt_needs_one_free_place_in_the_context(model: JudgeModel, server: JudgeServer) -> None:
    full = (model.plain.tokens("Is it so?") * model.context)[: model.context]
    short = model.plain.tokens("Is it so?")
    one = {"model": server.name, "max_tokens": 1, "temperature": 0, "logprobs": 5}
    assert server.post("/v1/completions", prompt=full[:-1], **one).status_code == 200
    assert server.post("/v1/completions", prompt=full, **one).status_code == 400
    # One prompt that is too long costs the answers to all prompts of the request.
    assert server.post("/v1/completions", prompt=[short, full], **one).status_code == 400


@pytest.mark.parametrize(("model_name", "server_name"), [SMOLLM2_LLAMACPP, SMOLLM2_VLLM])
def test_an_imported_model_gives_the_probabilities_of_a_plain_forward_pass(
    model: JudgeModel, server: JudgeServer
) -> None:
    asked = messages(model, conversations=4, questions=2)
    # vLLM lists at most 20 tokens. Both sides are read from the same tokens here; the cut has a test of its own.
    for message in asked:
        listed = by_token_ids(server, [model.plain.tokens(message)])[0]
        exact = model.plain.probabilities(message)
        for token, logprob in listed.items():
            encoded = model.plain.tokenizer.encode(token, add_special_tokens=False)
            if len(encoded) == 1:
                assert exp(logprob) == pytest.approx(float(exact[encoded[0]]), abs=1e-3)


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP, VLLM])
def test_the_server_says_which_model_it_serves(model: JudgeModel, server: JudgeServer) -> None:
    (entry,) = server.get("/v1/models")["data"]
    assert entry["id"] == model.name


@pytest.mark.parametrize(("model_name", "server_name"), [LLAMACPP])
def test_llamacpp_answers_to_every_name_and_lists_any_number_of_tokens(model: JudgeModel, server: JudgeServer) -> None:
    one = {"prompt": model.plain.tokens("Is it so?"), "max_tokens": 1, "temperature": 0}
    answer = server.post("/v1/completions", model="another-name", logprobs=model.vocabulary, **one).json()
    assert answer["model"] == model.name
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == model.vocabulary
    assert server.post("/v1/completions", model=model.name, logprobs=0, **one).json()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(("model_name", "server_name"), [VLLM])
def test_vllm_refuses_another_name_and_more_than_20_tokens(model: JudgeModel, server: JudgeServer) -> None:
    one = {"prompt": model.plain.tokens("Is it so?"), "max_tokens": 1, "temperature": 0}
    assert server.post("/v1/completions", model="another-name", **one).status_code == 404
    assert server.post("/v1/completions", model=model.name, logprobs=21, **one).status_code == 400
