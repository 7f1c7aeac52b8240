"""Sends one request to a server, and returns its reply or the reason why there is none."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from rbr.grading.server.address import Address
from rbr.grading.server.failures import Failure, FailureKind

Result = TypeVar("Result")

_CONNECT_TIMEOUT_S = 10.0
_SHOWN = 200  # characters of an exception


@dataclass(frozen=True)
class HttpReply:
    """What a server answered.

    Attributes:
        status: HTTP status.
        body: Body of the reply.
        headers: Headers of the reply.

    Example:
        >>> HttpReply(200, b"{}", {}).json()
        {}
    """

    status: int
    body: bytes
    headers: Any

    def json(self) -> Any:
        """Returns the body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Connection:
    """Open connections to a server, inside one event loop. `open_connection` opens them.

    Example:
        >>> async def names(address):
        ...     async with open_connection(address, timeout_s=5, max_connections=1) as connection:
        ...         return await connection.get("/models")
    """

    def __init__(self, session: aiohttp.ClientSession, address: Address) -> None:
        self._session = session
        self.address = address

    async def get(self, path: str, timeout_s: float | None = None, *, above_api: bool = False) -> HttpReply | Failure:
        """Sends a GET request. Never raises for what the network or the server does.

        Args:
            path: Path below the API, such as ``/models``.
            timeout_s: Timeout in seconds; None for that of the connection.
            above_api: Whether the path is beside ``/v1`` instead of below it.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s) if timeout_s else None
        return await self._request("GET", self.address.url(path, above_api), None, timeout)

    async def post(self, path: str, body: bytes) -> HttpReply | Failure:
        """Sends JSON with POST. Never raises for what the network or the server does."""
        return await self._request("POST", self.address.url(path), body, None)

    async def _request(
        self, method: str, url: str, body: bytes | None, timeout: aiohttp.ClientTimeout | None
    ) -> HttpReply | Failure:
        options: dict[str, Any] = {"timeout": timeout} if timeout else {}
        try:
            # A redirected POST can lose its body, so the client does not follow.
            async with self._session.request(method, url, data=body, allow_redirects=False, **options) as reply:
                return HttpReply(reply.status, await reply.read(), reply.headers)
        except aiohttp.ConnectionTimeoutError:
            return Failure(FailureKind.AWAY, words="no connection in time")
        except TimeoutError:
            seconds = timeout.total if timeout else self._session.timeout.total
            return Failure(FailureKind.TIMEOUT, words=f"no answer within {round(seconds or 0.0, 2):g} s")
        except aiohttp.ClientConnectorDNSError as error:
            return Failure(FailureKind.BAD_ADDRESS, words=f"the host {error.host} is unknown")
        except aiohttp.ClientSSLError as error:
            return Failure(FailureKind.BAD_ADDRESS, words=f"TLS does not work: {self._words(error)}")
        except aiohttp.ClientConnectorError as error:
            return Failure(FailureKind.AWAY, words=f"no connection: {error.strerror or error.os_error}")
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            return Failure(FailureKind.BAD_ADDRESS, words=f"not an address: {self._words(error)}")
        except (aiohttp.ClientError, OSError) as error:
            return Failure(FailureKind.PASSING, words=f"the connection was lost: {self._words(error)}")

    def _words(self, error: Exception) -> str:
        """Returns an exception in words. A message about broken HTTP repeats what the server sent, so it is cut."""
        words = " ".join(self.address.redact(str(error)).split()) or type(error).__name__
        return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


@asynccontextmanager
async def open_connection(address: Address, timeout_s: float, max_connections: int) -> AsyncIterator[Connection]:
    """Opens up to `max_connections` connections; a request that takes longer than `timeout_s` seconds fails."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", **address.key_header}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_connections, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy(address.base_url),
    ) as session:
        yield Connection(session, address)


def _proxy(url: str) -> str | None:
    """Returns the proxy that the environment names for the address. Looking it up for each request would be slow."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine and returns its result, also if the calling thread already runs an event loop.

    If the caller is interrupted, for example by Ctrl+C, the coroutine is canceled and does not go on waiting.

    Example:
        >>> async def answer():
        ...     return 42
        >>> run_to_end(answer())
        42
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # A thread cannot run two event loops.
    loop = asyncio.new_event_loop()

    def run() -> Result:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                return runner.run(work)
        finally:
            loop.close()

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(run)
        try:
            return future.result()
        except BaseException:
            if not future.done() and not loop.is_closed():
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
            raise
