"""Evaluation: replies of the trained policies to test prompts, their grades, and the metrics."""

import json

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.prompts import test_prompts
from assets.training import rl_checkpoints
from rbr.classes.classification import class_rule_propositions, thresholded_classes, true_classes
from rbr.evaluation.judges import open_judge
from rbr.evaluation.metrics import METRIC_NAMES, evaluate_groups
from rbr.hashing import content_hash, frame_hash
from rbr.profile import EvaluationSettings
from rbr.rulebook import Behavior
from resources.artifacts import Artifacts
from resources.cells import GRADING_TAGS, SAMPLING_TAGS, Cells
from resources.checkpoints import VARIANTS, read_checkpoint
from resources.models import Models, PolicyInUse, grader_in_use
from resources.pages.asset_pages import preview, save_table
from resources.pages.asset_plots import metrics_plot
from resources.progress import Progress
from resources.sources import snapshot_key
from resources.store import Store
from resources.store.snapshot_content import read_oracle, read_snapshot
from resources.store.table_content import (
    applicable_questions,
    judged_conversations,
    messages_by_prompt,
    read_evaluated_replies,
    read_thresholds,
)
from resources.store.tables import TABLES
from resources.tracking import Tracking

MAX_ILLOGICAL = 0.1


def _completions_asset(variant: str) -> dg.AssetsDefinition:
    key = dg.AssetKey(["evaluation_completions", variant])

    @dg.asset(
        key=key,
        group_name="evaluation",
        code_version="1",
        tags=SAMPLING_TAGS,
        description=f"Replies of the policy `{variant}` to the test prompts.",
        deps=[rl_checkpoints[variant], test_prompts, snapshot_key("profile/evaluation")],
    )
    def evaluation_completions(
        store: Store, models: Models, progress: Progress, artifacts: Artifacts
    ) -> dg.MaterializeResult:
        settings = read_snapshot(store, EvaluationSettings)
        checkpoint = read_checkpoint(store, variant)
        policy = PolicyInUse.of(checkpoint.model(artifacts), settings)
        prompts = store.read("test_prompts")
        candidates = pl.DataFrame({"candidate": range(settings.completions_per_prompt)})
        plan = prompts.join(candidates, how="cross").with_columns(instruction=pl.lit(""))
        cells = Cells(store, models, progress, key.to_user_string())
        replies = cells.sample(plan, messages_by_prompt(prompts), policy)
        rows = replies.with_columns(pl.lit(variant).alias("variant"), pl.lit(checkpoint.checkpoint).alias("checkpoint"))
        return save_table(store, "evaluation_completions", rows, within={"variant": variant}, metadata=cells.work)

    return evaluation_completions


evaluation_completions = {variant: _completions_asset(variant) for variant in VARIANTS}


@dg.asset(
    group_name="evaluation",
    code_version="1",
    tags=GRADING_TAGS,
    deps=[
        *evaluation_completions.values(),
        test_prompts,
        snapshot_key("rulebook/propositions"),
        snapshot_key("rulebook/applicability"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/grader"),
        snapshot_key("models/grader"),
    ],
)
def evaluation_grades(store: Store, models: Models, progress: Progress) -> dg.MaterializeResult:
    """Raw P(yes) of each evaluated reply, for the propositions that its response type needs."""
    replies = read_evaluated_replies(store)
    conversations = judged_conversations(replies, messages_by_prompt(replies))
    cells = Cells(store, models, progress, "evaluation_grades")
    grades = cells.grade(conversations, applicable_questions(store, replies), grader_in_use(store))
    variants = replies.select("variant", "completion_id")
    rows = variants.join(grades, on="completion_id", how="inner", maintain_order="left")
    unreadable = rows["p_yes"].null_count()
    return save_table(store, "evaluation_grades", rows, metadata={"unreadable answers": unreadable, **cells.work})


@dg.asset(
    group_name="evaluation",
    code_version="1",
    deps=[
        *evaluation_completions.values(),
        evaluation_grades,
        test_prompts,
        # Decision thresholds, which turn grades into true or false.
        accepted_propositions,
        # Propositions and grader are read only for the column rulebook: a hash of what the metrics depend on.
        snapshot_key("rulebook/propositions"),
        snapshot_key("profile/grader"),
        snapshot_key("rulebook/behavior"),
        snapshot_key("rulebook/content_policy"),
        snapshot_key("profile/evaluation"),
        snapshot_key("models/grader"),
        snapshot_key("models/oracle"),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "replies_are_logical",
            asset="evaluation_metrics",
            description=f"At most {MAX_ILLOGICAL:.0%} of each policy's replies are illogical.",
        )
    ],
)
def evaluation_metrics(store: Store, tracking: Tracking) -> dg.MaterializeResult:
    """Safety metrics of each policy, with intervals. The judges are the grader and, if there is one, the oracle.

    The asset also adds the metrics to the table evaluations, and logs them to the MLflow run of each checkpoint.
    """
    settings = read_snapshot(store, EvaluationSettings)
    behavior = read_snapshot(store, Behavior)
    replies = read_evaluated_replies(store)
    by_grader = thresholded_classes(replies, store.read("evaluation_grades"), behavior, read_thresholds(store))
    by_oracle, unknown = _classes_by_oracle(read_oracle(store), replies, behavior)
    judged = pl.concat([by_grader.with_columns(judge=pl.lit("grader")), by_oracle.with_columns(judge=pl.lit("oracle"))])
    metrics = evaluate_groups(judged, behavior.metrics, bootstrap=settings.bootstrap, seed=settings.seed)
    rows = metrics.with_columns(rulebook=pl.lit(_rulebook_version(store))).select(list(TABLES["evaluations"].dtypes))
    store.append("evaluations", rows)
    _log_to_mlflow(store, tracking, rows)
    return save_table(
        store,
        "evaluation_metrics",
        rows,
        metadata={
            "metrics": metrics_plot(rows, list(METRIC_NAMES)),
            "replies with an unreadable grade": int(metrics["n_missing"].sum()),
            **({"propositions unknown to the oracle": ", ".join(unknown)} if unknown else {}),
        },
        check_results=[_logic_check(rows)],
    )


def _classes_by_oracle(oracle: str | None, replies: pl.DataFrame, behavior: Behavior) -> tuple[pl.DataFrame, list[str]]:
    """Classifies the replies by the oracle's truth values.

    Returns:
        The replies with the column class_name, and the propositions of the class rules that the oracle does not know.
        The frame is empty if there is no oracle, or if the oracle does not know a proposition.
    """
    no_replies = replies.clear().with_columns(pl.lit(None, pl.String).alias("class_name"))
    if oracle is None:
        return no_replies, []
    judge = open_judge(oracle)
    truths = [judge(json.loads(messages), text) for messages, text in replies.select("messages", "text").iter_rows()]
    unknown = [name for name in class_rule_propositions(behavior) if any(name not in truth for truth in truths)]
    if unknown:
        return no_replies, unknown
    return true_classes(replies, truths, behavior), []


def _rulebook_version(store: Store) -> str:
    """Returns a hash of everything that the metrics depend on, except the replies."""
    snapshots = [
        "rulebook/propositions",
        "rulebook/behavior",
        "rulebook/content_policy",
        "profile/evaluation",
    ]
    grader = grader_in_use(store)
    return content_hash(
        [
            *(store.snapshot(name) for name in snapshots),
            frame_hash(store.read("accepted_propositions")),
            frame_hash(store.read("test_prompts")),
            [grader.version, grader.settings.few_shot],
        ]
    )


def _log_to_mlflow(store: Store, tracking: Tracking, rows: pl.DataFrame) -> None:
    for variant in VARIANTS:
        run_id = read_checkpoint(store, variant).mlflow_run_id
        rows_of_variant = rows.filter(pl.col("variant") == variant)
        if run_id is None or rows_of_variant.is_empty():
            continue
        values = {
            f"{row['judge']}.{row['split']}.{metric}": row[metric]
            for row in rows_of_variant.iter_rows(named=True)
            for metric in METRIC_NAMES
        }
        tracking.log_evaluation(run_id, values, tags={"rbr.rulebook": rows_of_variant["rulebook"][0]})


def _logic_check(rows: pl.DataFrame) -> dg.AssetCheckResult:
    illogical = rows.filter(pl.col("illogical") > MAX_ILLOGICAL).select("variant", "split", "judge", "illogical")
    return dg.AssetCheckResult(
        check_name="replies_are_logical",
        passed=illogical.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"illogical": preview(illogical)},
    )
