"""Gives each prompt a category: from the data, or else from the grader (paper section 2, stage 3)."""

from collections.abc import Iterable

import polars as pl

from rbr.errors import InputError
from rbr.rulebook import ContentPolicy


def assign_categories(
    prompts: pl.DataFrame, grades: pl.DataFrame, policy: ContentPolicy, bar: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Assigns a category to each prompt, or quarantines the prompt.

    Args:
        prompts: Columns prompt_id and category (null if the data does not give it), and any other columns, which are
            kept.
        grades: For each prompt without a category, the answer to the question of each category: columns prompt_id,
            category, p_yes (null if the answer could not be read).
        policy: The content policy, which defines the categories.
        bar: Smallest P(yes) at which a prompt gets its most probable category, in [0, 1].

    Returns:
        Two frames. The first contains the prompts with a category, and adds the columns category_source (given or
        grader), p_category (null if the category is given) and response_type. If several categories are equally
        probable, the prompt gets the category whose code sorts first. The second frame contains the quarantined
        prompts, with best_category and p_category in place of category; both are null if no answer could be read.

    Raises:
        InputError: A given category is not in the content policy.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b"], "category": ["None", None]})
        >>> grades = pl.DataFrame({"prompt_id": ["b"], "category": ["None"], "p_yes": [0.4]})
        >>> labeled, quarantined = assign_categories(prompts, grades, policy, bar=0.5)
        >>> labeled["prompt_id"].to_list(), quarantined.rows()
        (['a'], [('b', 'None', 0.4)])
    """
    check_categories(prompts["category"].drop_nulls(), policy, where="data/prompts")
    # Select the most probable category of each graded prompt.
    best = (
        grades.drop_nulls("p_yes")
        .sort("prompt_id", -pl.col("p_yes"), "category")
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", pl.col("category").alias("best_category"), pl.col("p_yes").alias("p_category"))
    )
    candidates = prompts.join(best, on="prompt_id", how="left", maintain_order="left")
    is_given = pl.col("category").is_not_null()
    has_category = is_given | (pl.col("p_category") >= bar).fill_null(False)
    response_types = {code: category.response_type for code, category in policy.categories.items()}
    labeled = (
        candidates.filter(has_category)
        .with_columns(
            pl.when(is_given).then(pl.lit("given")).otherwise(pl.lit("grader")).alias("category_source"),
            pl.when(is_given).then(None).otherwise("p_category").alias("p_category"),
            pl.coalesce("category", "best_category").alias("category"),
        )
        .with_columns(pl.col("category").replace_strict(response_types, return_dtype=pl.String).alias("response_type"))
        .drop("best_category")
    )
    return labeled, candidates.filter(~has_category).drop("category")


def check_categories(categories: Iterable[str], policy: ContentPolicy, *, where: str) -> None:
    """Checks that the content policy defines all categories of a data file.

    Args:
        categories: Category codes.
        policy: The content policy.
        where: File or line that the categories were read from, for the error message.

    Raises:
        InputError: A category is not in the content policy.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> check_categories(["None"], policy, where="prompts.jsonl")
        >>> check_categories(["Nine"], policy, where="prompts.jsonl")
        Traceback (most recent call last):
        rbr.errors.InputError: prompts.jsonl: the category 'Nine' is not in the content policy
        ...
    """
    unknown = sorted(set(categories) - set(policy.categories))
    if unknown:
        raise InputError(
            f"the category {unknown[0]!r} is not in the content policy",
            where=where,
            hint=f"Use one of {', '.join(policy.categories)}.",
        )
