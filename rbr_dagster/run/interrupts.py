"""Whether the user asked to stop.

While a run is on, Dagster puts signal handlers of its own in place, and what they catch ends as a failed run. The
wake-up descriptor sees every signal whoever handles it.
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STOP = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Listens for SIGINT and SIGTERM; outside a Dagster run either raises KeyboardInterrupt at once.

    Yields:
        Tells whether one has come since.
    """
    reader, writer = socket.socketpair()
    received = False

    def requested() -> bool:
        nonlocal received
        with suppress(BlockingIOError):
            received = received or not _STOP.isdisjoint(reader.recv(4096))
        return received

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield requested
        finally:
            signal.set_wakeup_fd(descriptor)
            signal.signal(signal.SIGTERM, before)
