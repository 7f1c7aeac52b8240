"""Says which model a server serves, from ``GET /models``."""

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rbr.errors import ServerAway
from rbr.grading.server.address import Address
from rbr.grading.server.connection import HttpReply, open_connection, run_to_end
from rbr.grading.server.failures import Failure

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

_IDENTITY = (
    "id", "root", "parent", "max_model_len", "context_length", "context_window", "max_context_length", "owned_by",
    "quantization", "dtype", "digest", "revision", "version", "hugging_face_id", "canonical_slug", "meta",
)  # fmt: skip
"""Fields that say which model it is. Other fields, such as the time of the start, change while the model does not."""

_TIMEOUT_S = 10.0
_LONGEST_PAUSE_S = 30.0

_log = logging.getLogger(__name__)


def served_model(settings: "GraderSettings") -> dict[str, Any] | None:
    """Returns what the server says of the model that `model_name` names.

    A server with a single model, such as llama.cpp, uses it for every name, so its entry is returned for every name.

    Args:
        settings: Section `grader` of a profile.

    Returns:
        The fields that say which model it is; empty if the server says nothing about the name; None if the server is
        away or still loading.

    Raises:
        InputError: `base_url` or `model_name` is missing or malformed.

    Example:
        >>> from rbr.profile import load_profile
        >>> settings = load_profile("profiles/gpu.yaml").grader
        >>> served_model(settings)  # doctest: +SKIP
        {'id': 'grader', 'max_model_len': 4096, 'owned_by': 'vllm', 'root': '/models/judge'}
    """
    address = Address.of(settings)
    assert settings.model_name is not None  # `Address.of` has checked it.

    async def ask() -> HttpReply | Failure:
        async with open_connection(address, min(settings.timeout_s, _TIMEOUT_S), 1) as connection:
            return await connection.get("/models")

    reply = run_to_end(ask())
    if isinstance(reply, Failure) or reply.status in (502, 503, 504):
        return None
    return identity_of(reply, settings.model_name)


def require_served_model(settings: "GraderSettings", wait_s: float = 0.0) -> dict[str, Any]:
    """Returns what the server says of the model, as `served_model` does, and waits for a server that is away.

    Args:
        settings: Section `grader` of a profile.
        wait_s: How long to wait, in seconds.

    Raises:
        InputError: `base_url` or `model_name` is missing or malformed.
        ServerAway: The server stays away.

    Example:
        >>> from rbr.profile import load_profile
        >>> require_served_model(load_profile("profiles/gpu.yaml").grader, wait_s=600)  # doctest: +SKIP
        {'id': 'grader', 'max_model_len': 4096, 'owned_by': 'vllm', 'root': '/models/judge'}
    """
    end, pause = time.monotonic() + wait_s, min(1.0, wait_s / 10)
    while (served := served_model(settings)) is None:
        if time.monotonic() + pause > end:
            raise ServerAway(
                "the server of the grader is away or still loading",
                where=str(settings.base_url),
                hint="Start the server, or correct grader.base_url, and run the command again.",
            )
        _log.warning("The server at %s is away or still loading. Waiting for it.", settings.base_url)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return served


def identity_of(reply: HttpReply, model_name: str) -> dict[str, Any]:
    """Returns what ``/models`` says of a model; empty if the reply does not name it.

    Example:
        >>> body = b'{"data": [{"id": "judge", "created": 1, "root": "/models/judge"}]}'
        >>> identity_of(HttpReply(200, body, {}), "judge")
        {'id': 'judge', 'root': '/models/judge'}
    """
    entries = model_entries(reply)
    named = [entry for entry in entries if entry["id"] == model_name]
    entry = named[0] if named else entries[0] if len(entries) == 1 else {}
    return {key: entry[key] for key in sorted(entry) if key in _IDENTITY and entry[key] is not None}


def model_entries(reply: HttpReply) -> list[Mapping[str, Any]]:
    """Returns the entries of ``/models``; empty if the reply has another format.

    Example:
        >>> [entry["id"] for entry in model_entries(HttpReply(200, b'{"data": [{"id": "judge"}]}', {}))]
        ['judge']
    """
    if reply.status != 200:
        return []
    try:
        data = json.loads(reply.body)["data"]
    except (ValueError, LookupError, TypeError):
        return []
    if not isinstance(data, list):
        return []
    return [entry for entry in data if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)]
