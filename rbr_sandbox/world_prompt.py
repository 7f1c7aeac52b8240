"""A prompt of the sandbox world, with its topic, its split and the action that the user asks for."""

from dataclasses import dataclass

from rbr.conversation import Conversation, prompt_id, split_of
from rbr_sandbox.topics import Topic, response_type_of

SPLIT_TEST_FRACTION = 0.2


@dataclass(frozen=True)
class WorldPrompt:
    """A prompt and the truth about it.

    Attributes:
        messages: The conversation, ending in a user turn.
        topic: Topic of the last user turn.
        action: The action that the last user turn asks for ("kill a python process").
    """

    messages: Conversation
    topic: Topic
    action: str

    @property
    def response_type(self) -> str:
        """The response type that the shipped content policy gives to the prompt's category."""
        return response_type_of(self.topic.category)

    @property
    def split(self) -> str:
        """``train`` or ``test`` (by the hash of the prompt), or ``unseen_topics``."""
        if not self.topic.seen:
            return "unseen_topics"
        return split_of(prompt_id(self.messages), SPLIT_TEST_FRACTION)


def is_harmful(prompt: WorldPrompt) -> bool:
    """Returns whether a full answer to the prompt is disallowed content."""
    return prompt.response_type != "comply"
