import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Grader, Question, open_grader, render_prompt
from rbr.profile import GraderSettings, ModelRef
from tests.rbr.grading.grader_settings import grader_settings

Answer = tuple[int, Any]
QUESTIONS = [Question("apology", "Is it an apology?"), Question("insult", "Is it an insult?")]
NO_MODEL = ModelRef(path="served", revision=None)


def conversation(reply: str) -> Conversation:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": reply}]


def answer(**probabilities: float) -> Answer:
    top = [{"token": token.replace("_", " "), "logprob": math.log(p)} for token, p in probabilities.items()]
    return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


class Server:
    """A local HTTP server that records its requests and answers them with a function."""

    def __init__(self, rule: Callable[[str, int], Answer]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._attempts: dict[str, int] = {}
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"]
                with server._lock:
                    server.requests.append({"path": self.path, **body})
                    server.headers.append(dict(self.headers))
                    attempt = server._attempts[prompt] = server._attempts.get(prompt, 0) + 1
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                status, content = rule(prompt, attempt)
                with server._lock:
                    server._at_once -= 1
                payload = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None:
                """Keeps the test output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def grader(self, **changes: Any) -> Grader:
        return open_grader(NO_MODEL, self.settings(**changes))

    def settings(self, **changes: Any) -> GraderSettings:
        url = f"http://127.0.0.1:{self.http.server_port}/v1"
        return grader_settings(
            **{"backend": "openai", "base_url": url, "model_name": "grader", "min_mass": 0.5, **changes}
        )


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, int], Answer]], Server]]:
    servers: list[Server] = []

    def start(rule: Callable[[str, int], Answer]) -> Server:
        servers.append(Server(rule))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


Serve = Callable[[Callable[[str, int], Answer]], Server]


def test_a_grade_sums_the_spellings_of_yes_and_of_no(serve: Serve) -> None:
    server = serve(lambda prompt, _: answer(yes=0.5, Yes=0.1, no=0.15, _no=0.05, maybe=0.2))
    grades = server.grader().grade([conversation("Hello")], QUESTIONS[:1])
    assert grades[0, 0] == pytest.approx(0.6 / 0.8)


def test_each_grade_is_the_answer_to_its_own_prompt(serve: Serve) -> None:
    replies = [f"reply {n}" for n in range(12)]
    cells = {
        render_prompt(conversation(reply), question, 0): (2 * row + column + 1) / 30
        for row, reply in enumerate(replies)
        for column, question in enumerate(QUESTIONS)
    }

    def rule(prompt: str, _: int) -> Answer:
        time.sleep(0.03 * cells[prompt])  # The answers arrive in another order.
        return answer(yes=cells[prompt], no=1 - cells[prompt])

    server = serve(rule)
    reported: list[int] = []
    grades = server.grader().grade([conversation(reply) for reply in replies], QUESTIONS, on_progress=reported.append)
    np.testing.assert_allclose(grades, np.array(list(cells.values())).reshape(12, 2))
    assert reported == list(range(1, 13))
    assert 2 <= server.most_at_once <= 4


def test_a_request_asks_for_one_token_with_log_probabilities_and_has_the_api_key(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBR_GRADER_API_KEY", "key-1")
    server = serve(lambda prompt, _: answer(yes=1.0))
    server.grader().grade([conversation("Hello")], QUESTIONS[:1])
    assert server.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "grader",
            "messages": [{"role": "user", "content": render_prompt(conversation("Hello"), QUESTIONS[0], 0)}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 20,
        }
    ]
    assert server.headers[0]["Authorization"] == "Bearer key-1"


def test_a_request_is_sent_again_while_the_server_is_busy(serve: Serve) -> None:
    server = serve(lambda prompt, attempt: (503 if attempt == 1 else 429, "busy") if attempt < 3 else answer(no=1.0))
    assert server.grader().grade([conversation("Hello")], QUESTIONS[:1])[0, 0] == 0.0
    assert len(server.requests) == 3


def test_a_question_without_an_answer_has_no_grade_and_does_not_affect_the_others(serve: Serve) -> None:
    server = serve(lambda prompt, _: (500, "broken") if "insult" in prompt else answer(yes=1.0))
    grades = server.grader(retries=1).grade([conversation("Hello")], QUESTIONS)
    np.testing.assert_array_equal(grades, [[1.0, np.nan]])
    assert len(server.requests) == 3


def test_a_request_that_times_out_has_no_grade(serve: Serve) -> None:
    def rule(prompt: str, _: int) -> Answer:
        if "insult" in prompt:
            time.sleep(0.6)
        return answer(yes=1.0)

    grades = serve(rule).grader(timeout_s=0.2, retries=1).grade([conversation("Hello")], QUESTIONS)
    np.testing.assert_array_equal(grades, [[1.0, np.nan]])


@pytest.mark.parametrize(
    "unreadable",
    [
        answer(maybe=0.9, yes=0.1),
        (200, {"choices": [{"logprobs": None}]}),
        (200, {"choices": []}),
        (200, "text"),
        (400, {"message": "maximum context length"}),
    ],
)
def test_an_unreadable_answer_gives_no_grade_and_is_not_requested_again(serve: Serve, unreadable: Answer) -> None:
    server = serve(lambda prompt, _: unreadable)
    assert np.isnan(server.grader().grade([conversation("Hello")], QUESTIONS[:1])).all()
    assert len(server.requests) == 1


def test_the_log_probability_that_a_server_gives_impossible_tokens_counts_as_zero(serve: Serve) -> None:
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -9999.0}]
    server = serve(lambda prompt, _: (200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}))
    assert server.grader().grade([conversation("Hello")], QUESTIONS[:1])[0, 0] == 1.0


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_name_stops_the_grading(serve: Serve, status: int) -> None:
    server = serve(lambda prompt, _: (status, "no such thing"))
    with pytest.raises(InputError, match=rf"answered {status}.*no such thing"):
        server.grader().grade([conversation("Hello")], QUESTIONS)


def test_a_server_that_answers_no_request_is_an_error() -> None:
    settings = grader_settings(backend="openai", base_url="http://127.0.0.1:9/v1", model_name="grader", retries=0)
    with pytest.raises(InputError, match="no request succeeded"):
        open_grader(NO_MODEL, settings).grade([conversation("Hello")], QUESTIONS)


def test_the_grader_works_inside_an_event_loop(serve: Serve) -> None:
    import asyncio

    server = serve(lambda prompt, _: answer(yes=1.0))

    async def caller() -> float:
        return float(server.grader().grade([conversation("Hello")], QUESTIONS[:1])[0, 0])

    assert asyncio.run(caller()) == 1.0


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"rbr-dagster\[vllm\]"):
        open_grader(NO_MODEL, grader_settings(backend="vllm"))
