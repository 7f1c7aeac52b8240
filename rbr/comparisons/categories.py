"""Categories of prompts: given in the data, or found by the grader (paper section 2, stage 3)."""

from collections.abc import Iterable

import polars as pl

from rbr.errors import InputError
from rbr.rulebook import ContentPolicy


def label_prompts(
    prompts: pl.DataFrame, grades: pl.DataFrame, policy: ContentPolicy, bar: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Gives each prompt a category, or puts it aside.

    Args:
        prompts: Columns prompt_id and category (null where it is not given), and any others, which are kept.
        grades: Answers to the categories' questions about the prompts without a category: columns prompt_id,
            category, p_yes (null where it could not be read).
        policy: The categories.
        bar: Least P(yes) at which a prompt takes its most probable category, in [0, 1].

    Returns:
        The labeled prompts, with category_source (given or grader), p_category (null where given) and
        response_type; and the others, with best_category and p_category (both null where no answer could be
        read) in place of the category. Of equally probable categories the first by code is taken.

    Raises:
        InputError: A given category is not in the policy.
    """
    check_categories(prompts["category"].drop_nulls(), policy, where="data/prompts")
    best = (
        grades.drop_nulls("p_yes")
        .sort("prompt_id", -pl.col("p_yes"), "category")
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", pl.col("category").alias("best_category"), pl.col("p_yes").alias("p_category"))
    )
    candidates = prompts.join(best, on="prompt_id", how="left", maintain_order="left")
    given = pl.col("category").is_not_null()
    sure = given | (pl.col("p_category") >= bar).fill_null(False)
    response_types = {code: category.response_type for code, category in policy.categories.items()}
    labeled = (
        candidates.filter(sure)
        .with_columns(
            pl.when(given).then(pl.lit("given")).otherwise(pl.lit("grader")).alias("category_source"),
            pl.when(given).then(None).otherwise("p_category").alias("p_category"),
            pl.coalesce("category", "best_category").alias("category"),
        )
        .with_columns(pl.col("category").replace_strict(response_types, return_dtype=pl.String).alias("response_type"))
        .drop("best_category")
    )
    return labeled, candidates.filter(~sure).drop("category")


def check_categories(categories: Iterable[str], policy: ContentPolicy, *, where: str) -> None:
    """Checks that the categories of a data file are of the content policy.

    Raises:
        InputError: One of them is not.
    """
    unknown = sorted(set(categories) - set(policy.categories))
    if unknown:
        raise InputError(
            f"the category {unknown[0]!r} is not in the content policy",
            where=where,
            hint=f"Use one of {', '.join(policy.categories)}.",
        )
