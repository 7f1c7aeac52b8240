"""Says which model a server serves, from ``GET /models``.

Only a list of models, or a server that has no such path, says something. After any other reply, nobody knows which
model the server has, so the caller asks again. If the server keeps its list to itself, but answers a question, it
counts as a server without a list.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rbr.grading.server.address import Address
from rbr.grading.server.advice import problem_of
from rbr.grading.server.connection import Connection, HttpReply, open_connection, run_to_end
from rbr.grading.server.failures import MAY_PASS, Failure, FailureKind, failure_of
from rbr.grading.server.patience import LONGEST_PAUSE
from rbr.grading.server.unlisted_model import answers_a_question

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

_IDENTITY = (
    "id", "root", "parent", "max_model_len", "context_length", "context_window", "max_context_length", "owned_by",
    "quantization", "dtype", "digest", "revision", "version", "hugging_face_id", "canonical_slug", "meta",
)  # fmt: skip
"""Fields that say which model it is. Other fields, such as the time of the start, change while the model does not."""

_HAS_NO_LIST = (404, 405, 501)
_TIMEOUT_S = 10.0
_SHORTEST_TIMEOUT_S = 1.0
_FIRST_PAUSE_S = 0.2
_TRIES = 3  # A proxy can answer anything once.
_TRIES_OF_A_PAGE = 5  # 3 seconds: a proxy can show a page while the server starts.

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What a server says about its models.

    Attributes:
        identity: The fields that say which model the name means; empty if the server says nothing about the name.
        names: Names of all models that the server lists.

    Example:
        >>> Listing({"id": "judge"}, ("judge",)).names
        ('judge',)
    """

    identity: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def require_served_model(
    settings: "GraderSettings", wait_s: float = 0.0, on_wait: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Returns what the server says of the model that `model_name` names. Waits for a server that does not say it yet.

    A server with a single model, such as llama.cpp, uses it for every name, so its entry is returned for every name.

    Args:
        settings: Section `grader` of a profile.
        wait_s: How long to wait, in seconds.
        on_wait: Called with a note for the progress line before each pause; None logs the note.

    Returns:
        The fields that say which model it is; empty if the server says nothing about the name.

    Raises:
        InputError: `base_url` or `model_name` is missing or malformed, or the server rejects the key or the request. A
            server that rejects only the request for its list says nothing about the name.
        ServerAway: The server is away or still loading, or its list of models stays unreadable.

    Example:
        >>> from rbr.profile import load_profile
        >>> require_served_model(load_profile("profiles/gpu.yaml").grader, wait_s=600)  # doctest: +SKIP
        {'id': 'grader', 'max_model_len': 4096, 'owned_by': 'vllm', 'root': '/models/judge'}
    """
    address = Address.of(settings)

    async def ask() -> Listing | Failure:
        left = max(started + wait_s - time.monotonic(), _SHORTEST_TIMEOUT_S) if wait_s else _TIMEOUT_S
        async with open_connection(address, settings.timeout_s, 1) as connection:
            return await read_listing(connection, settings, min(settings.timeout_s, left))

    async def is_answered() -> bool:
        async with open_connection(address, settings.timeout_s, 1) as connection:
            return await answers_a_question(connection, settings)

    started = time.monotonic()
    pause, tries, rejections, pages = _FIRST_PAUSE_S, 0, 0, 0
    while isinstance(listing := run_to_end(ask()), Failure):
        tries += 1
        rejections = 0 if listing.kind in MAY_PASS else rejections + 1
        pages = pages + 1 if listing.status == 200 and listing.kind is FailureKind.REJECTED else 0
        is_late = time.monotonic() + pause > started + wait_s and not rejections
        is_lasting = rejections >= (_TRIES_OF_A_PAGE if pages else _TRIES)
        has_tried = tries >= _TRIES or listing.kind is FailureKind.TIMEOUT
        if (is_late and has_tried) or is_lasting or (listing.status is None and (rejections or not wait_s)):
            if is_lasting and listing.status is not None and run_to_end(is_answered()):
                _log.warning("The server at %s has no list of models (GET /models: %s).", address.base_url, listing)
                return {}
            problem = problem_of(listing, settings, address)
            is_other_content = listing.status == 200
            hint = "Check grader.base_url: GET /models has to answer with a list." if is_other_content else problem.hint
            raise address.problem(f"GET /models: {problem.what}", hint, type(problem))
        waited = f"waiting since {time.monotonic() - started:.0f} s of {wait_s:.0f} s"
        note = f"the server at {address.base_url} does not say which model it has, {waited} (GET /models: {listing})"
        (on_wait or _log.warning)(note)
        time.sleep(pause)
        pause = min(2 * pause, max(wait_s * LONGEST_PAUSE, _FIRST_PAUSE_S))
    return dict(listing.identity)


async def read_listing(
    connection: Connection, settings: "GraderSettings", timeout_s: float | None = None
) -> Listing | Failure:
    """Asks a server once which models it has.

    llama.cpp does not list the file of the weights, so `read_listing` adds the `model_path` of its ``/props``.

    Args:
        connection: Connections to the server.
        settings: Section `grader` of a profile.
        timeout_s: Timeout of the request, in seconds; None for that of the settings, and 10 at most.

    Returns:
        The listing, or the reason why nobody knows what the server has. That is a reply that is no list of models.

    Example:
        >>> async def names(address, settings):
        ...     async with open_connection(address, timeout_s=5, max_connections=1) as connection:
        ...         listing = await read_listing(connection, settings)
        ...         return listing.names if isinstance(listing, Listing) else listing.words
    """
    model_name = settings.model_name or ""
    timeout_s = timeout_s or min(settings.timeout_s, _TIMEOUT_S)
    reply = await connection.get("/models", timeout_s)
    if isinstance(reply, Failure):
        return reply
    if reply.status in _HAS_NO_LIST:
        return Listing()
    entries = _entries(reply)
    if entries is None:
        return _failure(reply, connection, model_name)
    entry = _entry_of(model_name, entries)
    identity = {key: entry[key] for key in sorted(entry) if key in _IDENTITY and entry[key] is not None}
    if entry.get("owned_by") == "llamacpp":
        if "meta" in entry and entry["meta"] is None:
            return Failure(FailureKind.AWAY, "the model is still loading")
        path = await _model_path(connection, model_name, timeout_s)
        if isinstance(path, Failure):
            return path
        identity |= path
    # The identity is stored, and shown by `rbr plan`.
    return Listing(connection.address.without_key(identity), tuple(entry["id"] for entry in entries))


def is_name_of(listed: str, model_name: str) -> bool:
    """Returns whether a listed name is the model's name. Ollama lists ``judge`` as ``judge:latest``.

    Example:
        >>> is_name_of("judge:latest", "judge"), is_name_of("judge:7b", "judge")
        (True, False)
    """
    return listed in (model_name, f"{model_name}:latest")


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns the fields whose values differ. A field that one of the two lacks says nothing.

    Example:
        >>> changes({"root": "/models/a", "meta": {"size": 1}}, {"root": "/models/b", "owned_by": "vllm"})
        ["root '/models/a' -> '/models/b'"]
        >>> changes({"meta": {"size": 1}}, {"meta": {"size": 2}})
        ['meta.size 1 -> 2']
    """
    found: list[str] = []
    for key in sorted(before.keys() & now.keys()):
        old, new = before[key], now[key]
        if old is None or new is None:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{key}.{change}" for change in changes(old, new)]
        elif old != new:
            found.append(f"{key} {old!r} -> {new!r}")
    return found


def _entries(reply: HttpReply) -> list[Mapping[str, Any]] | None:
    """Returns the entries of ``/models``; None if the reply is no list of models."""
    content = _json(reply)
    data = content.get("data") if isinstance(content, Mapping) else content  # Together answers with a bare list.
    if not isinstance(data, list):
        return None
    return [entry for entry in data if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)]


def _entry_of(model_name: str, entries: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    named = sorted((entry for entry in entries if is_name_of(entry["id"], model_name)), key=lambda entry: entry["id"])
    return named[0] if named else entries[0] if len(entries) == 1 else {}


async def _model_path(connection: Connection, model_name: str, timeout_s: float) -> dict[str, Any] | Failure:
    reply = await connection.get("/props", timeout_s, above_api=True)
    if isinstance(reply, Failure):
        return reply
    if reply.status in _HAS_NO_LIST:
        return {}
    content = _json(reply)
    if content is None:
        return _failure(reply, connection, model_name)
    path = content.get("model_path") if isinstance(content, Mapping) else None
    return {"model_path": path} if isinstance(path, str) and path else {}


def _json(reply: HttpReply) -> Any:
    """Returns the JSON of a reply; None if it has another status than 200 or is cut."""
    return reply.json() if reply.status == 200 else None


def _failure(reply: HttpReply, connection: Connection, model_name: str) -> Failure:
    failure = failure_of(reply.status, reply.body, reply.headers, model_name)
    words = connection.address.redact(failure.words)
    if reply.status != 200:
        return replace(failure, words=words)
    # A body that is cut is not a page: the next one may be whole.
    is_cut = reply.json() is None and reply.body.lstrip()[:1] in (b"{", b"[")
    kind = failure.kind if is_cut or not reply.body.strip() else FailureKind.REJECTED
    return replace(failure, kind=kind, words=f"no list of models: {words}")
