"""Measures what a grade costs the client of a judge server, in CPU time of the client's process.

    OMP_NUM_THREADS=1 python -m bench.judge_client [--replies 100] [--questions 20] [--rounds 3]

A stub in another process answers at once, so the client is the only work. Three clients ask the same cells with the
same number of requests in flight, in turns: the endpoint ``chat`` (one request for each cell), the endpoint
``completions`` (token ids, one request for each reply), and, as the baseline ``before``, a plain httpx client with one
request for each cell. The last line is JSON; times are milliseconds of CPU for each cell, the least of the rounds.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rbr.conversation import Conversation
from rbr.grading import Question
from rbr.grading.answers import Reading
from rbr.grading.openai import OpenAIGrader
from rbr.grading.prompt import compile_prompt
from rbr.profile import GraderSettings, ModelRef, load_profile

IN_FLIGHT = 64
REPLY_WORDS = 120
GRADER = ModelRef(path="rbr_sandbox/models/grader", revision=None)
WORDS = ("the quick brown fox jumps over a lazy dog and then writes down how it felt about that long day",)
TOP = {"yes": -0.1, "no": -2.4, **{f"t{number}": -9.0 - number for number in range(18)}}


def chat_choice() -> dict[str, Any]:
    """Returns an answer with twenty alternatives."""
    top = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in TOP.items()]
    first = {"token": "yes", "logprob": -0.1, "bytes": [121, 101, 115], "top_logprobs": top}
    message = {"role": "assistant", "content": "yes"}
    return {"index": 0, "message": message, "logprobs": {"content": [first]}, "finish_reason": "length"}


class Stub(asyncio.Protocol):
    """Answers requests of one connection: a minimal HTTP server, so that the stub is never the bottleneck."""

    chat = json.dumps({"id": "x", "object": "chat.completion", "choices": [chat_choice()]}).encode()

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            payload = self.answer(head, body)
            start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(start % len(payload) + payload)

    def answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get "):
            return b'{"data": [{"id": "judge"}]}'
        if b"/chat/" in head.split(b"\r\n")[0]:
            return self.chat
        prompts = json.loads(body)["prompt"]
        logprobs = {"tokens": ["yes"], "token_logprobs": [-0.1], "top_logprobs": [TOP], "text_offset": [0]}
        choice = {"text": "yes", "logprobs": logprobs, "finish_reason": "length"}
        return json.dumps({"choices": [{"index": number, **choice} for number in range(len(prompts))]}).encode()


def serve(port: Any) -> None:
    """Runs the stub, and sends its port."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def stub_server() -> Iterator[int]:
    """Runs the stub in a process of its own, and yields its port."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=serve, args=(its,), daemon=True)
    process.start()
    try:
        yield mine.recv()
    finally:
        process.terminate()
        process.join()


class PlainClient:
    """A plain client: httpx, one request for each cell, and each request is written and read on its own."""

    def __init__(self, settings: GraderSettings) -> None:
        self.settings = settings
        self.url = f"{settings.base_url}/chat/completions"
        self.prompt = compile_prompt(settings.prompt_template)
        self.reading = Reading(settings.min_mass, settings.max_bound)

    def grade(self, conversations: Sequence[Conversation], questions: Sequence[Question]) -> NDArray[np.float64]:
        return asyncio.run(self._grade(conversations, questions))

    async def _grade(self, conversations: Sequence[Conversation], questions: Sequence[Question]) -> NDArray[np.float64]:
        grades = np.full((len(conversations), len(questions)), np.nan)
        cells = iter([(row, column) for row in range(len(conversations)) for column in range(len(questions))])

        async def work(client: httpx.AsyncClient) -> None:
            for row, column in cells:
                text = self.prompt.render(conversations[row], questions[column], self.settings.few_shot)
                grades[row, column] = await self._ask(client, text)

        limits = httpx.Limits(max_connections=self.settings.max_concurrency)
        client = httpx.AsyncClient(timeout=self.settings.timeout_s, limits=limits)
        async with client, asyncio.TaskGroup() as workers:
            for _ in range(self.settings.max_concurrency):
                workers.create_task(work(client))
        return grades

    async def _ask(self, client: httpx.AsyncClient, text: str) -> float:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, httpx.TransportError)),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(multiplier=0.25, max=20),
            reraise=True,
        ):
            with attempt:
                response = await client.post(self.url, json=self._request(text))
                response.raise_for_status()
        top = response.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        listed = {entry["token"]: float(entry["logprob"]) for entry in top}
        return self.reading.from_top_logprobs(listed, self.settings.yes, self.settings.no).p_yes

    def _request(self, text: str) -> dict[str, Any]:
        return {
            "model": self.settings.model_name,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 20,
        }


def conversations_of(n_replies: int) -> list[Conversation]:
    """Returns conversations with distinct replies of about `REPLY_WORDS` words."""
    text = (WORDS[0] + " ") * math.ceil(REPLY_WORDS / len(WORDS[0].split()))
    return [
        [{"role": "user", "content": f"Question {n}"}, {"role": "assistant", "content": f"Reply {n}: {text}"}]
        for n in range(n_replies)
    ]


def cpu_ms_per_cell(ask: Callable[[], NDArray[np.float64]]) -> float:
    """Returns the CPU time of this process for each grade."""
    started = time.process_time()
    grades = ask()
    spent = time.process_time() - started
    expected = math.exp(TOP["yes"]) / (math.exp(TOP["yes"]) + math.exp(TOP["no"]))
    np.testing.assert_allclose(grades, expected)
    return 1_000 * spent / grades.size


def main() -> None:
    """Measures the three clients in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    conversations = conversations_of(arguments.replies)
    questions = [Question(f"q{n}", f"Does the reply have property number {n}?") for n in range(arguments.questions)]
    with stub_server() as port:
        changes = {
            "backend": "openai",
            "base_url": f"http://127.0.0.1:{port}/v1",
            "model_name": "judge",
            "max_concurrency": IN_FLIGHT,
            "min_mass": 0.0,
            "max_bound": 1.0,
            "yes": ("yes",),
            "no": ("no",),
            "few_shot": 0,
            "timeout_s": 60.0,
        }
        settings = load_profile("profiles/sandbox.yaml").grader.model_copy(update=changes)
        chat = OpenAIGrader(settings, GRADER)
        completions = OpenAIGrader(settings.model_copy(update={"endpoint": "completions"}), GRADER)
        before = PlainClient(settings)
        clients: dict[str, Callable[[], NDArray[np.float64]]] = {
            "chat": lambda: chat.grade(conversations, questions).p_yes,
            "completions": lambda: completions.grade(conversations, questions).p_yes,
            "before": lambda: before.grade(conversations, questions),
        }
        chat.grade(conversations[:1], questions[:1])  # The probe, once.
        completions.grade(conversations[:1], questions[:1])
        least = dict.fromkeys(clients, math.inf)
        for number in range(arguments.rounds):
            for name, ask in clients.items():
                spent = cpu_ms_per_cell(ask)
                least[name] = min(least[name], spent)
                print(f"round {number + 1}  {name:<12} {spent:.3f} ms of CPU per cell")
    figures = {f"cpu_ms_per_cell_{name}": round(value, 4) for name, value in least.items()}
    print(json.dumps({**figures, "ratio": round(least["before"] / least["chat"], 2)}))


if __name__ == "__main__":
    main()
