"""Finds the rules and models that a reply is explained with: of the last run, or of the files if nothing was stored."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from rbr.profile import ModelRef, load_profile
from rbr.reward.artifact import REWARD_FILE, RewardArtifact
from rbr.rulebook import Behavior, ContentPolicy, Propositions, load_rulebook
from rbr_dagster.environment import Environment
from resources.models import GraderInUse, grader_in_use, grader_of_profile
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot
from resources.store.table_content import read_accepted_propositions, read_thresholds

RuleSource = Literal["reward", "run", "files"]
"""Where the rules come from: the fitted reward, the last `rbr run`, or the rulebook and profile files."""

_NEEDED_SNAPSHOTS = {
    "rulebook/propositions",
    "rulebook/behavior",
    "rulebook/content_policy",
    "profile/grader",
    "models/grader",
    "models/helpful_reward_model",
}


@dataclass(frozen=True)
class RulesInUse:
    """The rules and models that a reply is explained with.

    Attributes:
        source: Where the rules come from.
        artifact: The fitted reward; None if no reward was fitted yet.
        propositions: The propositions with their questions.
        behavior: The behavior policy.
        content_policy: The content policy.
        accepted: Propositions that may be features of their own; None if all may, because no agreement was measured.
        thresholds: Decision threshold by proposition; empty if no agreement was measured.
        grader: The grader.
        reward_model: The reward model R_rm.
    """

    source: RuleSource
    artifact: RewardArtifact | None
    propositions: Propositions
    behavior: Behavior
    content_policy: ContentPolicy
    accepted: Collection[str] | None
    thresholds: Mapping[str, float]
    grader: GraderInUse
    reward_model: ModelRef


def find_rules(environment: Environment) -> RulesInUse:
    """Reads the rules and models from the state directory, or else from the files. Writes nothing.

    Args:
        environment: State directory, profile and rulebook.

    Raises:
        InputError: A file cannot be used.
    """
    has_reward = (environment.artifacts.reward / REWARD_FILE).is_file()
    artifact = RewardArtifact.load(environment.artifacts.reward) if has_reward else None
    store = environment.store
    if set(store.query("SELECT name FROM snapshots")["name"]) >= _NEEDED_SNAPSHOTS:
        return _stored_rules(store, artifact)
    return _rules_of_files(environment, artifact)


def _stored_rules(store: Store, artifact: RewardArtifact | None) -> RulesInUse:
    # The table is empty until the grader was compared with the gold labels. Then every proposition has a row.
    is_measured = not store.read("accepted_propositions").is_empty()
    return RulesInUse(
        source="reward" if artifact else "run",
        artifact=artifact,
        propositions=read_snapshot(store, Propositions),
        behavior=read_snapshot(store, Behavior),
        content_policy=read_snapshot(store, ContentPolicy),
        accepted=read_accepted_propositions(store) if is_measured else None,
        thresholds=read_thresholds(store),
        grader=grader_in_use(store),
        reward_model=read_model(store, "helpful_reward_model").ref,
    )


def _rules_of_files(environment: Environment, artifact: RewardArtifact | None) -> RulesInUse:
    environment.check_profile()
    profile, rulebook = load_profile(environment.profile), load_rulebook(environment.rulebook)
    return RulesInUse(
        source="reward" if artifact else "files",
        artifact=artifact,
        propositions=rulebook.propositions,
        behavior=rulebook.behavior,
        content_policy=rulebook.content_policy,
        accepted=None,
        thresholds={},
        grader=grader_of_profile(profile.models.grader, profile.grader),
        reward_model=profile.models.helpful_reward_model,
    )
