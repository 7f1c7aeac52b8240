"""What the in-process backends have in common: equal conversations are graded once, and long prompts are not graded."""

from collections.abc import Sequence

from rbr.conversation import Conversation
from rbr.grading.answers import Answer, Outcome


def distinct_conversations(conversations: Sequence[Conversation]) -> list[list[int]]:
    """Groups the rows of equal conversations, in the order of their first row.

    Example:
        >>> hi, bye = [{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Bye"}]
        >>> distinct_conversations([hi, bye, hi])
        [[0, 2], [1]]
    """
    rows: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for row, messages in enumerate(conversations):
        rows.setdefault(tuple((turn["role"], turn["content"]) for turn in messages), []).append(row)
    return list(rows.values())


def too_long(tokens: int, limit: int) -> Answer:
    """Returns the answer to a prompt that exceeds the context of the model.

    Example:
        >>> too_long(600, limit=512).reason
        'the prompt has 600 tokens, and the grader reads at most 512'
    """
    reason = f"the prompt has {tokens} tokens, and the grader reads at most {limit}"
    return Answer(Outcome.UNREADABLE, reason=reason)
