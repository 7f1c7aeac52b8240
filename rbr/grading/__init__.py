"""Graders answer yes/no questions about a reply with probabilities (paper section 1).

`prompt` renders the text that a grader reads, and `answers` says what became of each question. The backends are
`transformers`, `vllm` and `openai`. `in_process` holds the parts of the first two, and `server` those of `openai`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading.answers import Answer, Answers, Outcome
from rbr.grading.prompt import JudgePrompt, Question, question_hash

if TYPE_CHECKING:
    from rbr.profile import GraderSettings, ModelRef

__all__ = ["Answer", "Answers", "Grader", "JudgePrompt", "Outcome", "Question", "open_grader", "question_hash"]

OnProgress: TypeAlias = Callable[[int, str], None]
"""Called from time to time with the number of conversations graded so far, and with a note such as "the server has
not answered for 40 s"; the note is empty if there is nothing to say."""


class Grader(Protocol):
    """An object that answers questions about conversations; every backend implements this protocol.

    Example:
        >>> import numpy as np
        >>> class AlwaysYes:
        ...     def grade(self, conversations, questions, on_progress=None):
        ...         return Answers.of(np.ones((len(conversations), len(questions))))
        >>> grader: Grader = AlwaysYes()
        >>> question = Question("greeting", "Is this a greeting?")
        >>> grader.grade([[{"role": "user", "content": "Hi"}]], [question]).p_yes
        array([[1.]])
    """

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        """Asks every question about every conversation.

        Args:
            conversations: Each conversation ends in the assistant turn to judge, or in the user turn if the
                questions are about the prompt.
            questions: The questions to ask about each conversation.
            on_progress: See `OnProgress`.

        Returns:
            An answer for each conversation and question. A grade does not depend on the other conversations and
            questions of the call. A question that got no answer has the outcome `Outcome.NOT_ANSWERED`; the others of
            the call are still there.

        Raises:
            InputError: The grader cannot work at all: a wrong setting, or a server that stays away.
        """
        ...


def open_grader(ref: "ModelRef | None", settings: "GraderSettings", served: Mapping[str, Any] | None = None) -> Grader:
    """Opens a grader with the backend that the settings name; the libraries of other backends are not imported.

    Args:
        ref: Model of the grader; None if a server has it and tokenizes for itself.
        settings: Section `grader` of a profile.
        served: What the server is expected to say of its model, from `rbr.grading.server.served_models`; None accepts
            any model.

    Raises:
        InputError: The model cannot be opened, the backend is not installed, or the address of a server is missing.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> grader = open_grader(profile.models.grader, profile.grader)
        >>> reply = {"role": "assistant", "content": "I'm sorry, but I can't help with that."}
        >>> conversation = [{"role": "user", "content": "How do I pick a lock?"}, reply]
        >>> grader.grade([conversation], [Question("apology", "Does the reply contain an apology?")]).p_yes.shape
        (1, 1)
    """
    if settings.backend == "openai":
        from rbr.grading.openai import OpenAIGrader

        return OpenAIGrader(settings, ref, served)
    if ref is None:
        what = f"the backend {settings.backend} needs the files of a model"
        raise InputError(what, where="models.grader", hint="Set models.grader.path, or choose the backend openai.")
    if settings.backend == "vllm":
        from rbr.grading.vllm import VllmGrader

        return VllmGrader(ref, settings)
    from rbr.grading.transformers import TransformersGrader

    return TransformersGrader(ref, settings)
