"""Ids of completions: a hash of everything that determines the text of a completion.

A completion is sampled once and stored under its id. The id covers the prompt, the instruction, the policy's
weights, the sampling settings and the candidate's index. The random seed is derived from the id.
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
    """Returns the id of a completion.

    Args:
        prompt_id: Id of the prompt; two prompts never share a completion, even if their messages are equal.
        messages: The prompt as the policy reads it, including the instruction.
        policy: Fingerprint of the policy's weights.
        sampling: `sampling_key` of the sampling settings.
        candidate: Index among the completions of the same prompt, policy and sampling settings, from 0.

    Returns:
        16 hexadecimal characters.

    Example:
        >>> sampling = sampling_key({"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64, "seed": 0})
        >>> completion_id("egg", [{"role": "user", "content": "How do I boil an egg?"}], "policy", sampling, 0)
        'f6e85b347cd16f88'
    """
    return content_hash(["completion", prompt_id, list(messages), policy, sampling, candidate])


def sampling_key(settings: Mapping[str, float | int | str]) -> str:
    """Returns the hash of sampling settings.

    Args:
        settings: Every setting that changes a sampled text: temperature, top_p, max_new_tokens and seed. The batch
            size changes the speed only and must be left out.

    Returns:
        16 hexadecimal characters.

    Example:
        >>> sampling_key({"temperature": 1.0, "seed": 0}) == sampling_key({"seed": 0, "temperature": 1.0})
        True
    """
    return content_hash(["sampling", dict(settings)])


def completion_seed(completion_id: str) -> int:
    """Returns the random seed of a completion, in [0, 2**63).

    Example:
        >>> completion_seed("0f1e2d3c4b5a6978") == completion_seed("0f1e2d3c4b5a6978")
        True
    """
    return int(content_hash(["seed", completion_id]), 16) >> 1
