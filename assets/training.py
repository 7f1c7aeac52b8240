"""Training: supervised fine-tuning on ideal replies, and reinforcement learning of each variant."""

import dagster as dg
import polars as pl

from assets.comparisons import ideal_completions
from assets.prompts import training_prompts
from assets.reward import reward
from rbr.grading.canary import has_canary
from rbr.grading.canary_probes import CONVERSATIONS
from rbr.profile import RlSettings
from resources.artifacts import Artifacts
from resources.cells import CANARY
from resources.checkpoints import CheckpointMaker, CheckpointRecipe
from resources.grader_canary import check_canary
from resources.models import MODEL_TAGS, Models, grader_in_use
from resources.pages.check_results import check_result
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_snapshot
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
    key = dg.AssetKey(["rl_checkpoint", variant])

    @dg.asset(
        key=key,
        group_name="training",
        code_version=RL_CODE,
        tags=MODEL_TAGS,
        description=description,
        deps=[training_prompts, snapshot_key("profile/rl"), *more_deps],
        check_specs=[
            dg.AssetCheckSpec(
                "rollouts_have_a_reward",
                asset=key,
                blocking=True,
                description="At most a share of rl.max_unscored of the rollouts got no reward, and at least one did.",
            )
        ],
    )
    def rl_checkpoint(
        context: dg.AssetExecutionContext,
        store: Store,
        trainer: Trainer,
        tracking: Tracking,
        artifacts: Artifacts,
        progress: Progress,
        models: Models,
    ) -> dg.MaterializeResult:
        recipe = rl_recipe(variant, store, artifacts, progress)

        def check_grader() -> dict[str, str]:
            # The baselines use no grader, so they may not depend on it.
            if variant != "rbr" or not has_canary((grader := grader_in_use(store)).settings):
                return {}
            # A bar of its own: the trainer process writes that of the asset.
            with progress.bar(f"grader of {key.to_user_string()}", len(CONVERSATIONS), "test replies") as bar:
                report = check_canary(store, grader, models.open_grader(grader), bar.update)
            return {CANARY: report} if report else {}

        result = CheckpointMaker(store, artifacts, trainer, tracking).make(context, recipe, check_grader)
        return dg.MaterializeResult(
            data_version=result.data_version,
            metadata=result.metadata,
            check_results=[_reward_check(store, artifacts, recipe)],
        )

    return rl_checkpoint


def _reward_check(store: Store, artifacts: Artifacts, recipe: CheckpointRecipe) -> dg.AssetCheckResult:
    """Checks the share of rollouts without a reward. The policy cannot learn from these rollouts.

    A training over the bound fails and writes no checkpoint. The check finds a checkpoint that was trained under a
    higher bound.
    """
    curves = store.read("training_metrics", "variant = ? AND checkpoint = ?", [recipe.variant, recipe.name])
    # Every step has the same number of rollouts, so the mean of the steps is the share of all rollouts.
    unscored = curves.filter(pl.col("metric") == "unscored")["value"]
    share = None if unscored.is_empty() or unscored.null_count() else float(unscored.sum() / len(unscored))
    bound = read_snapshot(store, RlSettings).max_unscored
    directory = artifacts.checkpoint(recipe.variant, recipe.name)
    again = f"Delete the directory {directory}, so that the checkpoint is trained again."
    if share is None:
        passed, words = None, f"The training did not record for every step how many rollouts got a reward. {again}"
    else:
        passed, words = share <= bound and share < 1, f"{share:.0%} of the rollouts got no reward."
    if passed is False:
        words += (
            f" The bar is {bound:.0%} (rl.max_unscored): the policy has not learned from these rollouts. A rollout has "
            "no reward if the grader's answers could not be read, or if the reward model could not score it. Remove "
            f"the cause, for example a wrong spelling of yes and no. {again}"
        )
    return check_result("rollouts_have_a_reward", passed=passed, words=words, blocks=True)


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
