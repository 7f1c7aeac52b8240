"""What the backends have in common: equal texts are graded once, and long prompts are not graded."""

from collections.abc import Hashable, Iterable, Sequence

from rbr.conversation import Conversation
from rbr.grading.answers import Answer, Answers, Outcome


def group_equal(keys: Iterable[Hashable]) -> list[list[int]]:
    """Groups the positions of equal keys, in the order of their first position.

    Example:
        >>> group_equal(["a", "b", "a"])
        [[0, 2], [1]]
    """
    positions: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, []).append(position)
    return list(positions.values())


def distinct_conversations(conversations: Sequence[Conversation]) -> list[list[int]]:
    """Groups the rows of equal conversations, in the order of their first row.

    Example:
        >>> hi, bye = [{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Bye"}]
        >>> distinct_conversations([hi, bye, hi])
        [[0, 2], [1]]
    """
    return group_equal(tuple((turn["role"], turn["content"]) for turn in messages) for messages in conversations)


def put(answers: Answers, rows: Sequence[int], column: int, answer: Answer) -> None:
    """Stores the answer to a question about equal conversations.

    Example:
        >>> answers = Answers.none(conversations=2, questions=1)
        >>> put(answers, rows=[0, 1], column=0, answer=Answer(Outcome.ANSWERED, p_yes=0.9))
        >>> answers.p_yes.tolist()
        [[0.9], [0.9]]
    """
    for row in rows:
        answers[row, column] = answer


def too_long(tokens: int, limit: int) -> Answer:
    """Returns the answer to a prompt that exceeds the context of the model.

    Example:
        >>> too_long(600, limit=512).reason
        'the prompt has 600 tokens, and the grader reads at most 512'
    """
    reason = f"the prompt has {tokens} tokens, and the grader reads at most {limit}"
    return Answer(Outcome.UNREADABLE, reason=reason)
