"""Training: supervised fine-tuning on ideal replies, and reinforcement learning of each variant."""

import dagster as dg

from assets.comparisons import ideal_completions
from assets.prompts import training_prompts
from assets.reward import reward
from resources.artifacts import Artifacts
from resources.checkpoints import CheckpointMaker
from resources.models import MODEL_TAGS
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.tracking import Tracking
from resources.trainer import Trainer
from resources.training_recipes import RL_CODE, SFT_CODE, rl_recipe, sft_recipe


@dg.asset(
    group_name="training",
    code_version=SFT_CODE,
    tags=MODEL_TAGS,
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
    """RBR-SFT: the helpful-only policy, fine-tuned on ideal refusals and on its own helpful replies."""
    recipe = sft_recipe(store, artifacts, progress)
    return CheckpointMaker(store, artifacts, trainer, tracking).make(context, recipe)


def _rl_asset(variant: str, description: str, more_deps: list) -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey(["rl_checkpoint", variant]),
        group_name="training",
        code_version=RL_CODE,
        tags=MODEL_TAGS,
        description=description,
        deps=[training_prompts, snapshot_key("profile/rl"), *more_deps],
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
        return CheckpointMaker(store, artifacts, trainer, tracking).make(context, recipe)

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
        "Baseline without rules: the helpful-only policy after GRPO on the helpful-only reward model.",
        [snapshot_key("models/policy"), snapshot_key("models/helpful_reward_model")],
    ),
    "human": _rl_asset(
        "human",
        "Baseline without rules: the helpful-only policy after GRPO on the human-preference reward model.",
        [snapshot_key("models/policy"), snapshot_key("models/human_reward_model")],
    ),
}
