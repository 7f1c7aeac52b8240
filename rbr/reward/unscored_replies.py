"""Counts the replies that got no reward, by cause, so that an error can say why."""

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 160  # characters of an example


@dataclass
class UnscoredReplies:
    """The number of replies without a reward by cause, with the first example of each cause.

    Attributes:
        counts: Number of replies by cause.
        examples: Text of the first reply's reason, by cause; causes without a reason are left out.

    Example:
        >>> unscored = UnscoredReplies()
        >>> unscored.add("had an unreadable answer", "likeliest tokens: '<think>' 0.980")
        >>> unscored.add("had an unreadable answer", "likeliest tokens: 'The' 0.710")
        >>> str(unscored)
        "2 had an unreadable answer (the first: likeliest tokens: '<think>' 0.980)"
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, cause: str, reason: str = "") -> None:
        """Counts a reply.

        Args:
            cause: The cause as a predicate, such as ``had an unreadable answer``.
            reason: Details of this reply, such as the words of a server; empty if there are none.
        """
        self.counts[cause] += 1
        if reason:
            self.examples.setdefault(cause, reason[:_SHOWN])

    def __str__(self) -> str:
        parts = []
        for cause, count in self.counts.most_common():
            example = f" (the first: {self.examples[cause]})" if cause in self.examples else ""
            parts.append(f"{count:,} {cause}{example}")
        return "; ".join(parts) or "none"
