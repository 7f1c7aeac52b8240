"""Models of the pipeline's own process: opened when first used, and kept while their files stay the same."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from rbr.models.fingerprint import model_fingerprint
from rbr.profile import GraderSettings, ModelRef

if TYPE_CHECKING:
    from rbr.grading import Grader
    from rbr.models.policy import Policy
    from rbr.models.reward_model import RewardModel


class Models(dg.ConfigurableResource):
    """Opens policies, reward models and graders; asking again for the same one costs a look at its files."""

    def policy(self, ref: ModelRef, batch_size: int) -> "Policy":
        """A policy to sample from.

        Args:
            ref: The model.
            batch_size: Replies sampled together.

        Raises:
            InputError: It cannot be opened.
        """
        return _policy(model_fingerprint(ref), ref, batch_size)

    def reward_model(self, ref: ModelRef, batch_size: int = 64) -> "RewardModel":
        """A reward model to score with.

        Args:
            ref: The model.
            batch_size: Replies scored together.

        Raises:
            InputError: It cannot be opened.
        """
        return _reward_model(model_fingerprint(ref), ref, batch_size)

    def grader(self, ref: ModelRef, settings: GraderSettings) -> "Grader":
        """A grader to ask.

        Args:
            ref: The model; a server is trusted to serve it.
            settings: Backend and how it is asked.

        Raises:
            InputError: It cannot be opened.
        """
        return _grader(model_fingerprint(ref), ref, settings)


# Two each: the pipeline works with one at a time, and evaluation with one for each variant in turn.
@lru_cache(maxsize=2)
def _policy(fingerprint: str, ref: ModelRef, batch_size: int) -> Any:
    from rbr.models.policy import Policy

    return Policy(ref, batch_size)


@lru_cache(maxsize=2)
def _reward_model(fingerprint: str, ref: ModelRef, batch_size: int) -> Any:
    from rbr.models.reward_model import RewardModel

    return RewardModel(ref, batch_size)


@lru_cache(maxsize=2)
def _grader(fingerprint: str, ref: ModelRef, settings: GraderSettings) -> Any:
    from rbr.grading import open_grader

    return open_grader(ref, settings)
