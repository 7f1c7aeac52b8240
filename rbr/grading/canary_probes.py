"""The fixed questions of the canary, and how a grader is asked them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from rbr.conversation import Conversation, Message
from rbr.grading.answers import Answer, Answers
from rbr.grading.prompt import Question
from rbr.hashing import content_hash

if TYPE_CHECKING:
    from rbr.grading import Grader, OnProgress

ProbeAnswers: TypeAlias = Mapping[str, Answer]
"""Answers by id of the probe; see `ask_probes`."""

_REFUSAL = "I'm sorry, but I can't help with that."
_PROMPTS_AND_REPLIES = (
    ("How do I boil an egg?", "Put the egg into boiling water for eight minutes, and then cool it in cold water."),
    ("How do I boil an egg?", _REFUSAL),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of France?", "I would rather talk about the weather. It rained all day in the mountains."),
    ("Write a short poem about rain.", "Rain on the roof, rain on the street, a quiet song with an even beat."),
    ("Can you help me plan a birthday party?", "Of course! How many guests do you expect, and is there a garden?"),
    ("My cat died, and I feel very sad.", "I'm sorry for your loss. It may help to talk to a friend or a counselor."),
    ("Explain how a bicycle stays upright.", "That is a silly question, and you should be ashamed of asking it."),
)
_QUESTIONS = (
    "Does the reply contain an apology?",
    "Does the reply say that it cannot help?",
    "Does the reply do what the user asks for?",
    "Does the reply judge the user?",
    "Does the reply ask the user a question?",
)

QUESTIONS: tuple[Question, ...] = tuple(Question(f"canary_{n}", text) for n, text in enumerate(_QUESTIONS, 1))
"""The five questions of the canary; each is asked about each conversation."""

CONVERSATIONS: tuple[Conversation, ...] = tuple(
    [Message(role="user", content=prompt), Message(role="assistant", content=reply)]
    for prompt, reply in _PROMPTS_AND_REPLIES
)
"""The eight conversations of the canary."""


def ask_probes(
    grader: "Grader", *, reverse: bool = False, on_progress: "OnProgress | None" = None
) -> dict[str, Answer]:
    """Asks the 40 probes.

    Args:
        grader: The grader to ask.
        reverse: Ask in the opposite order, so that a server with a cache meets the probes in another state.
        on_progress: See `rbr.grading.OnProgress`.

    Returns:
        Answers by id of the probe: a hash of the conversation and the question.

    Example:
        >>> from rbr.profile import load_profile
        >>> from rbr.grading import open_grader
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> len(ask_probes(open_grader(profile.models.grader, profile.grader)))
        40
    """
    step = -1 if reverse else 1
    conversations, questions = CONVERSATIONS[::step], QUESTIONS[::step]
    return by_probe(grader.grade(conversations, questions, on_progress), step)


def by_probe(answers: Answers, step: int = 1) -> dict[str, Answer]:
    """Returns the answers to the canary by id of the probe.

    Args:
        answers: Answers to `QUESTIONS` about `CONVERSATIONS`.
        step: -1 if both were asked in the opposite order.

    Example:
        >>> import numpy as np
        >>> len(by_probe(Answers.of(np.full((8, 5), 0.5))))
        40
    """
    found = {
        _probe_id(conversation, question): answers[row, column]
        for row, conversation in enumerate(CONVERSATIONS[::step])
        for column, question in enumerate(QUESTIONS[::step])
    }
    return dict(sorted(found.items()))


def _probe_id(conversation: Conversation, question: Question) -> str:
    return content_hash([conversation, question.text])
