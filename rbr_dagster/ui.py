"""`rbr ui`: serves the Dagster UI and the MLflow UI of one state directory, on 127.0.0.1 only."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import typer

from rbr.errors import InputError
from rbr_dagster.environment import WORKSPACE, Environment

HOST = "127.0.0.1"

_STOP_TIMEOUT_S = 15.0
# No usage reports, and no job runners: each job runner is an idle process of 300 MB.
_MLFLOW_VARIABLES = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def serve(environment: Environment, dagster_port: int, mlflow_port: int) -> int:
    """Runs both servers until one of them ends, or until this process gets SIGINT or SIGTERM.

    Args:
        environment: State directory, profile and rulebook.
        dagster_port: Port of the Dagster UI.
        mlflow_port: Port of the MLflow UI.

    Returns:
        0 after a signal; otherwise the exit status of the server that ended first, or 1 if that status is 0.

    Raises:
        InputError: A port is in use.
    """
    for port, option in ((dagster_port, "--dagster-port"), (mlflow_port, "--mlflow-port")):
        _check_port(port, option)
    tracking = environment.tracking
    variables = {**os.environ, **environment.variables(), **_MLFLOW_VARIABLES}
    commands = [
        ["dagster", "dev", "-w", str(WORKSPACE), "-h", HOST, "-p", str(dagster_port), "--log-level", "warning"],
        [
            *("mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", tracking.uri),
            *("--default-artifact-root", tracking.artifacts_uri),
        ],
    ]
    addresses = f"Dagster  http://{HOST}:{dagster_port}\nMLflow   http://{HOST}:{mlflow_port}"
    typer.echo(f"{addresses}\nStop both with Ctrl-C.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_server(command, variables)) for command in commands]
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                for server in servers:
                    if server.poll() is not None:
                        return server.returncode or 1
                time.sleep(0.5)
    return 0


@contextlib.contextmanager
def _server(command: list[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    # The server gets its own session, so that one signal stops the server and its workers.
    program = str(Path(sys.executable).parent / command[0])
    with subprocess.Popen([program, *command[1:]], env=variables, start_new_session=True) as server:
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _check_port(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            what = f"port {port} on {HOST} is in use"
            hint = "Choose another port, or stop the program that uses this port."
            raise InputError(what, where=option, hint=hint) from error
