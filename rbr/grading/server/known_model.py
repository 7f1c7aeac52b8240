"""What is known of the model behind a server, so that another model is noticed before its answers are taken.

A server that was away may come back with another model. Its list of models says so only if the list names the weights.
Else the fixed questions of the canary are asked again.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rbr.grading.answers import Outcome
from rbr.grading.canary_probes import CONVERSATIONS, QUESTIONS, ProbeAnswers, by_probe
from rbr.grading.drift import Difference
from rbr.grading.identity import names_the_weights
from rbr.grading.prompt import JudgePrompt
from rbr.grading.server.asking import Asker
from rbr.grading.server.failures import Failure
from rbr.grading.server.grading_call import GradingCall
from rbr.grading.server.patience import Patience
from rbr.grading.server.probe import Probe, is_nobody
from rbr.grading.server.requests import Requests
from rbr.grading.server.responses import AnswerReader
from rbr.grading.server.served_models import changes

if TYPE_CHECKING:
    from rbr.profile import GraderSettings


class KnownModel:
    """What the server has said of its model, and how the model has answered the canary.

    Args:
        settings: Section `grader` of a profile.
        prompt: The compiled prompt template.
        probe: Reads the list of models, and knows the name of the model that answered.
        served: What the server has to say of its model; empty if nothing is known.

    Attributes:
        served: What the server has said so far.
        names: Names of all models that the server listed the last time.

    Example:
        >>> async def is_same(known: KnownModel, asker, requests, reader) -> bool:
        ...     return await known.change(asker, requests, reader, ask_canary=True) == ""
    """

    def __init__(
        self, settings: "GraderSettings", prompt: JudgePrompt, probe: Probe, served: Mapping[str, Any]
    ) -> None:
        self.served = dict(served)
        self.names: tuple[str, ...] = ()
        self._settings = settings
        self._prompt = prompt
        self._probe = probe
        self._first: ProbeAnswers = {}
        self._noise = Difference(0, 0, 0.0, 0.0)

    def expect(self, first: ProbeAnswers, noise: Difference) -> None:
        """Keeps the first answers to the canary, and the noise of the server."""
        self._first, self._noise = first, noise

    async def change(self, asker: Asker, requests: Requests, reader: AnswerReader, ask_canary: bool) -> str | None:
        """Returns what has changed, in words; empty if nothing has, and None if nobody answers.

        Args:
            asker: Sends the requests of the call.
            requests: Writes the requests.
            reader: Reads the answers.
            ask_canary: Whether the canary is asked, if its answers are known and the list does not name the weights.
        """
        listing = await self._probe.listing(asker)
        if isinstance(listing, Failure):
            if is_nobody(listing):
                return None
        else:
            self.names = listing.names
            if changed := changes(self.served, listing.identity):
                return ", ".join(changed)
            self.served |= listing.identity
        if not ask_canary or not self._first or names_the_weights(self.served):
            return ""
        return await self._drift(asker, requests, reader)

    async def _drift(self, asker: Asker, requests: Requests, reader: AnswerReader) -> str | None:
        settings = self._settings
        # The patience of the call waits for this check, so the canary has its own.
        patience = Patience(settings.wait_s, settings.max_concurrency)
        own = Asker(asker.connection, patience, settings.model_name or "", settings.timeout_s)
        call = GradingCall(
            own,
            requests,
            reader,
            [self._prompt.conversation(conversation) for conversation in CONVERSATIONS],
            [self._prompt.question(question, settings.few_shot) for question in QUESTIONS],
            lambda: self._probe.still_works(own, requests),
            lambda row: None,
        )
        await call.run(settings.max_concurrency)
        if call.answers.count(Outcome.NOT_ANSWERED):
            return None
        drift = Difference.between(self._first, by_probe(call.answers))
        return drift.words if drift.is_beyond(self._noise) else ""
