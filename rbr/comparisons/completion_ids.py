"""Cells: rows that are named by everything they were made from, and therefore made once, ever.

A completion's name covers the prompt, the instruction, the policy's weights, the sampling settings and
the candidate's index; its random seed is derived from that name. A grade is named by completion,
question and grader, a score by completion and reward model.
"""

from collections.abc import Mapping

from rbr.conversation import Conversation, Message
from rbr.hashing import content_hash


def completion_id(
    prompt_id: str,
    messages: tuple[Message, ...] | Conversation,
    policy: str,
    sampling: str,
    candidate: int,
) -> str:
    """Names a completion.

    Args:
        prompt_id: The prompt without an instruction; two prompts never share a row.
        messages: The prompt as the policy reads it, with the instruction rendered into it.
        policy: Fingerprint of the policy's weights.
        sampling: `sampling_key` of the sampling settings.
        candidate: Index among the completions sampled alike, from 0.

    Returns:
        16 hexadecimal characters.
    """
    return content_hash(["completion", prompt_id, list(messages), policy, sampling, candidate])


def sampling_key(settings: Mapping[str, float | int | str]) -> str:
    """Names sampling settings: temperature, top_p, max_new_tokens, seed, and whatever else moves a sample.

    Batch size and the like must stay out: they change the speed, not the text.
    """
    return content_hash(["sampling", dict(settings)])


def seed_of(completion_id: str) -> int:
    """Random seed of a completion, in [0, 2**63)."""
    return int(content_hash(["seed", completion_id]), 16) >> 1
