"""Training: supervised fine-tuning on ideal replies, and reinforcement learning of each variant."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dagster as dg
import polars as pl

from assets.comparisons import ideal_completions
from assets.prompts import training_prompts
from assets.reward import reward
from assets.snapshots import snapshot_key
from rbr.comparisons.prompt_sampling import balanced_order
from rbr.hashing import frame_hash
from rbr.profile import GraderSettings, ModelRef, RlSettings, SftSettings
from rbr.reward.artifact import RewardArtifact
from rbr.training.job import GrpoJob, RewardSource, SftJob
from resources.artifacts import Artifacts
from resources.asset_tags import MODEL_WORK
from resources.cells import grader_version
from resources.checkpoints import CheckpointRecipe, Checkpoints, Files, read_checkpoint
from resources.progress import Progress
from resources.store import Store
from resources.stored_inputs import PinnedModel, read_model, read_snapshot
from resources.tracking import Tracking
from resources.trainer import Trainer

SFT_CODE = "1"
RL_CODE = "1"


@dataclass(frozen=True)
class Training:
    """How a checkpoint comes about, apart from the asset that makes it.

    Attributes:
        variant: sft, rbr, helpful or human.
        recipe: What it would be trained from now.
        samples: What the trainer would work through.
    """

    variant: str
    recipe: Callable[[Store, Artifacts, Progress], CheckpointRecipe]
    samples: Callable[[Store], int]


def sft_samples(store: Store) -> int:
    """Rows that fine-tuning works through, over all epochs."""
    return store.read("ideal_completions").height * read_snapshot(store, SftSettings).epochs


def sft_recipe(store: Store, artifacts: Artifacts, progress: Progress) -> CheckpointRecipe:
    """What the current ideal replies make of the helpful-only policy."""
    settings = read_snapshot(store, SftSettings)
    policy = read_model(store, "policy")
    rows = store.read("ideal_completions")

    def job(files: Files) -> SftJob:
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
        tags={},
    )


@dg.asset(
    group_name="training",
    code_version=SFT_CODE,
    tags=MODEL_WORK,
    deps=[ideal_completions, snapshot_key("profile/sft"), snapshot_key("models/policy")],
)
def sft_checkpoint(
    context: dg.AssetExecutionContext,
    store: Store,
    trainer: Trainer,
    tracking: Tracking,
    artifacts: Artifacts,
    progress: Progress,
) -> dg.MaterializeResult:
    """RBR-SFT: the helpful-only policy fine-tuned on ideal refusals and on its own helpful replies."""
    recipe = sft_recipe(store, artifacts, progress)
    return Checkpoints(store, artifacts, trainer, tracking).make(context, recipe)


@dataclass(frozen=True)
class Objective:
    """What reinforcement learning starts from and is rewarded by.

    Attributes:
        start: The policy before training.
        reward_model: R_rm.
        grader: The grader and its settings, where rules are rewarded too.
        artifact: The fitted reward; None rewards by R_rm alone.
    """

    start: PinnedModel
    reward_model: PinnedModel
    grader: tuple[PinnedModel, GraderSettings] | None = None
    artifact: RewardArtifact | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """What a checkpoint depends on, by name."""
        inputs = {"start": self.start.fingerprint, "reward_model": self.reward_model.fingerprint}
        if self.grader is None or self.artifact is None:
            return inputs
        grader, settings = self.grader
        return {
            **inputs,
            "grader": grader_version(grader.fingerprint, settings),
            "reward": self.artifact.identity,
        }

    def source(self, directory: str) -> RewardSource:
        """The reward as the trainer opens it, from a copy in `directory`."""
        if self.grader is None or self.artifact is None:
            return RewardSource(reward_model=self.reward_model.ref)
        self.artifact.save(directory)
        grader, settings = self.grader
        return RewardSource(
            reward_model=self.reward_model.ref,
            artifact=directory,
            grader=grader.ref,
            grader_settings=settings,
        )


def _by_rules(store: Store, artifacts: Artifacts) -> Objective:
    sft = read_checkpoint(store, "sft")
    return Objective(
        start=PinnedModel(ModelRef(path=str(artifacts.absolute(sft.path)), revision=None), sft.fingerprint),
        reward_model=read_model(store, "helpful_reward_model"),
        grader=(read_model(store, "grader"), read_snapshot(store, GraderSettings)),
        artifact=RewardArtifact.load(artifacts.reward),
    )


def _by_reward_model(role: str) -> Callable[[Store, Artifacts], Objective]:
    return lambda store, artifacts: Objective(read_model(store, "policy"), read_model(store, role))


_OBJECTIVES: dict[str, Callable[[Store, Artifacts], Objective]] = {
    "rbr": _by_rules,
    "helpful": _by_reward_model("helpful_reward_model"),
    "human": _by_reward_model("human_reward_model"),
}


def rl_samples(store: Store) -> int:
    """Rollouts of a whole reinforcement learning run."""
    settings = read_snapshot(store, RlSettings)
    return settings.steps * settings.prompts_per_step * settings.num_generations


def rl_recipe(variant: str, store: Store, artifacts: Artifacts, progress: Progress) -> CheckpointRecipe:
    """What reinforcement learning of a variant starts from now, and is rewarded by."""
    name = f"rl_checkpoint/{variant}"
    settings = read_snapshot(store, RlSettings)
    goal = _OBJECTIVES[variant](store, artifacts)
    prompts = settings.steps * settings.prompts_per_step
    rows = balanced_order(store.read("training_prompts"), prompts, settings.seed)

    def job(files: Files) -> GrpoJob:
        return GrpoJob(
            name=name,
            model=goal.start.ref,
            data=files.data,
            output=files.output,
            progress=str(progress.path(name)),
            settings=settings,
            reward=goal.source(files.reward),
        )

    return CheckpointRecipe(
        variant=variant,
        inputs={
            "kind": "grpo",
            "code": RL_CODE,
            "rows": frame_hash(rows),
            "settings": settings,
            **goal.inputs,
        },
        rows=_with_messages(rows).select("prompt", "category"),
        samples=rl_samples(store),
        job=job,
        params={**settings.model_dump(), **goal.inputs},
        tags={},
    )


def _rl_asset(variant: str, description: str, reads: list) -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey(["rl_checkpoint", variant]),
        group_name="training",
        code_version=RL_CODE,
        tags=MODEL_WORK,
        description=description,
        deps=[training_prompts, snapshot_key("profile/rl"), *reads],
    )
    def rl_checkpoint(
        context: dg.AssetExecutionContext,
        store: Store,
        trainer: Trainer,
        tracking: Tracking,
        artifacts: Artifacts,
        progress: Progress,
    ) -> dg.MaterializeResult:
        recipe = rl_recipe(variant, store, artifacts, progress)
        return Checkpoints(store, artifacts, trainer, tracking).make(context, recipe)

    return rl_checkpoint


rl_checkpoints = {
    "rbr": _rl_asset(
        "rbr",
        "The policy after GRPO on R_rm + R_rbr, from the RBR-SFT checkpoint.",
        [
            sft_checkpoint,
            reward,
            snapshot_key("profile/grader"),
            snapshot_key("models/grader"),
            snapshot_key("models/helpful_reward_model"),
        ],
    ),
    "helpful": _rl_asset(
        "helpful",
        "Baseline: the helpful-only policy after GRPO on the helpful-only reward model; reads no rule.",
        [snapshot_key("models/policy"), snapshot_key("models/helpful_reward_model")],
    ),
    "human": _rl_asset(
        "human",
        "Baseline: the helpful-only policy after GRPO on the human-preference reward model; reads no rule.",
        [snapshot_key("models/policy"), snapshot_key("models/human_reward_model")],
    ),
}


RECIPES: dict[dg.AssetKey, Training] = {
    sft_checkpoint.key: Training("sft", sft_recipe, sft_samples),
    **{
        asset.key: Training(variant, partial(rl_recipe, variant), rl_samples)
        for variant, asset in rl_checkpoints.items()
    },
}
"""What each checkpoint would be trained from now."""


def _with_messages(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the column prompt: the messages as the trainers read them."""
    return rows.with_columns(pl.Series("prompt", [json.loads(messages) for messages in rows["messages"]]))
