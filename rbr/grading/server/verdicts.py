"""Keeps verdicts in doubt until it is sure that they are about one conversation.

A verdict is a refusal, a prompt that is too long, or an answer without a word. If a filter, a limit or a server strikes
everything from some moment on, each reply looks like a verdict about one conversation.
"""

import time

_BEFORE_CHECK = 4  # verdicts in a row


class Verdicts:
    """The verdicts that nothing has confirmed yet.

    A verdict is confirmed once the server has answered a question that was sent after the verdict came.

    Attributes:
        in_doubt: When each verdict came, by row and column.

    Example:
        >>> verdicts = Verdicts()
        >>> verdicts.add((0, 0))
        >>> verdicts.confirm(sent_at=time.monotonic())
        >>> verdicts.in_doubt
        {}
    """

    def __init__(self) -> None:
        self.in_doubt: dict[tuple[int, int], float] = {}
        self._in_a_row = 0

    def add(self, cell: tuple[int, int]) -> None:
        """Adds a verdict."""
        self.in_doubt[cell] = time.monotonic()
        self._in_a_row += 1

    def confirm(self, sent_at: float) -> None:
        """Says that the server has answered a question, such as the probe's.

        Args:
            sent_at: When the question was sent, by `time.monotonic`.
        """
        if self.in_doubt:
            self.in_doubt = {cell: came_at for cell, came_at in self.in_doubt.items() if came_at > sent_at}

    def answered(self, sent_at: float) -> None:
        """Says that the server has answered a question of the caller; arguments as for `confirm`."""
        self._in_a_row = 0
        self.confirm(sent_at)

    def is_time_to_check(self) -> bool:
        """Returns whether the number of verdicts in a row has doubled since the last check."""
        return self._in_a_row >= _BEFORE_CHECK and self._in_a_row & (self._in_a_row - 1) == 0
