"""`rbr ui`: the Dagster UI and the MLflow UI over one state directory, both on loopback only."""

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
from rbr_dagster.environment import Environment
from resources.tracking import Tracking

HOST = "127.0.0.1"

_WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"
_GRACE_S = 15.0
# No usage reports, and no job runners: each is a process of 300 MB, and nothing here gives them work.
_MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def serve(environment: Environment, dagster_port: int, mlflow_port: int) -> int:
    """Runs both servers until one of them ends or this process is told to stop.

    Args:
        environment: State directory, profile and rulebook.
        dagster_port: Port of the Dagster UI.
        mlflow_port: Port of the MLflow UI.

    Returns:
        0 after a stop on request, else the exit status of the server that ended first.

    Raises:
        InputError: A port is taken.
    """
    for port, option in ((dagster_port, "--dagster-port"), (mlflow_port, "--mlflow-port")):
        _check_free(port, option)
    home = environment.home.absolute()
    variables = {**os.environ, **environment.variables(), **_MLFLOW}
    commands = [
        ["dagster", "dev", "-w", str(_WORKSPACE), "-h", HOST, "-p", str(dagster_port), "--log-level", "warning"],
        [
            *("mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", Tracking(home=str(home)).uri),
            *("--default-artifact-root", (home / "mlartifacts").as_uri()),
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
    # A session of its own, so that the servers' own workers are stopped with them.
    program = str(Path(sys.executable).parent / command[0])
    with subprocess.Popen([program, *command[1:]], env=variables, start_new_session=True) as server:
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _check_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            what = f"port {port} on {HOST} is in use"
            raise InputError(what, where=option, hint="Stop what listens there, or choose another port.") from error
