"""Detects that the user asked a run to stop.

During a run, Dagster installs its own signal handlers and reports a signal as a failed run. Python writes every signal
to its wake-up file descriptor, whichever handler is installed. This module reads the signals from there.
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Listens for SIGINT and SIGTERM. Outside a Dagster run, both signals raise KeyboardInterrupt at once.

    Yields:
        A function that returns True if one of the signals has arrived since the start.
    """
    reader, writer = socket.socketpair()
    received = False

    def stop_requested() -> bool:
        nonlocal received
        with suppress(BlockingIOError):
            received = received or not _STOP_SIGNALS.isdisjoint(reader.recv(4096))
        return received

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        sigterm_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
        wakeup_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield stop_requested
        finally:
            signal.set_wakeup_fd(wakeup_descriptor)
            signal.signal(signal.SIGTERM, sigterm_handler)
