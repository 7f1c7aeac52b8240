"""Training: supervised fine-tuning on ideal replies, and reinforcement learning of each variant."""

import json

import dagster as dg
import polars as pl

from assets.checkpoints import Files, Recipe, Workshop, read_checkpoint
from assets.comparisons import ideal_completions
from assets.inputs import PinnedModel, read_model, read_snapshot
from assets.prompts import training_prompts
from assets.reward import read_reward, reward
from assets.snapshots import snapshot_key
from assets.tags import MODEL_WORK
from rbr.hashing import content_hash, frame_hash
from rbr.profile import ModelRef, RlSettings, SftSettings
from rbr.prompt_order import balanced_order
from resources.artifacts import Artifacts
from resources.progress import Progress
from resources.store import Store
from resources.tracking import Tracking
from resources.trainer.job import GrpoJob, RewardSource, SftJob
from resources.training import Trainer

SFT_CODE = "1"
RL_CODE = "1"


@dg.asset(
    group_name="training",
    code_version=SFT_CODE,
    tags=MODEL_WORK,
    deps=[ideal_completions, snapshot_key("profile/sft"), snapshot_key("profile/models")],
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
    recipe = Recipe(
        variant="sft",
        inputs={"kind": "sft", "code": SFT_CODE, **inputs},
        rows=_with_messages(rows).rename({"text": "completion"}).select("prompt", "completion"),
        job=job,
        params={**settings.model_dump(), "policy": policy.fingerprint, "rows": rows.height},
        tags={},
    )
    return Workshop(store, artifacts, trainer, tracking).make(context, recipe)


def _rl_asset(variant: str, reads: list, describe: str, source: "Source") -> dg.AssetsDefinition:
    key = dg.AssetKey(["rl_checkpoint", variant])

    @dg.asset(
        key=key,
        group_name="training",
        code_version=RL_CODE,
        tags=MODEL_WORK,
        description=describe,
        deps=[training_prompts, snapshot_key("profile/rl"), snapshot_key("profile/models"), *reads],
    )
    def rl_checkpoint(
        context: dg.AssetExecutionContext,
        store: Store,
        trainer: Trainer,
        tracking: Tracking,
        artifacts: Artifacts,
        progress: Progress,
    ) -> dg.MaterializeResult:
        settings = read_snapshot(store, RlSettings)
        start, rewarded = source(store, artifacts)
        prompts = store.read("training_prompts")
        rows = balanced_order(prompts, settings.steps * settings.prompts_per_step, settings.seed)

        def job(files: Files) -> GrpoJob:
            return GrpoJob(
                name=key.to_user_string(),
                model=start.ref,
                data=files.data,
                output=files.output,
                progress=str(progress.path(key.to_user_string())),
                settings=settings,
                reward=rewarded.source,
            )

        inputs = {"start": start.fingerprint, "reward": rewarded.identity, "rows": frame_hash(rows)}
        recipe = Recipe(
            variant=variant,
            inputs={"kind": "grpo", "code": RL_CODE, "settings": settings, **inputs},
            rows=_with_messages(rows).select("prompt", "category"),
            job=job,
            params={**settings.model_dump(), **inputs},
            tags=rewarded.tags,
        )
        return Workshop(store, artifacts, trainer, tracking).make(context, recipe)

    return rl_checkpoint
