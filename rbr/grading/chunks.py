"""How many conversations are graded between two writes of their answers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

BATCHES_PER_CHUNK = 4
"""Number of batches of a model in process between two writes."""

_REQUESTS_IN_TURN = 8  # requests that each connection of a server sends between two writes


def conversations_per_chunk(settings: "GraderSettings", n_questions: int) -> int:
    """Returns the number of conversations to grade between two writes of the answers.

    The answers of a chunk are lost if the process is killed. At the end of a chunk, a server runs out of work for a
    moment, so a chunk has several requests for each connection.

    Args:
        settings: Section `grader` of a profile.
        n_questions: Number of questions about each conversation, at least 1.

    Example:
        >>> from rbr.profile import load_profile
        >>> settings = load_profile("profiles/gpu.yaml").grader
        >>> settings.backend, settings.endpoint, settings.max_concurrency
        ('openai', 'chat', 64)
        >>> conversations_per_chunk(settings, n_questions=8)
        64
    """
    in_batches = max(settings.batch_size // n_questions, 1) * BATCHES_PER_CHUNK
    if settings.backend != "openai":
        return in_batches
    # A chat asks one question. A completions request asks all questions about a conversation.
    requests = n_questions if settings.endpoint == "chat" else 1
    return min(in_batches, max(_REQUESTS_IN_TURN * settings.max_concurrency // requests, 1))
