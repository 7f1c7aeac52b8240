"""Finds out whether a server cuts long prompts without a word, as Ollama does beyond its `num_ctx`.

A server that cuts reports the same number of tokens for every prompt that is too long. So the longest prompt of a call
is sent again with more text. If the number does not grow, the server has cut it, and every prompt with that number.
The length in characters would not tell: text, code and other scripts have very different numbers of tokens.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

from rbr.grading.answers import Answer, Answers, Outcome
from rbr.grading.server.asking import Asker
from rbr.grading.server.failures import Failure, FailureKind
from rbr.grading.server.requests import Requests

_SHORT = 200  # tokens; no server cuts so early
_SAME = 2  # tokens
_FEWEST_WORDS = 64
_SHARE = 4  # The longer prompt has at least a quarter more text, so few prompts are sent again.
_REFUSALS = (FailureKind.TOO_LONG, FailureKind.REJECTED)

Cell = tuple[int, int]
"""Row and column of a question."""


class PromptCuts:
    """What is known of the longest prompt that a server reads whole, for all calls of a grader.

    Example:
        >>> cuts = PromptCuts()
        >>> cuts.longest({(0, 0): 150, (0, 1): 900})
        (0, 1)
        >>> cuts.longest({(0, 0): 150}) is None
        True
    """

    def __init__(self) -> None:
        self._whole_up_to: float = _SHORT  # tokens

    def longest(self, n_tokens: Mapping[Cell, int]) -> Cell | None:
        """Returns the question with the longest prompt; None if the server reads prompts of this length whole."""
        longest = max(n_tokens, key=lambda cell: n_tokens[cell], default=None)
        return longest if longest is not None and n_tokens[longest] > self._whole_up_to else None

    async def mark(
        self, answers: Answers, n_tokens: Mapping[Cell, int], asker: Asker, requests: Requests, prompt: tuple[str, str]
    ) -> None:
        """Sends the longest prompt with more text, and marks the answers to prompts that were cut as unreadable.

        Args:
            answers: The answers of a call; changed in place.
            n_tokens: Number of tokens of each prompt, as the server has reported it.
            asker: Sends the request.
            requests: Writes the request.
            prompt: First and second part of the longest prompt.
        """
        reported = max(n_tokens.values())
        conversation, question = prompt
        # In front of the prompt: a server with a cache may report only the tokens that are new.
        more = "word " * max(_FEWEST_WORDS, reported // _SHARE)
        # Once: if the server cannot answer this, the next call tries again.
        reply = await asker.send(requests.path, requests.body(requests.start(more + conversation), [question]))
        if isinstance(reply, Failure):
            if reply.kind in _REFUSALS:
                self._whole_up_to = inf  # The server refuses what is too long.
            return
        longer = tokens_of(reply)
        if longer is None or longer > reported + _SAME:
            self._whole_up_to = inf if longer is None else longer - 1
            return
        if longer < reported - _SAME:
            return  # The server counts in a way that says nothing.
        for cell, number in n_tokens.items():
            if number >= longer - _SAME and answers[cell].outcome is Outcome.ANSWERED:
                answers[cell] = Answer(Outcome.UNREADABLE, reason=f"the server cut the prompt to {number} tokens")


def tokens_of(content: Mapping[str, Any]) -> int | None:
    """Returns the number of tokens of a prompt that an answer reports; None if it reports none.

    Example:
        >>> tokens_of({"usage": {"prompt_tokens": 41}}), tokens_of({"usage": None})
        (41, None)
    """
    usage = content.get("usage")
    number = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None
