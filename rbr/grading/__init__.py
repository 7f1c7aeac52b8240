"""Graders: yes/no questions about a reply, answered as probabilities (paper section 1)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation
from rbr.grading.prompt import Question, question_hash, render_prompt

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

__all__ = ["Grader", "Question", "open_grader", "question_hash", "render_prompt"]


class Grader(Protocol):
    """Answers questions about conversations."""

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        """Asks every question about every conversation.

        Args:
            conversations: Each ends in the assistant turn that is judged, or in the user turn where the
                questions are about the prompt.
            questions: What is asked of each.
            on_progress: Called now and then with the number of conversations done so far.

        Returns:
            float64[conversations, questions] of P(yes) / (P(yes) + P(no)) in [0, 1]; NaN where the
            answer could not be read. A cell does not depend on what else is graded with it.
        """
        ...


def open_grader(ref: "ModelRef", settings: "GraderSettings") -> Grader:
    """Opens a grader with the backend that the settings name; imports nothing of the others.

    Raises:
        InputError: The model cannot be opened, the backend is not installed, or a server's address is
            missing.
    """
    if settings.backend == "openai":
        from rbr.grading.openai import OpenAIGrader

        return OpenAIGrader(settings)
    if settings.backend == "vllm":
        from rbr.grading.vllm import VllmGrader

        return VllmGrader(ref, settings)
    from rbr.grading.transformers import TransformersGrader

    return TransformersGrader(ref, settings)
