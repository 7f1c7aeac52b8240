"""How many replies have no class or no score, by category: the words of asset pages and of blocking checks."""

import dagster as dg
import polars as pl

from rbr.agreement.intervals import wilson_interval
from resources.pages.asset_pages import preview
from resources.pages.check_results import check_result

MAX_UNSCORED = 0.1
"""Largest share of candidates without a score of the reward model."""


def answer_counts(grades: pl.DataFrame) -> dict[str, int]:
    """Returns the number of answers, and how many of them are unreadable or refused, for the page of an asset.

    Args:
        grades: Column outcome; one row per question about a reply.
    """
    counts = dict(grades["outcome"].value_counts().iter_rows())
    return {
        "answers": grades.height,
        "unreadable answers": counts.get("unreadable", 0),
        "refused answers": counts.get("refused", 0),
    }


def answer_masses(grades: pl.DataFrame) -> dict[str, float]:
    """Returns the smallest and the mean P(yes) + P(no), for the page of an asset; empty if no probability was seen.

    Args:
        grades: Column mass; one row per question about a reply.
    """
    masses = {"smallest P(yes) + P(no)": grades["mass"].min(), "mean P(yes) + P(no)": grades["mass"].mean()}
    return {name: mass for name, mass in masses.items() if isinstance(mass, float)}


def missing_by_proposition(grades: pl.DataFrame) -> str:
    """Returns the number of missing answers by proposition in words, those with the most first.

    Args:
        grades: Columns proposition and p_yes (null unless answered).
    """
    missing = grades.filter(pl.col("p_yes").is_null()).group_by("proposition").len()
    most_first = missing.sort("len", "proposition", descending=[True, False])
    return ", ".join(f"{name} ({count})" for name, count in most_first.iter_rows()) or "none"


def surely_above(shares: pl.Series, trials: pl.Series, bar: float) -> pl.Series:
    """Returns whether each share is above a bar with 95 % confidence.

    Args:
        shares: Shares in [0, 1].
        trials: Number of independent trials of each share, above 0.
        bar: The bar, in [0, 1].
    """
    above = [wilson_interval(share, n)[0] > bar for share, n in zip(shares, trials, strict=True)]
    return pl.Series(above, dtype=pl.Boolean)


def check_candidate_classes(candidates: pl.DataFrame, grades: pl.DataFrame, max_unread: float) -> dg.AssetCheckResult:
    """Checks the share of candidates without a class.

    Args:
        candidates: Columns completion_id, category and class_name (null if the candidate has no class).
        grades: Columns proposition, p_yes (null unless answered) and outcome of the candidates.
        max_unread: Largest share of candidates without a class, in [0, 1].
    """
    counts = answer_counts(grades)
    advice = (
        f"Of {counts['answers']} answers, {counts['unreadable answers']} could not be read, and a content filter "
        f"refused {counts['refused answers']}. Missing answers by proposition: {missing_by_proposition(grades)}. The "
        "column reason of the table grades says why. Check grader.yes, grader.no, grader.min_mass and "
        "grader.max_bound; or use a judge without a filter."
    )
    bar = f"{max_unread:.0%} (grader.max_unread)"
    return _check_share("candidates_have_a_class", candidates, "class_name", max_unread, bar, "class", advice)


def check_candidate_scores(candidates: pl.DataFrame) -> dg.AssetCheckResult:
    """Checks the share of candidates without a score of the reward model against `MAX_UNSCORED`.

    Args:
        candidates: Columns completion_id, category and score (null if it could not be computed).
    """
    advice = (
        "Prompt and reply are longer than the context of the reward model, or its score is not a finite number. Lower "
        "synthesis.max_new_tokens, or use another reward model."
    )
    bar = f"{MAX_UNSCORED:.0%}"
    return _check_share("candidates_have_a_score", candidates, "score", MAX_UNSCORED, bar, "score", advice)


def _check_share(
    name: str, candidates: pl.DataFrame, column: str, bar: float, bar_in_words: str, result: str, advice: str
) -> dg.AssetCheckResult:
    """Checks the share of candidates that lack a result, of all candidates and of each category.

    A category has few candidates, so it fails only if its share is above the bar with 95 % confidence.
    """
    # Two slots with the same instruction share their completions.
    by_category = (
        candidates.unique("completion_id")
        .group_by("category")
        .agg(pl.len().alias("candidates"), pl.col(column).null_count().alias("missing"))
        .sort("category")
    )
    missing, total = int(by_category["missing"].sum()), int(by_category["candidates"].sum())
    if not total:
        return check_result(name, passed=None, words="There is no candidate.", blocks=True)
    shares = by_category["missing"] / by_category["candidates"]
    above = by_category.filter(surely_above(shares, by_category["candidates"], bar))
    passed = missing <= bar * total and above.is_empty()
    words = f"{missing} of {total} candidates ({missing / total:.1%}) have no {result}. The bar is {bar_in_words}."
    if not above.is_empty():
        listed = (f"{row['category']} ({row['missing']} of {row['candidates']})" for row in above.iter_rows(named=True))
        words += f" Categories above the bar: {', '.join(listed)}."
    if not passed:
        words += f" {advice}"
    metadata = {f"without a {result}, by category": preview(by_category)}
    return check_result(name, passed=passed, words=words, blocks=True, metadata=metadata)
