"""A real HTTP server that plays a judge, and misbehaves as a test wants."""

import json
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rbr.conversation import Conversation
from rbr.grading import Question, open_grader
from rbr.grading.openai import OpenAIGrader
from rbr.hashing import content_hash
from rbr.profile import GraderSettings, ModelRef
from tests.rbr.grading.grader_settings import grader_settings

QUESTIONS = [Question("apology", "Is it an apology?"), Question("insult", "Is it an insult?")]
SERVED = {"object": "list", "data": [{"id": "grader", "root": "/models/judge", "max_model_len": 512, "created": 1}]}
FILLERS = tuple(f"t{number}" for number in range(18))


@dataclass(frozen=True)
class Reply:
    """A reply of the server: status, body as JSON or raw text, headers, and how to send it."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    lost: bool = False  # Close the connection in the middle of the body.

    def payload(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def conversation(reply: str) -> Conversation:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": reply}]


def probabilities(p_yes: float, mass: float = 0.9999) -> dict[str, float]:
    """Twenty likeliest tokens: yes, no and eighteen others."""
    rest = (1 - mass) / 40
    return {"yes": p_yes * mass, "no": (1 - p_yes) * mass, **dict.fromkeys(FILLERS, rest)}


def answer(listed: Mapping[str, float] | Sequence[tuple[str, float]], **choice: Any) -> Reply:
    """An answer with these tokens and probabilities, in the format of chat completions."""
    pairs = list(listed.items()) if isinstance(listed, Mapping) else list(listed)
    top = [{"token": token, "logprob": math.log(p) if p > 0 else -9999.0, "bytes": None} for token, p in pairs]
    return answer_of_entries(top, **choice)


def answer_of_entries(top: Any, **choice: Any) -> Reply:
    said = {"role": "assistant", "content": "yes"}
    numbered = [entry for entry in top if isinstance(entry.get("logprob"), float)] if isinstance(top, list) else []
    chosen = max(numbered, key=lambda entry: entry["logprob"], default={"token": "yes", "logprob": -0.1})
    first = {"bytes": None, **chosen, "top_logprobs": top}
    return Reply(
        200,
        {
            "choices": [
                {"index": 0, "message": said, "finish_reason": "length", "logprobs": {"content": [first]}, **choice}
            ]
        },
    )


def error(status: int, message: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
    return Reply(status, {"error": {"message": message, **fields}}, headers or {})


def p_yes_of(prompt: str) -> float:
    """The judge's grade of a prompt, decided by its text."""
    return random.Random(content_hash(prompt)).uniform(0.05, 0.95)


def good_answer(prompt: str) -> Reply:
    return answer(probabilities(p_yes_of(prompt)))


@dataclass(frozen=True)
class Request:
    """A request that the server got."""

    path: str
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]
    attempt: int  # Number of requests with this prompt so far, from 1.
    is_probe: bool


Rule = Callable[[Request], Reply]
Models = Callable[[str], Reply]
PROBE_TEXTS = ("Good morning.", "I'm sorry, but I don't know.")


class JudgeServer:
    """Answers each request by a rule, and records the requests; it can be killed and started again."""

    def __init__(self, rule: Rule, models: "Reply | Models | None" = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.models: Reply | Models = models or Reply(200, SERVED)
        self.rule = rule
        self._at_once = 0
        self._attempts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._open(port)

    @property
    def asked(self) -> list[Request]:
        """The requests without the probe's."""
        return [request for request in self.requests if not request.is_probe]

    def _open(self, port: int) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server._sockets.add(self.connection)

            def do_GET(self) -> None:
                models = server.models
                reply = models(self.path) if callable(models) else models
                time.sleep(reply.delay_s)
                self._send(reply)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"] if "messages" in body else json.dumps(body["prompt"])
                with server._lock:
                    attempt = server._attempts[prompt] = server._attempts.get(prompt, 0) + 1
                    is_probe = any(text in prompt for text in PROBE_TEXTS)
                    request = Request(self.path, prompt, body, dict(self.headers), attempt, is_probe)
                    server.requests.append(request)
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                reply = server.rule(request)
                time.sleep(reply.delay_s)
                with server._lock:
                    server._at_once -= 1
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                payload = reply.payload()
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(payload)), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(payload[: len(payload) // 2] if reply.lost else payload)
                    self.close_connection = reply.lost
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Keeps the test output clean."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A killed server breaks its connections; that is no error of the test."""

        self.http = Server(("127.0.0.1", port), Handler)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def kill(self) -> None:
        """Closes the port and breaks all connections, like a killed process."""
        self.http.shutdown()
        self.http.server_close()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def start_again(self) -> None:
        self._open(self.port)

    def settings(self, **changes: Any) -> GraderSettings:
        url = f"http://127.0.0.1:{self.port}/v1"
        defaults = {"backend": "openai", "base_url": url, "model_name": "grader", "min_mass": 0.5, "max_bound": 0.01}
        return grader_settings(**{**defaults, **changes})

    def grader(self, **changes: Any) -> OpenAIGrader:
        grader = open_grader(ModelRef(path="served", revision=None), self.settings(**changes))
        assert isinstance(grader, OpenAIGrader)
        return grader


def listing(model: str) -> Reply:
    """What `GET /models` says of a server with the files of a model."""
    return Reply(200, {"data": [{"id": "grader", "root": f"/models/{model}"}]})


class SwappingServer(JudgeServer):
    """A server that lists model `a` a number of times, and then model `b`."""

    def __init__(self, rule: Rule, n_times: int) -> None:
        self._n_left = n_times
        super().__init__(rule, listing("a"))

    @property
    def models(self) -> Reply:
        self._n_left -= 1
        return listing("a" if self._n_left >= 0 else "b")

    @models.setter
    def models(self, reply: Reply) -> None:
        """The listing depends on the number of times it was read."""
