"""Chooses replies to label: of every class, half of them where the grader is least sure, half of them by chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbr.hashing import content_hash


@dataclass(frozen=True)
class Candidate:
    """A stored reply that may be labeled.

    Attributes:
        completion_id: Id of the reply.
        prompt_id: Id of its prompt.
        stratum: Group of similar replies, such as response type and class. All groups get labels equally often.
        certainty: How far the grader's closest answer is from its threshold, in [0, 0.5]; None if the reply has no
            grade.

    Example:
        >>> Candidate("c", "p", "comply: ideal", 0.02).certainty
        0.02
    """

    completion_id: str
    prompt_id: str
    stratum: str
    certainty: float | None


def choose_replies(candidates: Sequence[Candidate], number: int, seed: int) -> list[str]:
    """Chooses replies, deterministically.

    The strata take turns. Within a stratum, every second reply is the one about which the grader is least sure, and the
    others are in a random order. Only the second kind says how good the grader is on average, and only the first kind
    shows where it fails. As long as there are prompts without a chosen reply, no prompt gets a second one.

    Args:
        candidates: The replies; their order does not matter.
        number: Largest number of replies.
        seed: Determines the random order.

    Returns:
        Ids of at most `number` replies, in the order in which they were chosen.

    Example:
        >>> replies = [Candidate(f"c{n}", f"p{n}", "ideal" if n else "rare", n / 20) for n in range(10)]
        >>> choose_replies(replies, 3, seed=0)[:2]
        ['c1', 'c0']
    """
    chosen: dict[str, Candidate] = {}
    used_prompts: set[str] = set()
    for may_repeat_prompt in (False, True):
        queues = {
            stratum: _alternating([one for one in candidates if one.stratum == stratum], seed)
            for stratum in sorted({one.stratum for one in candidates})
        }
        while queues and len(chosen) < number:
            for stratum in list(queues):
                candidate = next(
                    (
                        one
                        for one in queues[stratum]
                        if one.completion_id not in chosen and (may_repeat_prompt or one.prompt_id not in used_prompts)
                    ),
                    None,
                )
                if candidate is None:
                    del queues[stratum]
                elif len(chosen) < number:
                    chosen[candidate.completion_id] = candidate
                    used_prompts.add(candidate.prompt_id)
    return list(chosen)


def _alternating(stratum: Sequence[Candidate], seed: int) -> Iterator[Candidate]:
    """Yields the replies of a stratum twice over: the least certain one, one by chance, the next least certain, ..."""
    by_chance = sorted(stratum, key=lambda one: content_hash([seed, one.completion_id]))
    graded = [one for one in by_chance if one.certainty is not None]
    least_certain = sorted(graded, key=lambda one: (one.certainty, one.completion_id))
    for position, candidate in enumerate(by_chance):
        if position < len(least_certain):
            yield least_certain[position]
        yield candidate
