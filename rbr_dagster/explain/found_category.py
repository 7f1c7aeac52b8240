"""Finds the category of a prompt by the rule of the asset `labeled_prompts`."""

import polars as pl

from rbr.comparisons.categories import assign_categories
from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Grader, Question
from rbr.rulebook import ContentPolicy

_PROMPT = "prompt"


def find_category(grader: Grader, prompt: Conversation, policy: ContentPolicy, bar: float) -> tuple[str, float]:
    """Asks the grader for the category of a prompt.

    Args:
        grader: The grader.
        prompt: Messages of the prompt. The last message is from the user.
        policy: The content policy, which defines the categories.
        bar: Smallest P(yes) at which a prompt gets its most probable category, in [0, 1].

    Returns:
        The category and its P(yes).

    Raises:
        InputError: The pipeline would quarantine the prompt: no category reaches the bar, or an answer that could
            change the category could not be read.
    """
    questions = [Question(code, entry.question) for code, entry in policy.categories.items()]
    answers = grader.grade([prompt], questions).require_answers()
    codes, outcomes = [question.name for question in questions], [str(outcome) for outcome in answers.outcomes[0]]
    grades = pl.DataFrame(
        {"prompt_id": _PROMPT, "category": codes, "p_yes": answers.p_yes[0], "outcome": outcomes}
    ).with_columns(pl.col("p_yes").fill_nan(None))
    unlabeled = pl.DataFrame({"prompt_id": [_PROMPT], "category": [None]}, schema_overrides={"category": pl.String})
    labeled, _ = assign_categories(unlabeled, grades, policy, bar)
    if labeled.is_empty():
        raise InputError(
            _why_none(grades, bar, answers.reasons.get((0, 0), "")),
            where="--prompt",
            hint=f"Give the category with --category. Categories: {', '.join(policy.categories)}.",
        )
    return labeled["category"][0], labeled["p_category"][0]


def _why_none(grades: pl.DataFrame, bar: float, reason: str) -> str:
    unread = grades.filter(pl.col("p_yes").is_null())["category"].to_list()
    readable = grades.drop_nulls("p_yes").sort(-pl.col("p_yes"), "category")
    if readable.is_empty():
        why = f" ({reason})" if reason else ""
        return f"the grader finds no category: none of its answers could be read{why}"
    best, p_best = readable["category"][0], readable["p_yes"][0]
    # Three decimals, so that P is not shown as equal to a bar that it does not reach.
    closest = f"the closest category is {best} with P {p_best:.3f}, and grader.category_bar is {bar:g}"
    if unread:
        closest += f"; {', '.join(unread)} could be closer, but the answers about them could not be read"
    return f"the grader finds no category: {closest}"
