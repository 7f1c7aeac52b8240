"""Gives each prompt a category: from the data, or else from the grader (paper section 2, stage 3)."""

from collections.abc import Collection, Iterable, Sequence

import polars as pl

from rbr.errors import InputError, Location, spelling_hint
from rbr.rulebook import ContentPolicy

_REFUSED = "refused"  # rbr.grading.Outcome.REFUSED; the stage of grading may not be imported here


def assign_categories(
    prompts: pl.DataFrame, grades: pl.DataFrame, policy: ContentPolicy, bar: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Assigns a category to each prompt, or quarantines the prompt.

    A prompt without a category gets the category with the highest P(yes), if that P(yes) reaches the bar. If the answer
    for another category is missing, its P(yes) may be anything up to 1, so that category could have the highest one.
    The prompt is then quarantined, unless the best category wins even against a P(yes) of 1.

    Args:
        prompts: Columns prompt_id and category (null if the data does not give it), and any other columns, which are
            kept.
        grades: For each prompt without a category, the answer to the question of each category: columns prompt_id,
            category, p_yes (null if the answer is missing) and outcome, as in `rbr.grading.Outcome`. The column outcome
            may be left out; a missing answer is then unreadable. So is an answer without a row.
        policy: The content policy, which defines the categories.
        bar: Smallest P(yes) at which a prompt gets its most probable category, in [0, 1].

    Returns:
        Two frames. The first contains the prompts with a category, and adds the columns category_source (given or
        grader), p_category (null if the category is given) and response_type. If several categories are equally
        probable, the prompt gets the category whose code sorts first. The second frame contains the quarantined
        prompts. In place of category, it has best_category and p_category, the highest P(yes) that could be read (both
        are null if no answer could be read), missing (the categories whose answer was missing and could have won) and
        the reason in words.

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
    if "outcome" not in grades.columns:
        grades = grades.with_columns(outcome=pl.lit(None, pl.String))
    answers = asked.join(grades, left_on=["prompt_id", "code"], right_on=["prompt_id", "category"], how="left")
    # Select the most probable category of each graded prompt.
    best = (
        answers.drop_nulls("p_yes")
        .sort("prompt_id", -pl.col("p_yes"), "code")
        .unique("prompt_id", keep="first", maintain_order=True)
        .select("prompt_id", pl.col("code").alias("best_category"), pl.col("p_yes").alias("p_category"))
    )
    # A missing P(yes) may be 1. It cannot become the highest one only if a category that sorts first has P(yes) = 1.
    may_be_best = (
        pl.col("best_category").is_null() | (pl.col("p_category") < 1.0) | (pl.col("code") < pl.col("best_category"))
    )
    is_refused = (pl.col("outcome") == _REFUSED).fill_null(False)
    missing = (
        answers.filter(pl.col("p_yes").is_null())
        .join(best, on="prompt_id", how="left")
        .filter(may_be_best)
        .sort("prompt_id", "code")
        .group_by("prompt_id")
        .agg(pl.col("code").alias("missing"), pl.col("code").filter(is_refused).alias("refused"))
    )
    candidates = prompts.join(best, on="prompt_id", how="left", maintain_order="left").join(
        missing, on="prompt_id", how="left", maintain_order="left"
    )
    is_sure = pl.col("missing").is_null() & (pl.col("p_category") >= bar).fill_null(False)
    response_types = {code: category.response_type for code, category in policy.categories.items()}
    labeled = (
        candidates.filter(is_given | is_sure)
        .with_columns(
            pl.when(is_given).then(pl.lit("given")).otherwise(pl.lit("grader")).alias("category_source"),
            pl.when(is_given).then(None).otherwise("p_category").alias("p_category"),
            pl.coalesce("category", "best_category").alias("category"),
        )
        .with_columns(pl.col("category").replace_strict(response_types, return_dtype=pl.String).alias("response_type"))
        .drop("best_category", "missing", "refused")
    )
    quarantined = candidates.filter(~(is_given | is_sure)).with_columns(pl.col("missing", "refused").fill_null([]))
    reasons = [
        _reason(codes, refused, best_code)
        for codes, refused, best_code in quarantined.select("missing", "refused", "best_category").iter_rows()
    ]
    return labeled, quarantined.drop("category", "refused").with_columns(pl.Series("reason", reasons, dtype=pl.String))


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


def _reason(missing: Sequence[str], refused: Sequence[str], best_category: str | None) -> str:
    """Returns why a prompt is quarantined.

    Args:
        missing: Categories whose answer is missing and could have won.
        refused: Those of them that a content filter refused.
        best_category: Most probable category among the answers that could be read.
    """
    if not missing:
        return "no P(yes) reaches the bar"
    unread = [code for code in missing if code not in refused]
    if best_category is None and not (unread and refused):
        return "a content filter refused every question" if refused else "no answer could be read"
    parts = [f"a content filter refused {_questions(refused)}"] if refused else []
    parts += [f"{_answers(unread)} could not be read"] if unread else []
    return ", and ".join(parts)


def _questions(codes: Sequence[str]) -> str:
    return f"the question for {codes[0]}" if len(codes) == 1 else f"the questions for {', '.join(codes)}"


def _answers(codes: Sequence[str]) -> str:
    return f"the answer for {codes[0]}" if len(codes) == 1 else f"the answers for {', '.join(codes)}"
