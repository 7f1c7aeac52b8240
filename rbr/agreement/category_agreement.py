"""Measures how well the grader finds the categories that people gave to prompts (paper section 2, stage 3)."""

from collections import Counter

import numpy as np
import polars as pl

from rbr.agreement.gold_agreement import agreement_of_answers
from rbr.agreement.intervals import Estimate, estimate_mean
from rbr.comparisons.categories import assign_categories
from rbr.grading.answers import Outcome
from rbr.hashing import content_hash
from rbr.rulebook import ContentPolicy

NO_CATEGORY = "no category"
"""Answer of the grader if no P(yes) reaches the bar."""

MEASURES = ("accuracy", "balanced_accuracy", "f1", "kappa")
"""The measures of a category. Each has three columns: `<measure>`, `<measure>_low` and `<measure>_high`."""

CATEGORY_SCHEMA = pl.Schema(
    {
        "category": pl.String,
        "n": pl.Int64,
        "n_missing": pl.Int64,
        "n_refused": pl.Int64,
        "true_yes": pl.Int64,
        "false_yes": pl.Int64,
        "false_no": pl.Int64,
        "true_no": pl.Int64,
        "majority_accuracy": pl.Float64,
        **{f"{measure}{end}": pl.Float64 for measure in MEASURES for end in ("", "_low", "_high")},
        "confused_with": pl.String,
    }
)


def sample_categorized(prompts: pl.DataFrame, per_category: int) -> pl.DataFrame:
    """Chooses prompts whose category is given, the same number of each category if there are enough.

    A hash orders the prompts, so a new prompt replaces at most one other prompt.

    Args:
        prompts: Columns prompt_id and category (null if it is not given), and any other columns, which are kept.
        per_category: Largest number of prompts of a category.

    Returns:
        The chosen rows, sorted by prompt_id.

    Example:
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b", "c", "d"], "category": ["K-R", "K-R", "None", None]})
        >>> sample_categorized(prompts, 1)["category"].to_list()
        ['K-R', 'None']
    """
    given = prompts.filter(pl.col("category").is_not_null())
    hashes = [content_hash(["category_agreement", prompt_id]) for prompt_id in given["prompt_id"]]
    ranked = given.with_columns(pl.Series("_hash", hashes, dtype=pl.String)).sort("_hash")
    chosen = ranked.filter(pl.int_range(pl.len()).over("category") < per_category)
    return chosen.drop("_hash").sort("prompt_id")


def find_categories(prompts: pl.DataFrame, grades: pl.DataFrame, policy: ContentPolicy, bar: float) -> pl.DataFrame:
    """Finds the category of each prompt by the rule of `assign_categories`, as if the data file gave none.

    Args:
        prompts: Columns prompt_id and category (the given one).
        grades: Columns prompt_id, category, p_yes (null if there is no grade), and maybe outcome.
        policy: The content policy, which defines the categories.
        bar: Smallest P(yes) at which a prompt gets its most probable category, in [0, 1].

    Returns:
        Columns prompt_id, category, found and refused, in the order of `prompts`. found is the category by the grader,
        `NO_CATEGORY` if no P(yes) reaches the bar, or null if a missing answer could change the category. refused says
        whether a content filter refused an answer.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> prompts = pl.DataFrame({"prompt_id": ["a"], "category": ["K-R"]})
        >>> p_yes = dict.fromkeys(policy.categories, 0.1) | {"None": 0.8}
        >>> grades = pl.DataFrame({"prompt_id": "a", "category": list(p_yes), "p_yes": list(p_yes.values())})
        >>> find_categories(prompts, grades, policy, bar=0.5).row(0)
        ('a', 'K-R', 'None', False)
    """
    hidden = prompts.select("prompt_id", category=pl.lit(None, dtype=pl.String))
    labeled, quarantined = assign_categories(hidden, grades, policy, bar)
    # assign_categories quarantines a prompt for one of two reasons: an answer is missing, or all answers are too low.
    missing = set(grades.filter(pl.col("p_yes").is_null())["prompt_id"]) | (
        set(prompts["prompt_id"]) - set(grades["prompt_id"])
    )
    found: dict[str, str | None] = dict(labeled.select("prompt_id", "category").iter_rows())
    found |= {name: None if name in missing else NO_CATEGORY for name in quarantined["prompt_id"]}
    has_outcome = "outcome" in grades.columns
    refused = set(grades.filter(pl.col("outcome") == Outcome.REFUSED.value)["prompt_id"]) if has_outcome else set()
    return prompts.select("prompt_id", "category").with_columns(
        pl.Series("found", [found[name] for name in prompts["prompt_id"]], dtype=pl.String),
        pl.Series("refused", [name in refused for name in prompts["prompt_id"]], dtype=pl.Boolean),
    )


def compare_categories(found: pl.DataFrame, policy: ContentPolicy) -> pl.DataFrame:
    """Compares the categories by the grader with the given ones, one category at a time: this category, or another one.

    Args:
        found: From `find_categories`.
        policy: The content policy.

    Returns:
        One row per category of the policy, sorted, columns `CATEGORY_SCHEMA`. Columns that end in _low and _high are
        95 % intervals. The measures describe the mix of categories in `found`. Without a prompt whose category by the
        grader is known, they are null. Without prompts of this category, or of another one, the measures except for
        accuracy are null.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> rows = {"prompt_id": ["a", "b", "c"], "category": ["K-R", "K-R", "None"], "found": ["K-R", "None", "None"]}
        >>> table = compare_categories(pl.DataFrame(rows | {"refused": [False] * 3}), policy)
        >>> table.filter(category="K-R").select("true_yes", "false_no", "balanced_accuracy", "confused_with").row(0)
        (1, 1, 0.75, 'None')
    """
    rows = [_category_row(code, found) for code in sorted(policy.categories)]
    return pl.DataFrame(rows, schema=CATEGORY_SCHEMA, orient="row")


def overall_accuracy(found: pl.DataFrame, policy: ContentPolicy) -> dict[str, Estimate]:
    """Returns how often the grader finds the given category, and the response type of the given category.

    Args:
        found: From `find_categories`. Prompts without a known category by the grader are left out.
        policy: The content policy.

    Returns:
        The keys "category" and "response type"; empty if no prompt is left.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> policy = load_content_policy("rulebook/content_policy.yaml")
        >>> found = pl.DataFrame({"category": ["K-R", "K-R"], "found": ["K-R", "H-R"]})
        >>> {name: share.value for name, share in overall_accuracy(found, policy).items()}
        {'category': 0.5, 'response type': 1.0}
    """
    known = found.filter(pl.col("found").is_not_null())
    if known.is_empty():
        return {}
    response_types = {code: entry.response_type for code, entry in policy.categories.items()}
    pairs = known.select("category", "found").rows()
    right = {
        "category": [given == found for given, found in pairs],
        "response type": [response_types.get(given) == response_types.get(found) for given, found in pairs],
    }
    clusters = np.arange(known.height)
    return {name: estimate_mean(np.array(values, dtype=np.bool_), clusters) for name, values in right.items()}


def _category_row(code: str, found: pl.DataFrame) -> tuple[object, ...]:
    """Returns the row of one category, columns `CATEGORY_SCHEMA`."""
    missing = found.filter((pl.col("category") == code) & pl.col("found").is_null())
    known = found.filter(pl.col("found").is_not_null())
    gold, answers = (known[name].to_numpy() == code for name in ("category", "found"))
    n, n_yes = known.height, int(gold.sum())
    confusion = [int(cell.sum()) for cell in (gold & answers, ~gold & answers, gold & ~answers, ~gold & ~answers)]
    counts = (code, n, missing.height, int(missing["refused"].sum()), *confusion)
    others = Counter(known.filter(category=code).filter(pl.col("found") != code)["found"])
    confused_with = min(others, key=lambda name: (-others[name], name), default=None)
    if not n:
        return (*counts, *[None] * (1 + 3 * len(MEASURES)), None)
    accuracy = estimate_mean(gold == answers, np.arange(n))
    majority = max(n_yes, n - n_yes) / n
    if n_yes in (0, n):
        return (*counts, majority, *accuracy, *[None] * (3 * len(MEASURES) - 3), confused_with)
    measured = agreement_of_answers(answers, gold)
    balanced = (measured.balanced_accuracy, measured.low, measured.high)
    # Rounded, so that no measure exceeds 1 by its last digit.
    measures = [round(number, 12) for number in (*accuracy, *balanced, *measured.f1_interval, *measured.kappa)]
    return (*counts, majority, *measures, confused_with)
