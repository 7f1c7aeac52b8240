"""The reward: fitted weights, and one artifact that holds everything needed to compute them on new replies."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, read_accepted, read_thresholds
from assets.comparisons import proposition_grades, reward_model_scores, verified_comparisons
from assets.snapshots import snapshot_key
from rbr.classes.features import feature_map
from rbr.hashing import frame_hash
from rbr.profile import FitSettings, GraderSettings
from rbr.reward.artifact import RewardArtifact, assemble
from rbr.reward.fit import fit
from rbr.reward.fit_problems import fit_problems
from rbr.rulebook import Behavior, ContentPolicy, Propositions
from resources.artifacts import Artifacts
from resources.pages.plots import weights_plot
from resources.pages.tables import preview, save_table
from resources.store import Store
from resources.store.tables import TABLES
from resources.stored_inputs import read_model, read_snapshot

LARGEST_GAP = 1e-6


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
            description=f"The duality gap certifies each fit to a relative {LARGEST_GAP:g}.",
        ),
        dg.AssetCheckSpec(
            "rules_improve_on_the_reward_model",
            asset="fitted_weights",
            description="On held-out prompts R_rm + R_rbr errs less often than R_rm alone, or never.",
        ),
    ],
)
def fitted_weights(store: Store) -> dg.MaterializeResult:
    """Weights per response type that make R_rm + R_rbr rank the comparisons as the behavior policy does."""
    settings = read_snapshot(store, FitSettings)
    problems = fit_problems(
        store.read("verified_comparisons"),
        store.read("proposition_grades"),
        store.read("reward_model_scores"),
        read_snapshot(store, Behavior),
        accepted=read_accepted(store),
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
        beside=frame_hash(certificates),
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
        # The class rules; ranking and margins end in the weights.
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
        # Examples shown with a question.
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
        snapshot_key("models/helpful_reward_model"),
    ],
)
def reward(store: Store, artifacts: Artifacts) -> dg.MaterializeResult:
    """One self-contained directory from which anyone's TRL script computes R_rbr."""
    weights = store.read("fitted_weights")
    behavior = read_snapshot(store, Behavior)
    by_type = {
        kind: dict(rows.select("feature", "weight").iter_rows())
        for (kind,), rows in weights.group_by("response_type", maintain_order=True)
    }
    artifact = assemble(
        by_type,
        {
            kind: feature_map(behavior, kind, accepted=read_accepted(store), thresholds=read_thresholds(store))
            for kind in by_type
        },
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
            "propositions to grade": preview(_asked(artifact)),
            "grader": artifact.grader,
            "reward model": artifact.reward_model,
        },
    )


def _asked(artifact: RewardArtifact) -> pl.DataFrame:
    asked = {kind: rules.features.propositions for kind, rules in artifact.rules.items()}
    return pl.DataFrame(
        [(kind, len(names), ", ".join(names)) for kind, names in asked.items()],
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
        passed=worst is not None and worst <= LARGEST_GAP,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"largest gap": worst},
    )


def _error_check(certificates: pl.DataFrame) -> dg.AssetCheckResult:
    judged = certificates.drop_nulls(["error_rm", "error_total"])
    worse = judged.filter((pl.col("error_total") >= pl.col("error_rm")) & (pl.col("error_total") > 0))
    return dg.AssetCheckResult(
        check_name="rules_improve_on_the_reward_model",
        passed=worse.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"error rates": preview(certificates.select("response_type", pl.selectors.starts_with("error")))},
    )
