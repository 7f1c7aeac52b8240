"""The models in use and their settings, and the resource that opens models."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from rbr.comparisons.completion_ids import sampling_key
from rbr.grading.identity import grader_fingerprint, grader_identity, model_behind
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import EvaluationSettings, GraderSettings, ModelRef, SynthesisSettings
from resources.store import Store
from resources.store.snapshot_content import PinnedModel, read_model, read_snapshot

if TYPE_CHECKING:
    from rbr.grading import Grader
    from rbr.models.policy import Policy
    from rbr.models.reward_model import RewardModel

MODEL_TAGS = {"rbr/compute": "model"}
"""Tag of the assets that run a model. If a wave has such an asset, each asset of the wave gets its own process."""

REWARD_MODEL_BATCH = 64
"""Number of replies that a reward model scores together."""


@dataclass(frozen=True)
class Sampling:
    """The settings that a sampled reply depends on. No reply depends on the batch size."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int

    @classmethod
    def of(cls, settings: SynthesisSettings | EvaluationSettings) -> "Sampling":
        """Takes the sampling settings from a section of the profile."""
        return cls(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)

    @property
    def key(self) -> str:
        """Hash of the settings. Completion ids depend on it."""
        return sampling_key(asdict(self))


@dataclass(frozen=True)
class PolicyInUse:
    """A policy with the settings for sampling from it.

    Attributes:
        model: The model and its fingerprint.
        sampling: Settings that the replies depend on.
        batch_size: Number of replies that are sampled together. No reply depends on it.
    """

    model: PinnedModel
    sampling: Sampling
    batch_size: int

    @classmethod
    def of(cls, model: PinnedModel, settings: SynthesisSettings | EvaluationSettings) -> "PolicyInUse":
        """Combines a model with the sampling settings of a section of the profile."""
        return cls(model, Sampling.of(settings), settings.batch_size)

    @property
    def version(self) -> str:
        """Fingerprint of the weights. Completion ids depend on it."""
        return self.model.fingerprint


@dataclass(frozen=True)
class GraderInUse:
    """A grader with the settings for asking it.

    Attributes:
        model: The model and its fingerprint; None if a server has the model and tokenizes for itself.
        settings: Section `grader` of the profile.
        served: What the server says about its model; None if the grader runs in process.
    """

    model: PinnedModel | None
    settings: GraderSettings
    served: Mapping[str, Any] | None = None

    def __hash__(self) -> int:
        # What a server says is a mapping, which has no hash of its own.
        return hash((self.version, self.ref))

    @property
    def ref(self) -> ModelRef | None:
        """The model, or None if a server has it."""
        return None if self.model is None else self.model.ref

    @property
    def version(self) -> str:
        """Identity of the grader, as `rbr.grading.identity.grader_identity` computes it; a key column of `grades`."""
        return grader_identity(self.settings, None if self.model is None else self.model.fingerprint, self.served)


@dataclass(frozen=True)
class RewardModelInUse:
    """A reward model with the settings for scoring.

    Attributes:
        model: The model and its fingerprint.
        batch_size: Number of replies that are scored together. No score depends on it.
    """

    model: PinnedModel
    batch_size: int = REWARD_MODEL_BATCH

    @property
    def version(self) -> str:
        """Fingerprint of the weights; a key column of the table scores."""
        return self.model.fingerprint


def grader_in_use(store: Store) -> GraderInUse:
    """Returns the grader in use, from the snapshots models/grader and profile/grader."""
    content = store.snapshot("models/grader")
    model = None if content["path"] is None else read_model(store, "grader")
    return GraderInUse(model, read_snapshot(store, GraderSettings), content["served"])


def grader_of_profile(ref: ModelRef | None, settings: GraderSettings) -> GraderInUse:
    """Returns the grader that a profile names, without a store. Waits for a server that is away.

    Raises:
        InputError: The model has no fingerprint, or the server rejects the key.
        ServerAway: The server stays away.
    """
    model = None if ref is None else PinnedModel(ref, grader_fingerprint(ref, settings))
    return GraderInUse(model, settings, model_behind(settings, settings.wait_s))


class Models(dg.ConfigurableResource):
    """Opens policies, graders and reward models, and keeps the last two of each open.

    A model is opened again if its files have changed. In tests, use a subclass or `resources.asset_testing.fake_models`
    instead.
    """

    def open_policy(self, policy: PolicyInUse) -> "Policy":
        """Opens a policy, for sampling.

        Raises:
            InputError: The model cannot be opened.
        """
        return _open_policy(model_fingerprint(policy.model.ref), policy.model.ref, policy.batch_size)

    def open_grader(self, grader: GraderInUse) -> "Grader":
        """Opens a grader.

        Raises:
            InputError: The model cannot be opened. A grader behind a server raises when it is asked, if the server has
                another model than at the start of the run.
        """
        return _open_grader(_current_version(grader), grader)

    def open_reward_model(self, reward_model: RewardModelInUse) -> "RewardModel":
        """Opens a reward model.

        Raises:
            InputError: The model cannot be opened.
        """
        ref = reward_model.model.ref
        return _open_reward_model(model_fingerprint(ref, writes=False), ref, reward_model.batch_size)


# The argument `fingerprint` is only a cache key: if the files of a model change, the model is opened again. Two models
# are enough, because an asset uses one at a time.
@lru_cache(maxsize=2)
def _open_policy(fingerprint: str, ref: ModelRef, batch_size: int) -> Any:
    from rbr.models.policy import Policy

    return Policy(ref, batch_size)


@lru_cache(maxsize=2)
def _open_grader(version: str, grader: GraderInUse) -> Any:
    from rbr.grading import open_grader

    return open_grader(grader.ref, grader.settings, grader.served)


def _current_version(grader: GraderInUse) -> str:
    if grader.model is None or grader.settings.backend == "openai":
        return grader.version
    return grader_identity(grader.settings, grader_fingerprint(grader.model.ref, grader.settings))


@lru_cache(maxsize=2)
def _open_reward_model(fingerprint: str, ref: ModelRef, batch_size: int) -> Any:
    from rbr.models.reward_model import RewardModel

    return RewardModel(ref, batch_size)
