"""Gives each prompt a category: from the data, or else from the grader (paper section 2, stage 3)."""

from collections.abc import Collection, Iterable, Sequence

import polars as pl

from rbr.errors import InputError, Location, spelling_hint
from rbr.rulebook import ContentPolicy


def assign_categories(
    prompts: pl.DataFrame, grades: pl.DataFrame, policy: ContentPolicy, bar: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Assigns a category to each prompt, or quarantines the prompt.

    A prompt without a category gets the category with the highest P(yes), if that P(yes) reaches the bar. If the answer
    for another category could not be read, that category could have the highest P(yes). The prompt is then quarantined.

    Args:
        prompts: Columns prompt_id and category (null if the data does not give it), and any other columns, which are
            kept.
        grades: For each prompt without a category, the answer to the question of each category: columns prompt_id,
            category, p_yes (null if the answer could not be read). An answer without a row counts as unread.
        policy: The content policy, which defines the categories.
        bar: Smallest P(yes) at which a prompt gets its most probable category, in [0, 1].

    Returns:
        Two frames. The first contains the prompts with a category, and adds the columns category_source (given or
        grader), p_category (null if the category is given) and response_type. If several categories are equally
        probable, the prompt gets the category whose code sorts first. The second frame contains the quarantined
        prompts. In place of category, it has best_category and p_category, the highest P(yes) that could be read (both
        are null if no answer could be read), and the reason in words.

    Raises:
        InputError: A given category is not in the content policy.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b"], "category": ["None", None]})
        >>> p_yes = dict.fromkeys(policy.categories, 0.1) | {"None": 0.4}
        >>> grades = pl.DataFrame({"prompt_id": "b", "category": list(p_yes), "p_yes": list(p_yes.values())})
        >>> labeled, quarantined = assign_categories(prompts, grades, policy, bar=0.5)
        >>> labeled["prompt_id"].to_list(), quarantined.select("best_category", "reason").row(0)
        (['a'], ('None', 'no P(yes) reaches the bar'))
    """
    check_categories(prompts["category"].drop_nulls(), policy, where="data/prompts")
    is_given = pl.col("category").is_not_null()
    asked = (
        prompts.filter(~is_given).select("prompt_id").join(pl.DataFrame({"code": list(policy.categories)}), how="cross")
    )
    answers = asked.join(grades, left_on=["prompt_id", "code"], right_on=["prompt_id", "category"], how="left")
    # Select the most probable category of each graded prompt.
    best = (
        answers.drop_nulls("p_yes")
        .sort("prompt_id", -pl.col("p_yes"), "code")
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", pl.col("code").alias("best_category"), pl.col("p_yes").alias("p_category"))
    )
    # An unread P(yes) may be 1. It cannot become the highest one only if a category that sorts first has P(yes) = 1.
    may_be_best = (
        pl.col("best_category").is_null() | (pl.col("p_category") < 1.0) | (pl.col("code") < pl.col("best_category"))
    )
    unread = (
        answers.filter(pl.col("p_yes").is_null())
        .join(best, on="prompt_id", how="left")
        .filter(may_be_best)
        .sort("prompt_id", "code")
        .group_by("prompt_id")
        .agg("code")
        .select("prompt_id", pl.col("code").alias("unread"))
    )
    candidates = prompts.join(best, on="prompt_id", how="left", maintain_order="left").join(
        unread, on="prompt_id", how="left", maintain_order="left"
    )
    is_sure = pl.col("unread").is_null() & (pl.col("p_category") >= bar).fill_null(False)
    response_types = {code: category.response_type for code, category in policy.categories.items()}
    labeled = (
        candidates.filter(is_given | is_sure)
        .with_columns(
            pl.when(is_given).then(pl.lit("given")).otherwise(pl.lit("grader")).alias("category_source"),
            pl.when(is_given).then(None).otherwise("p_category").alias("p_category"),
            pl.coalesce("category", "best_category").alias("category"),
        )
        .with_columns(pl.col("category").replace_strict(response_types, return_dtype=pl.String).alias("response_type"))
        .drop("best_category", "unread")
    )
    quarantined = candidates.filter(~(is_given | is_sure))
    reasons = [
        _reason(codes, best_code) for codes, best_code in quarantined.select("unread", "best_category").iter_rows()
    ]
    return labeled, quarantined.drop("category", "unread").with_columns(pl.Series("reason", reasons, dtype=pl.String))


def check_categories(categories: Iterable[str], policy: ContentPolicy, *, where: str) -> None:
    """Checks that the content policy defines all categories of a data file.

    Args:
        categories: Category codes.
        policy: The content policy.
        where: File that the categories were read from, for the error message.

    Raises:
        InputError: A category is not in the content policy. Each unknown category is one problem.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> check_categories(["None"], policy, where="prompts.jsonl")
        >>> check_categories(["Nine"], policy, where="prompts.jsonl")
        Traceback (most recent call last):
        rbr.errors.InputError: prompts.jsonl: the category 'Nine' is not in the content policy
        ...
    """
    problems = unknown_categories([(category, where) for category in sorted(set(categories))], policy.categories)
    if problems:
        raise InputError.collect(problems)


def unknown_categories(located: Iterable[tuple[str, Location | str]], known: Collection[str]) -> list[InputError]:
    """Returns one problem for each category that the content policy does not define.

    Args:
        located: Category codes, each with the place that it was read from.
        known: The categories of the content policy.

    Example:
        >>> places = [("None", Location("a.jsonl", 1)), ("Nine", Location("a.jsonl", 2))]
        >>> [str(problem.where) for problem in unknown_categories(places, ["None", "K-R"])]
        ['a.jsonl:2']
    """
    return [
        InputError(
            f"the category {category!r} is not in the content policy", where=where, hint=spelling_hint(category, known)
        )
        for category, where in located
        if category not in known
    ]


def _reason(unread: Sequence[str] | None, best_category: str | None) -> str:
    """Returns why a prompt is quarantined."""
    if unread is None:
        return "no P(yes) reaches the bar"
    if best_category is None:
        return "no answer could be read"
    if len(unread) == 1:
        return f"the answer for {unread[0]} could not be read"
    return f"the answers for {', '.join(unread)} could not be read"
