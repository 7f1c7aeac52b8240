"""How many answers of the grader are missing, by category: the words of asset pages and of a blocking check."""

import dagster as dg
import polars as pl

from rbr.agreement.intervals import wilson_interval
from resources.pages.asset_pages import preview
from resources.pages.check_results import check_result


def answer_counts(grades: pl.DataFrame) -> dict[str, int | float]:
    """Returns the number of answers, and how many of them are unreadable or refused, for the page of an asset.

    The page also shows the smallest and the mean P(yes) + P(no), if a probability was seen at all.

    Args:
        grades: Columns outcome and mass; one row per question about a reply.
    """
    counts = dict(grades["outcome"].value_counts().iter_rows())
    masses = {"smallest P(yes) + P(no)": grades["mass"].min(), "mean P(yes) + P(no)": grades["mass"].mean()}
    return {
        **{name: mass for name, mass in masses.items() if isinstance(mass, float)},
        "answers": grades.height,
        "unreadable answers": counts.get("unreadable", 0),
        "refused answers": counts.get("refused", 0),
    }


def surely_above(shares: pl.Series, trials: pl.Series, bar: float) -> pl.Series:
    """Returns whether each share is above a bar with 95 % confidence.

    Args:
        shares: Shares in [0, 1].
        trials: Number of independent trials of each share, above 0.
        bar: The bar, in [0, 1].
    """
    above = [wilson_interval(share, n)[0] > bar for share, n in zip(shares, trials, strict=True)]
    return pl.Series(above, dtype=pl.Boolean)


def missing_answers_check(name: str, grades: pl.DataFrame, max_unread: float) -> dg.AssetCheckResult:
    """Checks the share of answers that are unreadable or refused, of all replies and of each category.

    A category has few replies, so it fails only if its share is above the bar with 95 % confidence.

    Args:
        name: Name of the check.
        grades: Columns completion_id, category and outcome; one row per question about a reply.
        max_unread: Largest share of answers that may be missing, in [0, 1].
    """
    counts = (
        grades.group_by("category")
        .agg(
            pl.col("completion_id").n_unique().alias("replies"),
            pl.len().alias("answers"),
            (pl.col("outcome") == "unreadable").sum().alias("unreadable"),
            (pl.col("outcome") == "refused").sum().alias("refused"),
        )
        .with_columns(missing=pl.col("unreadable") + pl.col("refused"))
        .sort("category")
    )
    missing, answers = int(counts["missing"].sum()), int(counts["answers"].sum())
    # The answers about a reply are not independent: a filter refuses all of them. So a reply counts as one trial.
    surely = surely_above(counts["missing"] / counts["answers"], counts["replies"], max_unread)
    categories_above = counts.filter(surely)["category"].to_list()
    share = missing / answers if answers else 0.0
    passed = None if not answers else share <= max_unread and not categories_above
    n_unreadable, n_refused = counts["unreadable"].sum(), counts["refused"].sum()
    words = "There is no answer."
    if answers:
        words = (
            f"{missing} of {answers} answers ({share:.1%}) are missing: {n_unreadable} could not be read, "
            f"{n_refused} were refused by a content filter. The bar is {max_unread:.0%} (grader.max_unread)."
        )
    if categories_above:
        words += f" Categories above the bar: {', '.join(categories_above)}."
    if passed is False:
        words += (
            " The column reason of the table grades says why. Check grader.yes, grader.no, grader.min_mass and "
            "grader.max_bound; or use a judge without a filter."
        )
    return check_result(name, passed=passed, words=words, blocks=True, metadata={"by category": preview(counts)})
