"""The reward: the fitted weights, and one artifact that contains everything for rewarding new replies."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.comparisons import proposition_grades, reward_model_scores, verified_comparisons
from assets.reward_checks import CHECKS, check_error_rates, check_optimality, check_order, check_signs
from rbr.classes.features import feature_map
from rbr.hashing import content_hash, frame_hash
from rbr.profile import FitSettings, GraderSettings
from rbr.reward.artifact import RewardArtifact, build_artifact
from rbr.reward.audit import wrongly_ordered_pairs
from rbr.reward.fit import fit
from rbr.reward.fit_problems import FitProblem, fit_problems
from rbr.reward.fit_result import FitResult
from rbr.rulebook import Behavior, ContentPolicy, Propositions
from resources.artifacts import Artifacts
from resources.models import grader_in_use
from resources.pages.asset_pages import PREVIEW_ROWS, preview, save_table
from resources.pages.asset_plots import weights_plot
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_model, read_snapshot
from resources.store.table_content import read_accepted_propositions, read_thresholds, read_weights
from resources.store.tables import TABLES


@dg.asset(
    group_name="reward",
    code_version="3",
    deps=[
        verified_comparisons,
        proposition_grades,
        reward_model_scores,
        accepted_propositions,
        # Classes, features, signs, ranking, margins and error bars.
        snapshot_key("rulebook/behavior"),
        snapshot_key("profile/fit"),
    ],
    check_specs=CHECKS,
)
def fitted_weights(store: Store) -> dg.MaterializeResult:
    """Weights per response type, fitted so that R_rm + R_rbr ranks replies as the behavior policy does."""
    settings = read_snapshot(store, FitSettings)
    behavior = read_snapshot(store, Behavior)
    verified = store.read("verified_comparisons")
    problems = fit_problems(
        verified,
        store.read("proposition_grades"),
        store.read("reward_model_scores"),
        behavior,
        accepted=read_accepted_propositions(store),
        thresholds=read_thresholds(store),
    )
    results = [fit(problem, **settings.model_dump()) for problem in problems]
    weights = _rows("fitted_weights", [row for result in results for row in result.weight_rows()])
    certificates = _rows("fit_certificates", [result.certificate_row() for result in results])
    pairs = _wrongly_ordered(verified, problems, results, settings.held_out_fraction)
    store.replace("fit_certificates", certificates)
    store.replace("wrongly_ordered_pairs", pairs)
    is_constrained = settings.constraints == "order_and_signs"
    return save_table(
        store,
        "fitted_weights",
        weights,
        extra_version=content_hash([frame_hash(certificates), frame_hash(pairs)]),
        metadata={
            "weights": weights_plot(weights),
            "fits": preview(certificates),
            "wrongly ordered held-out pairs": pairs.height,
            "first wrongly ordered pairs": preview(pairs.head(PREVIEW_ROWS)),
        },
        check_results=[
            check_optimality(results),
            check_order(results, is_constrained=is_constrained),
            check_signs(results, is_constrained=is_constrained),
            check_error_rates(results, behavior),
        ],
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
    behavior = read_snapshot(store, Behavior)
    accepted, thresholds = read_accepted_propositions(store), read_thresholds(store)
    weights_by_type = read_weights(store)
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
        grader=grader_in_use(store).version,
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


def _wrongly_ordered(
    verified: pl.DataFrame, problems: list[FitProblem], results: list[FitResult], held_out_fraction: float
) -> pl.DataFrame:
    """Returns the held-out pairs that the reward orders wrongly, with their causes."""
    rows = []
    for problem, result in zip(problems, results, strict=True):
        replies = verified.filter(pl.col("response_type") == problem.response_type)
        ids, labels, prompts = replies["completion_id"], replies["label"], replies["prompt_id"]
        for pair in wrongly_ordered_pairs(problem, result.weights, held_out_fraction):
            better, worse = pair.better, pair.worse
            causes = ", ".join(f"{name} {value:+.3f}" for name, value in pair.causes)
            labels_of_pair = labels[better], labels[worse]
            rows.append(
                (problem.response_type, prompts[better], ids[better], ids[worse], *labels_of_pair, pair.lead, causes)
            )
    table = pl.DataFrame(rows, schema=TABLES["wrongly_ordered_pairs"].dtypes, orient="row")
    # Two slots with the same instruction share their completions.
    return table.unique(["better", "worse"], keep="first", maintain_order=True)


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
