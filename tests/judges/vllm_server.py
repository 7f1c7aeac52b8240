"""Serves a model directory on loopback with vLLM's OpenAI server, until standard input is closed.

Run by the Python of `.venv-judges/vllm`, which has vLLM.

Usage: python vllm_server.py OPTIONS-OF-THE-API-SERVER
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_the_test() -> None:
    # The input is a pipe from the test. It is closed if the test process ends, in whatever way.
    sys.stdin.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
