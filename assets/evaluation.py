"""Evaluation: replies of the trained policies to test prompts, their grades, and the metrics."""

import json

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions, read_thresholds
from assets.prompts import test_prompts
from assets.snapshots import snapshot_key
from assets.training import rl_checkpoints
from rbr.classes.classification import counted_classes, propositions_of_rules, true_classes
from rbr.errors import InputError
from rbr.evaluation.metrics import METRIC_NAMES, evaluate_groups
from rbr.hashing import content_hash, frame_hash
from rbr.profile import EvaluationSettings, GraderSettings, ModelRef
from rbr.rulebook import Behavior
from resources.artifacts import Artifacts
from resources.asset_tags import GRADING, SAMPLING, VARIANTS
from resources.cells import Cells, Sampling, grader_version, name_completions
from resources.checkpoints import read_checkpoint
from resources.models import Models
from resources.pages.plots import metrics_plot
from resources.pages.tables import preview, save_table
from resources.progress import Progress
from resources.store import Store
from resources.store.tables import TABLES
from resources.stored_inputs import (
    judged_conversations,
    messages_by_prompt,
    proposition_questions,
    read_applicability,
    read_model,
    read_snapshot,
    with_response_type,
)
from resources.tracking import Tracking

MAX_ILLOGICAL = 0.1


def _completions_asset(variant: str) -> dg.AssetsDefinition:
    key = dg.AssetKey(["evaluation_completions", variant])

    @dg.asset(
        key=key,
        group_name="evaluation",
        code_version="1",
        tags=SAMPLING,
        description=f"Replies of the policy `{variant}` to the test prompts.",
        deps=[rl_checkpoints[variant], test_prompts, snapshot_key("profile/evaluation")],
    )
    def evaluation_completions(
        store: Store, models: Models, progress: Progress, artifacts: Artifacts
    ) -> dg.MaterializeResult:
        settings = read_snapshot(store, EvaluationSettings)
        checkpoint = read_checkpoint(store, variant)
        policy = ModelRef(path=str(artifacts.absolute(checkpoint.path)), revision=None)
        sampling = Sampling.of(settings)
        prompts = store.read("test_prompts")
        messages = messages_by_prompt(prompts)
        plan = prompts.join(pl.DataFrame({"candidate": range(settings.completions_per_prompt)}), how="cross")
        cells = Cells(store, progress, key.to_user_string())
        replies = cells.sample(
            name_completions(
                plan.with_columns(pl.lit("").alias("instruction")), messages, checkpoint.fingerprint, sampling
            ),
            messages,
            lambda: models.policy(policy, settings.batch_size),
            checkpoint.fingerprint,
            sampling,
            settings.batch_size,
        )
        rows = replies.with_columns(pl.lit(variant).alias("variant"), pl.lit(checkpoint.checkpoint).alias("checkpoint"))
        return save_table(store, "evaluation_completions", rows, within={"variant": variant}, metadata=cells.work)

    return evaluation_completions


evaluation_completions = {variant: _completions_asset(variant) for variant in VARIANTS}


@dg.asset(
    group_name="evaluation",
    code_version="1",
    tags=GRADING,
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
    """Raw P(yes) of each evaluated reply for the propositions that its response type needs."""
    settings = read_snapshot(store, GraderSettings)
    grader = read_model(store, "grader")
    replies = evaluated_replies(store)
    applicable = read_applicability(store)
    cells = Cells(store, progress, "evaluation_grades")
    grades = cells.grade(
        judged_conversations(replies, messages_by_prompt(replies)),
        {cell: applicable[kind] for cell, kind in replies.select("completion_id", "response_type").iter_rows()},
        proposition_questions(store),
        lambda: models.grader(grader.ref, settings),
        grader_version(grader.fingerprint, settings),
        settings,
    )
    owners = replies.select("variant", "completion_id")
    rows = owners.join(grades, on="completion_id", how="inner", maintain_order="left")
    unread = rows["p_yes"].null_count()
    return save_table(store, "evaluation_grades", rows, metadata={"unread": unread, **cells.work})


@dg.asset(
    group_name="evaluation",
    code_version="1",
    deps=[
        *evaluation_completions.values(),
        evaluation_grades,
        test_prompts,
        # Decision thresholds: the evaluation counts grades as true or false.
        accepted_propositions,
        # Named in the key under which the figures are kept for good.
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
    """Safety metrics of each policy with intervals, by the grader and, in the sandbox, by the oracle.

    They are also kept for good in the table evaluations, and logged to each checkpoint's MLflow run.
    """
    settings = read_snapshot(store, EvaluationSettings)
    behavior = read_snapshot(store, Behavior)
    replies = evaluated_replies(store)
    by_grader = counted_classes(replies, store.read("evaluation_grades"), behavior, read_thresholds(store))
    judged = [by_grader.with_columns(judge=pl.lit("grader"))]
    unknown: list[str] = []
    if store.snapshot("models/oracle")["world"] == "sandbox":
        by_oracle, unknown = _by_oracle(replies, behavior)
        judged.append(by_oracle.with_columns(judge=pl.lit("oracle")))
    metrics = evaluate_groups(pl.concat(judged), behavior.metrics, bootstrap=settings.bootstrap, seed=settings.seed)
    version = _judgement_version(store)
    rows = metrics.with_columns(pl.lit(version).alias("rulebook")).select(list(TABLES["evaluations"].dtypes))
    store.append("evaluations", rows)
    _log(store, tracking, rows)
    return save_table(
        store,
        "evaluation_metrics",
        rows,
        metadata={
            "metrics": metrics_plot(rows, list(METRIC_NAMES)),
            "unread replies": int(metrics["n_missing"].sum()),
            **({"no oracle: it does not know": ", ".join(unknown)} if unknown else {}),
        },
        check_results=[_logic_check(rows)],
    )


def evaluated_replies(store: Store) -> pl.DataFrame:
    """The current replies with the messages and the response type of their prompts."""
    prompts = store.read("test_prompts").select("prompt_id", "messages", "category")
    replies = store.read("evaluation_completions")
    if replies.is_empty():
        raise InputError(
            "there is no test prompt to evaluate on",
            where="evaluation.test_fraction",
            hint="Raise it, or mark prompts as held_out in the data file.",
        )
    return with_response_type(store, replies.join(prompts, on="prompt_id", how="inner", maintain_order="left"))


def _by_oracle(replies: pl.DataFrame, behavior: Behavior) -> tuple[pl.DataFrame, list[str]]:
    """Replies with their true class; none of them where a rule names a proposition the oracle does not know."""
    from rbr_sandbox.oracle import truths

    known = [truths(json.loads(messages), text) for messages, text in replies.select("messages", "text").iter_rows()]
    unknown = [name for name in propositions_of_rules(behavior) if name not in known[0]]
    if unknown:
        return replies.clear().with_columns(pl.lit(None, pl.String).alias("class_name")), unknown
    return true_classes(replies, known, behavior), []


def _judgement_version(store: Store) -> str:
    """Hash of everything but the replies that the metrics depend on: the rulebook as the evaluation reads it."""
    snapshots = [
        "rulebook/propositions",
        "rulebook/behavior",
        "rulebook/content_policy",
        "profile/evaluation",
    ]
    settings = read_snapshot(store, GraderSettings)
    return content_hash(
        [
            *(store.snapshot(name) for name in snapshots),
            frame_hash(store.read("accepted_propositions")),
            frame_hash(store.read("test_prompts")),
            [grader_version(read_model(store, "grader").fingerprint, settings), settings.few_shot],
        ]
    )


def _log(store: Store, tracking: Tracking, rows: pl.DataFrame) -> None:
    for variant in VARIANTS:
        run_id = read_checkpoint(store, variant).mlflow_run_id
        own = rows.filter(pl.col("variant") == variant)
        if run_id is None or own.is_empty():
            continue
        values = {
            f"{row['judge']}.{row['split']}.{metric}": row[metric]
            for row in own.iter_rows(named=True)
            for metric in METRIC_NAMES
        }
        tracking.log_evaluation(run_id, values, tags={"rbr.rulebook": own["rulebook"][0]})


def _logic_check(rows: pl.DataFrame) -> dg.AssetCheckResult:
    illogical = rows.filter(pl.col("illogical") > MAX_ILLOGICAL).select("variant", "split", "judge", "illogical")
    return dg.AssetCheckResult(
        check_name="replies_are_logical",
        passed=illogical.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"illogical": preview(illogical)},
    )
