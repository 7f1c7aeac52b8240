"""Evaluation: replies of the trained policies to test prompts, their grades, and the metrics."""

import dagster as dg
import polars as pl

from assets.agreement import accepted_propositions
from assets.evaluation_checks import MAX_ILLOGICAL, check_classes, check_logic, check_oracle, with_refusals
from assets.missing_answers import answer_counts, answer_masses
from assets.prompts import test_prompts
from assets.training import rl_checkpoints
from rbr.classes.classification import thresholded_classes
from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES
from rbr.evaluation.judges import classes_by_judge
from rbr.evaluation.metrics import evaluate_groups
from rbr.evaluation.share_counts import undecided_metrics
from rbr.hashing import content_hash, frame_hash
from rbr.profile import EvaluationSettings
from rbr.rulebook import Behavior
from resources.artifacts import Artifacts
from resources.cells import GRADING_TAGS, SAMPLING_TAGS, Cells
from resources.checkpoints import VARIANTS, read_checkpoint
from resources.models import Models, PolicyInUse, grader_in_use
from resources.pages.asset_pages import sampled_replies, save_table
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
        metadata = {**cells.work, **sampled_replies(rows, by="split")}
        return save_table(store, "evaluation_completions", rows, within={"variant": variant}, metadata=metadata)

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
    return save_table(
        store, "evaluation_grades", rows, metadata={**answer_counts(rows), **answer_masses(rows), **cells.work}
    )


@dg.asset(
    group_name="evaluation",
    code_version="2",
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
        ),
        dg.AssetCheckSpec(
            "replies_have_a_class",
            asset="evaluation_metrics",
            blocking=True,
            description="At most grader.max_unread of each policy's replies have no class, by split and category.",
        ),
        dg.AssetCheckSpec(
            "oracle_knows_the_rules",
            asset="evaluation_metrics",
            description="The oracle knows every proposition of the class rules.",
        ),
    ],
)
def evaluation_metrics(store: Store, tracking: Tracking) -> dg.MaterializeResult:
    """Safety metrics of each policy, with intervals. The judges are the grader and, if there is one, the oracle.

    The asset also adds the metrics to the table evaluations, and logs them to the MLflow run of each checkpoint.
    """
    settings = read_snapshot(store, EvaluationSettings)
    behavior = read_snapshot(store, Behavior)
    replies = read_evaluated_replies(store)
    grades, grader = store.read("evaluation_grades"), grader_in_use(store).settings
    by_grader = thresholded_classes(with_refusals(replies, grades), grades, behavior, read_thresholds(store))
    by_oracle, unknown = classes_by_judge(read_oracle(store), replies.with_columns(refused=pl.lit(False)), behavior)
    by_grader, by_oracle = (
        frame.with_columns(judge=pl.lit(judge)) for frame, judge in ((by_grader, "grader"), (by_oracle, "oracle"))
    )
    # With a few unread answers, a metric has a value and a range. With an oracle that does not know a proposition, it
    # has none: all replies that depend on the proposition are undecided, and they are not a random sample.
    metrics = pl.concat(
        evaluate_groups(
            judged, behavior.metrics, bootstrap=settings.bootstrap, seed=settings.seed, max_undecided=max_undecided
        )
        for judged, max_undecided in ((by_grader, grader.max_unread), (by_oracle, 0.0))
        if not judged.is_empty()
    )
    rows = metrics.with_columns(rulebook=pl.lit(_rulebook_version(store))).select(list(TABLES["evaluations"].dtypes))
    judged = pl.concat([by_grader, by_oracle], how="diagonal")
    store.append("evaluations", rows)
    _log_to_mlflow(store, tracking, rows)
    return save_table(
        store,
        "evaluation_metrics",
        rows,
        metadata={
            "metrics": metrics_plot(rows, list(METRIC_NAMES)),
            "replies without a class by the grader": by_grader["class_name"].null_count(),
            "replies that a content filter refused to judge": int(by_grader["refused"].sum()),
            **_left_out_by_oracle(by_oracle, unknown, behavior),
        },
        check_results=[
            check_logic(judged, behavior),
            check_classes(by_grader, grades, grader.max_unread),
            check_oracle(by_oracle, unknown, behavior),
        ],
    )


def _left_out_by_oracle(by_oracle: pl.DataFrame, unknown: list[str], behavior: Behavior) -> dict[str, str]:
    """Returns what the oracle does not know, and what this leaves out, for the asset's page."""
    if not unknown:
        return {}
    return {
        "propositions unknown to the oracle": ", ".join(unknown),
        "replies without a class by the oracle": f"{by_oracle['class_name'].null_count()} of {by_oracle.height}",
        "metrics that the oracle leaves out": ", ".join(undecided_metrics(by_oracle, behavior.metrics)) or "none",
    }


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
            frame_hash(store.read("accepted_propositions").drop("reason")),
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
            for metric in (*COUNT_NAMES, *(name + end for name in METRIC_NAMES for end in ENDS))
        }
        tracking.log_evaluation(run_id, values, tags={"rbr.rulebook": rows_of_variant["rulebook"][0]})
