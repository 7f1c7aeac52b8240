"""The checks of the prompts: can every model read them, how many are quarantined, and were the answers read."""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg
import polars as pl

from rbr.errors import Location
from rbr.models.checked_prompts import REFUSED, TOO_LONG, CheckedPrompt
from resources.pages.asset_pages import PREVIEW_ROWS, preview
from resources.pages.check_results import check_result

MAX_QUARANTINED = 0.1
"""Largest share of quarantined prompts."""

SETTING_OF_KIND = {REFUSED: "on_refused_turns", TOO_LONG: "on_too_long"}
"""Settings of the section `prompt_check`, by the kind of a prompt's problem."""

_MAX_NAMED = 10
"""Number of prompts that the words of a check name."""


def readable_check(
    unreadable: Sequence[CheckedPrompt], n_prompts: int, places: Mapping[str, Location]
) -> dg.AssetCheckResult:
    """Checks that every model can read every prompt.

    Args:
        unreadable: The prompts that a model cannot read.
        n_prompts: Number of all prompts.
        places: File and line of each prompt, by prompt id.
    """
    name = "models_can_read_every_prompt"
    if not unreadable:
        words = f"Every model can read all {n_prompts} prompts."
        return check_result(name, passed=True, words=words, blocks=False, metadata={"unreadable": 0})
    named = _named(unreadable, places)
    listed = "; ".join(f"{where} ({detail})" for where, detail in named[:_MAX_NAMED])
    more = f"; and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    kinds = {result.problem.kind for result in unreadable if result.problem}
    advice = "Shorten the prompts, or lower the lengths of replies in the profile. " if TOO_LONG in kinds else ""
    if REFUSED in kinds:
        advice += "prompt_check.on_refused_turns: fold rewrites prompts that a chat template refuses. "
    return check_result(
        name,
        passed=False,
        words=f"{len(named)} of {n_prompts} prompts are quarantined and used nowhere, because a model cannot read "
        f"them: {listed}{more}. {advice}".strip(),
        blocks=False,
        metadata={
            "unreadable": len(named),
            "prompts": preview(pl.DataFrame(named, schema=["prompt", "problem"], orient="row")),
        },
    )


def _named(unreadable: Sequence[CheckedPrompt], places: Mapping[str, Location]) -> list[tuple[str, str]]:
    """Returns file and line of each prompt and its problem, in the order of the file."""
    ordered = sorted(unreadable, key=lambda result: places.get(result.given.prompt_id, Location()).line or 0)
    return [
        (str(places.get(result.given.prompt_id, f"prompt {result.given.prompt_id}")), result.problem.detail)
        for result in ordered
        if result.problem
    ]


def missing_answers_check(
    labeled: pl.DataFrame, undecided: pl.DataFrame, categories: Sequence[str], max_unread: float
) -> dg.AssetCheckResult:
    """Checks how many prompts of each category are left out because the answer about the category is missing.

    The share is taken of the prompts that are in the category, or could be: those that have it, and those that are left
    out because the answer about it is missing.

    Args:
        labeled: The labeled prompts; column category.
        undecided: The quarantined prompts of `assign_categories`; columns missing and reason.
        categories: The categories of the content policy.
        max_unread: Largest share of prompts that are left out, in [0, 1].
    """
    name = "answers_about_categories_are_read"
    missing = undecided.explode("missing")["missing"]
    rows = []
    for code in categories:
        left_out = int((missing == code).sum())
        possible = left_out + int((labeled["category"] == code).sum())
        rows.append((code, possible, left_out, left_out / possible if possible else None))
    shares = pl.DataFrame(rows, schema=["category", "prompts", "left out", "share"], orient="row")
    bar = f"at most {max_unread:.1%} of the prompts of a category may be left out (grader.max_unread)"
    lossy = shares.filter(pl.col("left out") > 0)
    words = f"No prompt is left out because an answer about its category is missing; {bar}."
    passed = True
    if not lossy.is_empty():
        listed = "; ".join(
            f"{code}: {left_out} of {possible} ({share:.1%})" for code, possible, left_out, share in lossy.iter_rows()
        )
        words = f"Prompts that are left out because the answer about a category is missing: {listed}; {bar}."
        passed = lossy["share"].max() <= max_unread
    if not passed:
        reasons = undecided.filter(pl.col("missing").list.len() > 0).group_by("reason").len().sort("reason").iter_rows()
        words += (
            f" The reasons: {'; '.join(f'{reason} ({count})' for reason, count in reasons)}. Give these prompts a "
            "category in the data file, use a grader without a content filter, or check grader.yes, grader.no and "
            "grader.min_mass."
        )
    return check_result(name, passed=passed, words=words, blocks=True, metadata={"left out": preview(shares)})


def quarantine_check(
    quarantined: pl.DataFrame, unreadable: Collection[str], n_prompts: int, category_bar: float
) -> dg.AssetCheckResult:
    """Checks the share of quarantined prompts.

    Args:
        quarantined: The quarantined prompts, with the reason.
        unreadable: Ids of those that a model cannot read.
        n_prompts: Number of all prompts.
        category_bar: Smallest P(yes) of a category.
    """
    name = "few_prompts_are_quarantined"
    if n_prompts == 0:
        words = "There is no prompt. Add prompts to the data file that the profile names in `prompts`."
        return check_result(name, passed=None, words=words, blocks=False, metadata={"share": None})
    share = quarantined.height / n_prompts
    words = (
        f"{quarantined.height} of {n_prompts} prompts ({share:.0%}) are quarantined and used nowhere; the bar is "
        f"{MAX_QUARANTINED:.0%}."
    )
    if share:
        reasons = quarantined.group_by("reason").len().sort("reason")
        listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.iter_rows())
        words += f" The reasons: {listed}. grader.category_bar is {category_bar:g}."
    passed = share <= MAX_QUARANTINED
    asked = quarantined.filter(~pl.col("prompt_id").is_in(list(unreadable)))
    if not passed and not asked.is_empty():
        words += (
            f" The most probable categories of those that the grader was asked about: {_best_categories(asked)}. Give "
            "these prompts a category in the data file, improve the questions in content_policy.yaml, or lower "
            "grader.category_bar. If answers could not be read, check grader.yes, grader.no and grader.min_mass."
        )
    if not passed and unreadable:
        words += " The check of checked_prompts names the prompts that a model cannot read."
    return check_result(
        name,
        passed=passed,
        words=words,
        blocks=False,
        metadata={"share": share, "prompts": preview(quarantined.head(PREVIEW_ROWS))},
    )


def _best_categories(quarantined: pl.DataFrame) -> str:
    named = pl.col("best_category").fill_null("no readable answer")
    counts = quarantined.group_by(named).len().sort("best_category")
    return ", ".join(f"{category} ({count})" for category, count in counts.iter_rows())
