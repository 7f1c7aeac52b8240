from collections.abc import Callable, Iterator

import pytest

from tests.rbr.grading.judge_server import JudgeServer, Models, Reply, Rule


@pytest.fixture
def serve() -> Iterator[Callable[..., JudgeServer]]:
    servers: list[JudgeServer] = []

    def start(rule: Rule, models: Reply | Models | None = None) -> JudgeServer:
        servers.append(JudgeServer(rule, models))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
