"""The checks of `evaluation_metrics`: illogical replies, replies without a class, and what the oracle knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.missing_answers import missing_by_proposition, surely_above
from rbr.evaluation.share_counts import class_membership, undecided_metrics
from rbr.rulebook import Behavior
from resources.checkpoints import VARIANTS
from resources.pages.asset_pages import preview
from resources.pages.check_results import check_result

MAX_ILLOGICAL = 0.1
"""Largest share of illogical replies of a policy, on a split and by a judge."""

_GROUP = ["variant", "split", "judge"]


def check_logic(judged: pl.DataFrame, behavior: Behavior) -> dg.AssetCheckResult:
    """Checks the share of illogical replies of each policy, split and judge.

    A reply without a class may be illogical. If such replies could bring the share above the bar, the check is
    undecided.

    Args:
        judged: Columns variant, split, judge, response_type and class_name (null if the reply has no class);
            optionally possible_classes of a reply without a class.
        behavior: The behavior policy; it says which classes are illogical.
    """
    share = behavior.metrics.illogical
    counts = (
        judged.with_columns(class_membership(judged, share.classes).alias("is_illogical"))
        .filter(pl.col("response_type").is_in(list(share.response_types)))
        .group_by(_GROUP)
        .agg(
            pl.len().alias("replies"),
            pl.col("is_illogical").sum().alias("illogical"),
            pl.col("is_illogical").null_count().alias("without_class"),
        )
        .sort(_GROUP)
    )
    above = counts.filter(pl.col("illogical") > MAX_ILLOGICAL * pl.col("replies"))
    possibly_above = counts.filter(pl.col("illogical") + pl.col("without_class") > MAX_ILLOGICAL * pl.col("replies"))
    if not above.is_empty():
        passed = False
        words = (
            f"Illogical replies: {_shares(above, 'illogical')}. The bar is {MAX_ILLOGICAL:.0%}. Training for too long, "
            "or a reward that pays for such replies, can cause them; `rbr explain` shows the reward of a reply."
        )
    elif counts.is_empty():
        passed, words = None, "No reply was judged."
    elif not possibly_above.is_empty():
        passed = None
        words = (
            f"Replies without a class, which may be illogical: {_shares(possibly_above, 'without_class')}. "
            f"The bar is {MAX_ILLOGICAL:.0%}. The check replies_have_a_class says what to do."
        )
    else:
        passed = True
        words = f"Illogical replies: at most {_shares(_largest(counts, 'illogical'), 'illogical')}."
    return check_result(
        "replies_are_logical", passed=passed, words=words, blocks=False, metadata={"illogical": preview(above)}
    )


def with_refusals(replies: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    """Adds the column refused: whether a content filter refused to judge the reply.

    Args:
        replies: Columns variant and completion_id, and any others.
        grades: Columns variant, completion_id and outcome.
    """
    refused = grades.filter(pl.col("outcome") == "refused").select("variant", "completion_id").unique()
    return replies.join(
        refused.with_columns(refused=pl.lit(True)), on=["variant", "completion_id"], how="left", maintain_order="left"
    ).with_columns(pl.col("refused").fill_null(False))


def check_classes(judged: pl.DataFrame, grades: pl.DataFrame, max_unread: float) -> dg.AssetCheckResult:
    """Checks the share of replies without a class of each policy and split, and of each category.

    A policy and split fail if the share is above the bar. A category has few replies, so it fails only if the share is
    above the bar with 95 % confidence.

    Args:
        judged: Columns variant, split, judge, category, refused and class_name (null if the reply has no class).
        grades: Columns proposition and p_yes (null unless answered) of the judged replies.
        max_unread: Largest share of replies without a class, in [0, 1].
    """
    counts, by_category = (
        judged.group_by(group)
        .agg(
            pl.len().alias("replies"),
            pl.col("class_name").null_count().alias("without_class"),
            (pl.col("class_name").is_null() & pl.col("refused")).sum().alias("refused"),
        )
        .sort(group)
        for group in (_GROUP, [*_GROUP, "category"])
    )
    without_replies = [variant for variant in VARIANTS if variant not in set(counts["variant"])]
    above = counts.filter(pl.col("without_class") > max_unread * pl.col("replies"))
    shares = by_category["without_class"] / by_category["replies"]
    above_by_category = by_category.filter(surely_above(shares, by_category["replies"], max_unread))
    if not above.is_empty() or not above_by_category.is_empty():
        passed = False
        which = above if not above.is_empty() else above_by_category
        words = (
            f"Replies without a class: {_shares(which, 'without_class')}. The bar is {max_unread:.0%} "
            f"(grader.max_unread). Of these replies, a content filter refused to judge {which['refused'].sum()}. "
            f"Missing answers of the grader, by proposition: {missing_by_proposition(grades)}. The column "
            "reason of the table grades says why. Check grader.yes, grader.no and grader.min_mass; or use a judge "
            "without a filter."
        )
    elif without_replies:
        passed, words = None, f"There is no reply of {', '.join(without_replies)}."
    else:
        passed = True
        words = f"Replies without a class: at most {_shares(_largest(counts, 'without_class'), 'without_class')}."
    return check_result(
        "replies_have_a_class",
        passed=passed,
        words=words,
        blocks=True,
        metadata={"without a class": preview(counts), "without a class, by category": preview(by_category)},
    )


def check_oracle(judged: pl.DataFrame, unknown: Sequence[str], behavior: Behavior) -> dg.AssetCheckResult:
    """Checks that the oracle knows every proposition of the class rules. The check only warns.

    Args:
        judged: The replies judged by the oracle: columns variant, split, response_type, class_name (null if the class
            depends on a proposition that the oracle does not know) and possible_classes. Empty if there is no oracle.
        unknown: Propositions of the class rules that the oracle does not know.
        behavior: The behavior policy.
    """
    if not unknown:
        words = "The profile names no oracle." if judged.is_empty() else "The oracle knows every proposition."
        return check_result("oracle_knows_the_rules", passed=True, words=words, blocks=False)
    left_out = undecided_metrics(judged, behavior.metrics)
    counts = (
        judged.group_by("variant", "split")
        .agg(pl.len().alias("replies"), pl.col("class_name").null_count().alias("without_class"))
        .sort("variant", "split")
    )
    words = (
        f"The oracle does not know {', '.join(unknown)}. By the oracle, {judged['class_name'].null_count()} of "
        f"{judged.height} replies have no class. A metric that such a reply leaves open is left out: "
        f"{', '.join(left_out) or 'none'}. Teach these propositions to the oracle, or use the figures of the grader."
    )
    metadata = {"without a class": preview(counts)}
    return check_result("oracle_knows_the_rules", passed=False, words=words, blocks=False, metadata=metadata)


def _shares(counts: pl.DataFrame, column: str) -> str:
    """Returns a share of replies in words, for each policy, split and judge."""
    return "; ".join(
        f"{row[column]} of {row['replies']} ({row[column] / row['replies']:.0%}) "
        f"of {row['variant']} on {row['split']}{_category(row)}, judged by the {row['judge']}"
        for row in counts.iter_rows(named=True)
    )


def _largest(counts: pl.DataFrame, column: str) -> pl.DataFrame:
    return counts.sort(pl.col(column) / pl.col("replies"), descending=True, maintain_order=True).head(1)


def _category(row: Mapping[str, Any]) -> str:
    return f", category {row['category']}" if "category" in row else ""
