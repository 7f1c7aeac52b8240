"""The reward: the fitted weights, and one artifact that contains everything for rewarding new replies."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.comparisons import proposition_grades, reward_model_scores, verified_comparisons
from rbr.classes.features import feature_map
from rbr.hashing import frame_hash
from rbr.profile import FitSettings, GraderSettings
from rbr.reward.artifact import RewardArtifact, build_artifact
from rbr.reward.fit import fit
from rbr.reward.fit_problems import fit_problems
from rbr.rulebook import Behavior, ContentPolicy, Propositions
from resources.artifacts import Artifacts
from resources.pages.asset_pages import preview, save_table
from resources.pages.asset_plots import weights_plot
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot
from resources.store.table_content import read_accepted_propositions, read_thresholds
from resources.store.tables import TABLES

MAX_GAP = 1e-6


@dg.asset(
    group_name="reward",
    code_version="1",
    deps=[
        verified_comparisons,
        proposition_grades,
        reward_model_scores,
        accepted_propositions,
        # Features, ranking and margins.
        snapshot_key("rulebook/behavior"),
        snapshot_key("profile/fit"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "weights_are_optimal",
            asset="fitted_weights",
            blocking=True,
            description=f"The relative duality gap of each fit is at most {MAX_GAP:g}, so the weights are optimal.",
        ),
        dg.AssetCheckSpec(
            "rules_improve_on_the_reward_model",
            asset="fitted_weights",
            description="On held-out prompts, the error rate of R_rm + R_rbr is zero or lower than that of R_rm alone.",
        ),
    ],
)
def fitted_weights(store: Store) -> dg.MaterializeResult:
    """Weights per response type, fitted so that R_rm + R_rbr ranks replies as the behavior policy does."""
    settings = read_snapshot(store, FitSettings)
    problems = fit_problems(
        store.read("verified_comparisons"),
        store.read("proposition_grades"),
        store.read("reward_model_scores"),
        read_snapshot(store, Behavior),
        accepted=read_accepted_propositions(store),
        thresholds=read_thresholds(store),
    )
    results = [fit(problem, **settings.model_dump()) for problem in problems]
    weights = _rows("fitted_weights", [row for result in results for row in result.weight_rows()])
    certificates = _rows("fit_certificates", [result.certificate_row() for result in results])
    store.replace("fit_certificates", certificates)
    return save_table(
        store,
        "fitted_weights",
        weights,
        extra_version=frame_hash(certificates),
        metadata={"weights": weights_plot(weights), "fits": preview(certificates)},
        check_results=[_gap_check(certificates), _error_check(certificates)],
    )


@dg.asset(
    group_name="reward",
    code_version="1",
    deps=[
        fitted_weights,
        accepted_propositions,
        snapshot_key("rulebook/propositions"),
        # The class rules. Ranking and margins affect the reward only through the weights.
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
        # The number of few-shot examples of a question.
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
        snapshot_key("models/helpful_reward_model"),
    ],
)
def reward(store: Store, artifacts: Artifacts) -> dg.MaterializeResult:
    """The reward artifact: one self-contained directory, from which a TRL script computes R_rbr."""
    weights = store.read("fitted_weights")
    behavior = read_snapshot(store, Behavior)
    accepted, thresholds = read_accepted_propositions(store), read_thresholds(store)
    weights_by_type = {
        response_type: dict(rows.select("feature", "weight").iter_rows())
        for (response_type,), rows in weights.group_by("response_type", maintain_order=True)
    }
    features_by_type = {
        response_type: feature_map(behavior, response_type, accepted=accepted, thresholds=thresholds)
        for response_type in weights_by_type
    }
    artifact = build_artifact(
        weights_by_type,
        features_by_type,
        read_snapshot(store, Propositions),
        read_snapshot(store, ContentPolicy),
        few_shot=read_snapshot(store, GraderSettings).few_shot,
        grader=read_model(store, "grader").fingerprint,
        reward_model=read_model(store, "helpful_reward_model").fingerprint,
    )
    artifact.save(artifacts.reward)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.identity),
        metadata={
            "reward": dg.MetadataValue.path(str(artifacts.reward)),
            "propositions to grade": preview(_propositions_by_response_type(artifact)),
            "grader": artifact.grader,
            "reward model": artifact.reward_model,
        },
    )


def _propositions_by_response_type(artifact: RewardArtifact) -> pl.DataFrame:
    propositions = {response_type: rules.features.propositions for response_type, rules in artifact.rules.items()}
    return pl.DataFrame(
        [(response_type, len(names), ", ".join(names)) for response_type, names in propositions.items()],
        schema=["response_type", "propositions", "names"],
        orient="row",
    )


def _rows(table: str, rows: list[dict]) -> pl.DataFrame:
    dtypes = TABLES[table].dtypes
    return pl.DataFrame([{name: row[name] for name in dtypes} for row in rows], schema=dtypes)


def _gap_check(certificates: pl.DataFrame) -> dg.AssetCheckResult:
    worst = certificates["gap"].max()
    return dg.AssetCheckResult(
        check_name="weights_are_optimal",
        passed=worst is not None and worst <= MAX_GAP,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"largest gap": worst},
    )


def _error_check(certificates: pl.DataFrame) -> dg.AssetCheckResult:
    measured = certificates.drop_nulls(["error_rm", "error_total"])
    worse = measured.filter((pl.col("error_total") >= pl.col("error_rm")) & (pl.col("error_total") > 0))
    return dg.AssetCheckResult(
        check_name="rules_improve_on_the_reward_model",
        passed=worse.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"error rates": preview(certificates.select("response_type", pl.selectors.starts_with("error")))},
    )
