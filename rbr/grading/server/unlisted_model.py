"""Asks a server that keeps its list of models to itself whether it answers questions all the same."""

import json
from typing import TYPE_CHECKING

from rbr.grading.server.connection import Connection
from rbr.grading.server.failures import Failure, is_error
from rbr.grading.server.requests import LIMIT_FIELDS

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

_TEXT = "Hello."


async def answers_a_question(connection: Connection, settings: "GraderSettings") -> bool:
    """Returns whether the server answers a short question, so that the address, the key and the name are right.

    A key can have the right to ask questions and no right to read the list of models.

    Args:
        connection: Connections to the server.
        settings: Section `grader` of a profile.

    Example:
        >>> async def has_a_model(address, settings):
        ...     async with open_connection(address, timeout_s=60, max_connections=1) as connection:
        ...         return await answers_a_question(connection, settings)
    """
    is_chat = settings.endpoint == "chat"
    prompt = {"messages": [{"role": "user", "content": _TEXT}]} if is_chat else {"prompt": _TEXT}
    for limit_field in LIMIT_FIELDS:
        body = {"model": settings.model_name, **prompt, limit_field: 1, **settings.extra_body}
        path = "/chat/completions" if is_chat else "/completions"
        reply = await connection.post(path, json.dumps(body).encode())
        if isinstance(reply, Failure):
            return False
        if reply.status == 200:
            return not is_error(reply.json())
    return False
