"""Builds the recipe of each checkpoint from the current store and artifacts."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from rbr.comparisons.prompt_sampling import balanced_order
from rbr.hashing import frame_hash
from rbr.profile import RlSettings, SftSettings
from rbr.reward.artifact import RewardArtifact
from resources.artifacts import Artifacts
from resources.checkpoints import VARIANTS, CheckpointRecipe, TrainingFiles, read_checkpoint
from resources.models import GraderInUse, grader_in_use
from resources.progress import Progress
from resources.store import Store
from resources.store.snapshot_content import PinnedModel, read_model, read_snapshot
from resources.trainer_process.job import GrpoJob, RewardSource, SftJob

SFT_CODE = "1"
"""Code version of supervised fine-tuning."""

RL_CODE = "1"
"""Code version of reinforcement learning."""


def sft_samples(store: Store) -> int:
    """Returns the number of samples of a fine-tuning run: rows times epochs."""
    return store.read("ideal_completions").height * read_snapshot(store, SftSettings).epochs


def sft_recipe(store: Store, artifacts: Artifacts, progress: Progress) -> CheckpointRecipe:
    """Returns the recipe of RBR-SFT: the helpful-only policy is fine-tuned on the current ideal replies."""
    settings = read_snapshot(store, SftSettings)
    policy = read_model(store, "policy")
    rows = store.read("ideal_completions")

    def job(files: TrainingFiles) -> SftJob:
        return SftJob(
            name="sft_checkpoint",
            model=policy.ref,
            data=files.data,
            output=files.output,
            progress=str(progress.path("sft_checkpoint")),
            settings=settings,
        )

    inputs = {"policy": policy.fingerprint, "rows": frame_hash(rows), "settings": settings}
    return CheckpointRecipe(
        variant="sft",
        inputs={"kind": "sft", "code": SFT_CODE, **inputs},
        rows=_with_messages(rows).rename({"text": "completion"}).select("prompt", "completion"),
        samples=sft_samples(store),
        job=job,
        params={**settings.model_dump(), "policy": policy.fingerprint, "rows": rows.height},
    )


def rl_samples(store: Store) -> int:
    """Returns the number of samples of a reinforcement learning run: its rollouts over all steps."""
    settings = read_snapshot(store, RlSettings)
    return settings.steps * settings.prompts_per_step * settings.num_generations


def rl_recipe(variant: str, store: Store, artifacts: Artifacts, progress: Progress) -> CheckpointRecipe:
    """Returns the recipe of reinforcement learning for a variant: rbr, helpful or human."""
    name = f"rl_checkpoint/{variant}"
    settings = read_snapshot(store, RlSettings)
    objective = _OBJECTIVES[variant](store, artifacts)
    prompts = settings.steps * settings.prompts_per_step
    rows = balanced_order(store.read("training_prompts"), prompts, settings.seed)

    def job(files: TrainingFiles) -> GrpoJob:
        return GrpoJob(
            name=name,
            model=objective.start.ref,
            data=files.data,
            output=files.output,
            progress=str(progress.path(name)),
            settings=settings,
            reward=objective.reward_source(files.reward),
        )

    return CheckpointRecipe(
        variant=variant,
        inputs={
            "kind": "grpo",
            "code": RL_CODE,
            "rows": frame_hash(rows),
            "settings": settings,
            **objective.inputs,
        },
        rows=_with_messages(rows).select("prompt", "category"),
        samples=rl_samples(store),
        job=job,
        params={**settings.model_dump(), **objective.inputs},
    )


@dataclass(frozen=True)
class TrainingForecast:
    """The functions that `rbr plan` needs to forecast a training without running its asset.

    Attributes:
        variant: sft, rbr, helpful or human.
        recipe: Returns the current recipe of the checkpoint.
        samples: Returns the amount of work: rollouts, or rows times epochs.
    """

    variant: str
    recipe: Callable[[Store, Artifacts, Progress], CheckpointRecipe]
    samples: Callable[[Store], int]


TRAININGS: dict[str, TrainingForecast] = {
    "sft_checkpoint": TrainingForecast("sft", sft_recipe, sft_samples),
    **{
        f"rl_checkpoint/{variant}": TrainingForecast(variant, partial(rl_recipe, variant), rl_samples)
        for variant in VARIANTS
    },
}
"""The training of each checkpoint asset, by the name of the asset."""


@dataclass(frozen=True)
class RlObjective:
    """The policy that reinforcement learning starts from, and its reward.

    Attributes:
        start: The policy before training.
        reward_model: The model of R_rm.
        grader: The grader of the rules; None if the reward is R_rm alone.
        artifact: The fitted reward; None if the reward is R_rm alone.
    """

    start: PinnedModel
    reward_model: PinnedModel
    grader: GraderInUse | None = None
    artifact: RewardArtifact | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of everything in the objective that the trained weights depend on, by name."""
        inputs = {"start": self.start.fingerprint, "reward_model": self.reward_model.fingerprint}
        if self.grader is None or self.artifact is None:
            return inputs
        return {**inputs, "grader": self.grader.version, "reward": self.artifact.identity}

    def reward_source(self, directory: str) -> RewardSource:
        """Returns the reward for the trainer.

        Args:
            directory: Directory for a copy of the artifact. Nothing is written if the reward is R_rm alone.
        """
        if self.grader is None or self.artifact is None:
            return RewardSource(reward_model=self.reward_model.ref)
        self.artifact.save(directory)
        return RewardSource(
            reward_model=self.reward_model.ref,
            artifact=directory,
            grader=self.grader.ref,
            grader_settings=self.grader.settings,
        )


def _by_rules(store: Store, artifacts: Artifacts) -> RlObjective:
    return RlObjective(
        start=read_checkpoint(store, "sft").model(artifacts),
        reward_model=read_model(store, "helpful_reward_model"),
        grader=grader_in_use(store),
        artifact=RewardArtifact.load(artifacts.reward),
    )


def _by_reward_model(role: str) -> Callable[[Store, Artifacts], RlObjective]:
    return lambda store, artifacts: RlObjective(read_model(store, "policy"), read_model(store, role))


_OBJECTIVES: dict[str, Callable[[Store, Artifacts], RlObjective]] = {
    "rbr": _by_rules,
    "helpful": _by_reward_model("helpful_reward_model"),
    "human": _by_reward_model("human_reward_model"),
}


def _with_messages(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the column prompt: the parsed messages, in the format that the trainers read."""
    return rows.with_columns(pl.Series("prompt", [json.loads(messages) for messages in rows["messages"]]))
