"""Audits the fitted reward on held-out prompts: error rates by label, grader and oracle; the reward of each class."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.comparisons import proposition_grades, reward_model_scores, synthetic_comparisons
from assets.prompts import training_prompts
from assets.reward import fitted_weights
from rbr.classes.classification import most_probable_classes
from rbr.comparisons.prompt_sampling import is_held_out
from rbr.evaluation.judges import classes_by_judge
from rbr.profile import FitSettings
from rbr.reward.audit import class_error_rates, rewarded
from rbr.rulebook import Behavior
from resources.pages.asset_pages import preview, save_table
from resources.pages.asset_plots import reward_histograms
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_oracle, read_snapshot
from resources.store.table_content import read_accepted_propositions, read_thresholds, read_weights
from resources.store.tables import TABLES

_PREVIEW_PAIRS = 10


@dg.asset(
    group_name="reward",
    code_version="2",
    deps=[
        fitted_weights,
        synthetic_comparisons,
        proposition_grades,
        reward_model_scores,
        accepted_propositions,
        # The texts that the oracle judges.
        training_prompts,
        snapshot_key("rulebook/behavior"),
        # The share of held-out prompts.
        snapshot_key("profile/fit"),
        snapshot_key("models/oracle"),
    ],
)
def reward_audit(store: Store) -> dg.MaterializeResult:
    """Error rates of the reward on held-out prompts, the pairs that it orders wrongly, and the reward of each class."""
    behavior = read_snapshot(store, Behavior)
    held_out_fraction = read_snapshot(store, FitSettings).held_out_fraction
    grades, thresholds = store.read("proposition_grades"), read_thresholds(store)
    # The candidates include replies that did not turn out as their slot asks. Their class orders them, not their label.
    candidates = store.read("synthetic_comparisons").unique("completion_id", keep="first", maintain_order=True)
    rewards = rewarded(
        candidates,
        grades,
        store.read("reward_model_scores"),
        behavior,
        read_weights(store),
        accepted=frozenset(read_accepted_propositions(store)),
        thresholds=thresholds,
    )
    classified = most_probable_classes(rewards, grades, behavior, thresholds)
    prompt_ids = candidates["prompt_id"].unique()
    held_out = pl.col("prompt_id").is_in([name for name in prompt_ids if is_held_out(name, held_out_fraction)])
    messages = store.read("training_prompts").select("prompt_id", "messages")
    judged = rewards.filter(held_out).join(messages, on="prompt_id", how="left", maintain_order="left")
    by_oracle = classes_by_judge(read_oracle(store), judged, behavior).replies
    rates = pl.concat(
        [
            _verified_rates(store.read("fit_certificates")),
            class_error_rates(classified.filter(held_out), behavior).with_columns(
                replies=pl.lit("candidates by grader")
            ),
            class_error_rates(by_oracle, behavior).with_columns(replies=pl.lit("candidates by oracle")),
        ],
        how="diagonal_relaxed",
    ).select(pl.col(name).cast(dtype) for name, dtype in TABLES["reward_error_rates"].dtypes.items())
    pairs = store.read("wrongly_ordered_pairs")
    return save_table(
        store,
        "reward_error_rates",
        rates,
        metadata={
            "rewards": reward_histograms(classified, behavior),
            "error rates": preview(rates),
            "wrongly ordered held-out pairs": pairs.height,
            "first wrongly ordered pairs": preview(pairs.head(_PREVIEW_PAIRS)),
        },
    )


def _verified_rates(certificates: pl.DataFrame) -> pl.DataFrame:
    return certificates.select(
        "response_type",
        pl.col("n_error_pairs").alias("n_pairs"),
        pl.col("n_error_pairs_left_out").alias("n_left_out"),
        "error_rm",
        "error_rbr",
        "error_total",
        replies=pl.lit("verified"),
    )
