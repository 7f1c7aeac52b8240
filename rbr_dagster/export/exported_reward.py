"""`rbr export`: checks the fitted reward, and writes it with prompts and a training script."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rbr.errors import InputError
from rbr.profile import RlSettings, load_profile
from rbr.reward.artifact import REWARD_FILE, RewardArtifact
from rbr.reward.trl import check_fitted_with
from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.export.train_script import absolute, train_script
from rbr_dagster.run.gates import unpassed_checks
from rbr_dagster.run.staleness import AssetGraph, latest_tags, stale_assets
from resources.models import grader_in_use
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot

PROMPTS_FILE = "prompts.jsonl"
SCRIPT_FILE = "train.py"
PROMPTS_PER_CATEGORY = 2

_NEEDED_SNAPSHOTS = {
    "models/policy",
    "models/helpful_reward_model",
    "models/grader",
    "profile/grader",
}
_RL_SNAPSHOT = "profile/rl"


@dataclass(frozen=True)
class ExportedReward:
    """What `rbr export` wrote.

    Attributes:
        directory: The directory.
        files: Names of the files in it.
        stale_assets: Names of the assets upstream of the reward, or the reward itself, that the last run left stale.
    """

    directory: Path
    files: tuple[str, ...]
    stale_assets: tuple[str, ...]


def export_reward(environment: Environment, directory: Path) -> ExportedReward:
    """Writes the fitted reward with a few prompts and a training script. Models and settings are those of the last run.

    Args:
        environment: Environment with a fitted reward.
        directory: Directory that is empty or does not exist.

    Raises:
        InputError: No reward was fitted yet, the reward file is damaged, another grader or reward model is in use, or
            an asset upstream of the reward has not passed a blocking check. Nothing is written.
    """
    artifact = RewardArtifact.load(environment.artifacts.reward)
    store = environment.store
    stored = set(store.query("SELECT name FROM snapshots")["name"])
    missing = sorted(_NEEDED_SNAPSHOTS - stored)
    if missing:
        what = f"the state directory has no {', '.join(missing)}"
        raise InputError(what, where=str(environment.home), hint="Run `rbr run`.")
    stale = _check_upstream(environment)
    policy, reward_model = (absolute(read_model(store, role).ref) for role in ("policy", "helpful_reward_model"))
    in_use = grader_in_use(store)
    # A server can have the only copy of the grader.
    grader, grader_settings = None if in_use.ref is None else absolute(in_use.ref), in_use.settings
    check_fitted_with(artifact, reward_model, grader, grader_settings)
    if policy.revision is None and not Path(policy.path).is_dir():
        raise InputError("the directory does not exist", where=policy.path, hint="Restore the policy of the last run.")
    # `rbr run --only reward` does not read the settings of the training.
    rl = read_snapshot(store, RlSettings) if _RL_SNAPSHOT in stored else _rl_settings_of_file(environment)
    script = train_script(policy, reward_model, grader, grader_settings, rl)
    prompts = _prompts(store, artifact, environment)
    artifact.save(directory)
    (directory / PROMPTS_FILE).write_text(prompts, encoding="utf-8")
    (directory / SCRIPT_FILE).write_text(script, encoding="utf-8")
    return ExportedReward(directory, (REWARD_FILE, PROMPTS_FILE, SCRIPT_FILE), stale)


def _rl_settings_of_file(environment: Environment) -> RlSettings:
    environment.check_profile()
    return load_profile(environment.profile).rl


def _check_upstream(environment: Environment) -> tuple[str, ...]:
    """Checks that all assets upstream of the reward have passed their blocking checks.

    Returns:
        Names of the stale assets among them, and of the reward itself if it is stale.
    """
    if not (environment.dagster_home / "history").is_dir():
        what = "no run has recorded how the reward was made"
        raise InputError(what, where=str(environment.home), hint="Run `rbr run`.")
    graph = AssetGraph.from_definitions(build_definitions(environment)).only_upstream_of("reward")
    with environment.open_instance() as instance:
        tags, unpassed = latest_tags(instance, graph.specs), unpassed_checks(instance, graph)
    if unpassed:
        raise InputError.collect(
            InputError(str(reason), where=key.to_user_string(), hint="`rbr run --only reward` says what to do.")
            for key, reasons in unpassed.items()
            for reason in reasons
        )
    # Edited files are ignored: this is about the last run, and a run reads the files.
    return tuple(key.to_user_string() for key in stale_assets(graph, tags, source_versions={}, unpassed={}))


def _prompts(store: Store, artifact: RewardArtifact, environment: Environment) -> str:
    """Returns JSON Lines of a few training prompts of each category."""
    known = pl.col("category").is_in(list(artifact.response_types))
    # The store sorts by prompt id, which is a hash, so the first prompts of a category are a random sample.
    rows = store.read("training_prompts").filter(known).group_by("category").head(PROMPTS_PER_CATEGORY)
    if rows.is_empty():
        what = "the state directory has no training prompts of the categories of the reward"
        raise InputError(what, where=str(environment.home), hint="Run `rbr run`.")
    lines = [
        json.dumps({"prompt": json.loads(messages), "category": category})
        for category, messages in rows.sort("category", "prompt_id").select("category", "messages").iter_rows()
    ]
    return "".join(f"{line}\n" for line in lines)
