"""Patience with a server: all requests slow down together, pause together, and wait for a server that is away.

`Patience` decides when the next request may start. It has three measures:

- After a rate limit or an overload, it halves the number of concurrent requests. The number doubles with each round of
  answers up to half of what it was before the trouble, and then grows by one a round.
- If the server asks for a pause, or fails again and again, no request starts until the pause is over. If the pause is
  long and other requests are answered meanwhile, it was not meant for all requests, and ends.
- If nobody answers at the address, one worker polls the server with growing pauses, and the others wait.

The patience ends if no answer has come for `wait_s` seconds since the trouble began. All pauses scale with `wait_s`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

FAILURES_BEFORE_POLLING = 3
"""Number of failed rounds in a row after which an overloaded server counts as away. Requests that were on their way
together are one round."""

LONGEST_PAUSE = 1 / 40
"""The longest pause between two tries, in units of `wait_s`: 15 s of 600 s."""

_FIRST_PAUSE = 1 / 1200  # in units of `wait_s`: 0.5 s of 600 s
_SHOWN_PAUSE_S = 1.0
_SHOWN_TROUBLE_S = 10.0


class Patience:
    """Decides when requests may start, for all workers of one call.

    Args:
        wait_s: How long to wait for an answer after the trouble began, in seconds.
        max_concurrency: Maximum number of concurrent requests.
        say: Called with a note for the progress line; the note is empty once the trouble is over.

    Example:
        >>> patience = Patience(wait_s=600, max_concurrency=16, say=print)
        >>> patience.slow_down()
        >>> patience.allowed
        8
    """

    def __init__(self, wait_s: float, max_concurrency: int, say: Callable[[str], None] = lambda note: None) -> None:
        self.wait_s = wait_s
        self.first_pause = wait_s * _FIRST_PAUSE
        self.longest_pause = wait_s * LONGEST_PAUSE
        self.n_answered = 0
        self.failures_in_a_row = 0
        self._max = max_concurrency
        self._limit = float(max_concurrency)
        self._fast_up_to = max_concurrency / 2  # Up to here, the limit doubles with each round of answers.
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tell = say
        self._has_said = False
        self._trouble_since: float | None = None
        self._is_over = False
        self._paused_until = 0.0
        self._may_end_pause = False
        self._unpaused = asyncio.Event()
        self._failed_at = 0.0
        self._pause = self.first_pause
        self._is_polling = False
        self._slowed_at = 0.0

    @property
    def allowed(self) -> int:
        """Number of requests that may run at the same time."""
        return max(1, int(self._limit))

    @property
    def waited(self) -> float:
        """Seconds since the trouble began; 0 if there is none."""
        return 0.0 if self._trouble_since is None else time.monotonic() - self._trouble_since

    @property
    def is_over(self) -> bool:
        """Whether a request has failed after `wait_s` seconds of trouble, or the server asks for a longer pause."""
        return self._is_over

    async def enter(self) -> None:
        """Waits until another request may start. Call `leave` after it."""
        while not self.is_over:
            pause = self._paused_until - time.monotonic()
            if pause <= 0 and not self._is_polling and self._running < self.allowed:
                break
            if pause > 0 and not self._is_polling:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._unpaused.wait(), pause)
                continue
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self._running += 1

    def leave(self) -> None:
        """Says that a request has ended."""
        self._running -= 1
        self._wake()

    def answered(self) -> None:
        """Says that the server has answered: the trouble is over, and more requests may run."""
        self.n_answered += 1
        self._is_over = False
        if self._may_end_pause:
            self._end_pause()
        if self._trouble_since is not None:
            self._trouble_since = None
            self.failures_in_a_row = 0
            self._pause = self.first_pause
            if self._has_said:
                self._has_said = False
                self._tell("")
        if self._limit < self._max:
            self._limit = min(self._max, self._limit + (1.0 if self._limit < self._fast_up_to else 1.0 / self._limit))

    def failed(self, sent_at: float = float("inf")) -> None:
        """Says that a request got no answer.

        Args:
            sent_at: When the request was sent, by `time.monotonic`.
        """
        if sent_at >= self._failed_at:
            self._failed_at = time.monotonic()
            self.failures_in_a_row += 1
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
        self._check()

    def slow_down(self, sent_at: float = float("inf")) -> None:
        """Halves the number of concurrent requests, once for all requests that were on their way together.

        Args:
            sent_at: When the request was sent, by `time.monotonic`.
        """
        if sent_at >= self._slowed_at:
            if self._limit > self._fast_up_to + 1:  # Else the last trouble is not over yet.
                self._fast_up_to = self._limit / 2
            self._slowed_at = time.monotonic()
            self._limit = max(1.0, self._limit / 2)

    def can_wait(self, seconds: float) -> bool:
        """Returns whether a pause that the server asks for fits into the patience that is left.

        Before the first answer, a longer pause ends the patience. Later, a single request may be meant.
        """
        if seconds <= self.wait_s - self.waited:
            return True
        self._is_over = self._is_over or not self.n_answered
        return False

    def pause(self, seconds: float, why: str) -> None:
        """Lets no request start for some seconds, at most until the patience is over."""
        until = time.monotonic() + min(seconds, max(0.0, self.wait_s - self.waited))
        if until > self._paused_until:
            self._paused_until = until
            self._may_end_pause = seconds > self.longest_pause
            self._unpaused.clear()
        if seconds >= _SHOWN_PAUSE_S:
            self._say(f"{why}, waiting {seconds:.0f} s")

    def common_backoff(self) -> float:
        """Returns how long all requests wait after a failed round: longer the longer the trouble lasts, and random."""
        return min(self.longest_pause, max(self.first_pause, self.waited / 3)) * random.uniform(0.5, 1.0)

    def backoff(self, tries: int) -> float:
        """Returns how long to wait before a request is sent again, in seconds: longer after each try, and random."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(tries - 1, 30)) * random.uniform(0.5, 1.0)

    async def wait_for_server(self, is_up: Callable[[], Awaitable[bool]], name: str) -> None:
        """Polls a server until it is up or the patience is over; if another worker polls already, returns at once.

        Args:
            is_up: Asks the server.
            name: Address of the server, for the note.
        """
        if self._is_polling:
            return
        self._is_polling = True
        try:
            while not self.is_over:
                self._say(
                    f"the server at {name} has not answered for {self.waited:.0f} s; waiting up to {self.wait_s:.0f} s"
                )
                await asyncio.sleep(min(self._pause, self.wait_s - self.waited + 0.001) if self.wait_s else 0)
                self._pause = min(self.longest_pause, self._pause * 2)
                if await is_up():
                    break
                self._check()
        finally:
            # One request tries whether the server answers, before all do.
            self._limit = 1.0
            self._fast_up_to = self._max / 2
            self._is_polling = False
            self._wake(everyone=self.is_over)

    def tell_if_long(self, what: str) -> None:
        """Says what the trouble is, if it lasts longer than some seconds."""
        if self.waited >= _SHOWN_TROUBLE_S:
            self._say(f"{what}, trying since {self.waited:.0f} s of {self.wait_s:.0f} s")

    def stop_waiting(self) -> None:
        """Wakes every worker that waits in `enter`, because the call ends."""
        self._end_pause()
        self._wake(everyone=True)

    def _end_pause(self) -> None:
        self._paused_until = 0.0
        self._may_end_pause = False
        self._unpaused.set()

    def _say(self, note: str) -> None:
        self._has_said = True
        self._tell(note)

    def _check(self) -> None:
        self._is_over = self._is_over or self.waited > self.wait_s

    def _wake(self, everyone: bool = False) -> None:
        free = len(self._waiting) if everyone else self.allowed - self._running
        while self._waiting and free > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
