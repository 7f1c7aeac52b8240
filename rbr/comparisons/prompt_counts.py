"""Counts the prompts of each response type, and says where there are too few.

A fit needs prompts, the error rates need held-out prompts, and the metrics need test prompts. The counts are known as
soon as the prompts are split, so nobody has to wait for a training to learn that a response type has no data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from rbr.comparisons.prompt_sampling import choose_per_response_type, is_held_out

MIN_TRAINING_PROMPTS = 5
"""Smallest number of training prompts of a response type."""

MIN_TEST_PROMPTS = 3
"""Smallest number of test prompts of a response type, over all test splits."""


@dataclass(frozen=True)
class PromptCount:
    """The number of prompts of one response type.

    Attributes:
        response_type: Name of the response type.
        categories: Categories of the content policy with this response type.
        training: Number of training prompts.
        fitted: Number of the chosen training prompts that the weights are fitted to.
        held_out: Number of the chosen training prompts that are held out for the error rates.
        test: Number of test prompts, by test split.

    Example:
        >>> count = PromptCount("comply", ("None",), training=6, fitted=6, held_out=0, test={"test": 3})
        >>> count.training_shortfall
        '6 training prompts (5 needed): 6 for the fit (1 needed), 0 held out for the error rates (1 needed)'
        >>> count.test_shortfall is None
        True
    """

    response_type: str
    categories: tuple[str, ...]
    training: int
    fitted: int
    held_out: int
    test: Mapping[str, int]

    @property
    def training_shortfall(self) -> str | None:
        """The counts that are too small for the fit and its error rates, in words; None if there are enough."""
        if self.training >= MIN_TRAINING_PROMPTS and self.fitted and self.held_out:
            return None
        return (
            f"{self.training} training prompts ({MIN_TRAINING_PROMPTS} needed): "
            f"{self.fitted} for the fit (1 needed), {self.held_out} held out for the error rates (1 needed)"
        )

    @property
    def test_shortfall(self) -> str | None:
        """The counts that are too small for the metrics, in words; None if there are enough."""
        total = sum(self.test.values())
        if total >= MIN_TEST_PROMPTS:
            return None
        splits = ", ".join(f"{count} in the split {split}" for split, count in sorted(self.test.items()))
        return f"{total} test prompts ({MIN_TEST_PROMPTS} needed){f': {splits}' if splits else ''}"


def count_prompts(
    prompts: pl.DataFrame,
    response_types: Mapping[str, str],
    *,
    prompts_per_response_type: int,
    held_out_fraction: float,
) -> list[PromptCount]:
    """Counts the prompts of every response type of the content policy.

    Args:
        prompts: Columns prompt_id, category and split (``train``, or the name of a test split).
        response_types: Response type by category, for every category of the content policy.
        prompts_per_response_type: Largest number of training prompts that synthesis chooses per response type.
        held_out_fraction: Share of prompts that are held out for the error rates, in [0, 1].

    Returns:
        One count per response type, sorted by name. A response type without a prompt has counts of 0.

    Example:
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b"], "category": ["None", "None"], "split": ["train", "test"]})
        >>> count, = count_prompts(prompts, {"None": "comply"}, prompts_per_response_type=70, held_out_fraction=0.0)
        >>> count.training, count.held_out, count.test
        (1, 0, {'test': 1})
    """
    typed = prompts.with_columns(
        pl.col("category").replace_strict(response_types, return_dtype=pl.String).alias("response_type")
    )
    chosen = choose_per_response_type(typed.filter(pl.col("split") == "train"), prompts_per_response_type)
    counts = []
    for response_type in sorted(set(response_types.values())):
        of_type = pl.col("response_type") == response_type
        splits = dict(typed.filter(of_type).group_by("split").len().sort("split").iter_rows())
        chosen_ids = chosen.filter(of_type)["prompt_id"].to_list()
        held_out = sum(is_held_out(prompt_id, held_out_fraction) for prompt_id in chosen_ids)
        counts.append(
            PromptCount(
                response_type=response_type,
                categories=tuple(sorted(name for name, of in response_types.items() if of == response_type)),
                training=splits.pop("train", 0),
                fitted=len(chosen_ids) - held_out,
                held_out=held_out,
                test=splits,
            )
        )
    return counts


def describe_training_counts(counts: Sequence[PromptCount]) -> str:
    """Returns which response types have too few training prompts and what to do, or the counts if none has.

    Example:
        >>> describe_training_counts([PromptCount("comply", ("None",), 6, 4, 2, {"test": 3})])
        'Each response type has at least 5 training prompts, for the fit and held out: comply 4 + 2.'
    """
    short = [f"{count.response_type} has {count.training_shortfall}" for count in counts if count.training_shortfall]
    if not short:
        enough = ", ".join(f"{count.response_type} {count.fitted} + {count.held_out}" for count in counts)
        return (
            f"Each response type has at least {MIN_TRAINING_PROMPTS} training prompts, "
            f"for the fit and held out: {enough}."
        )
    advice = [f"Add prompts to the data file: {_categories(counts, training=True)}."]
    if any(count.training < MIN_TRAINING_PROMPTS for count in counts):
        advice.append("A smaller evaluation.test_fraction also gives more training prompts.")
    if any(count.training and not count.held_out for count in counts):
        advice.append("A hash decides which prompts are held out; a larger fit.held_out_fraction holds out more.")
    if any(count.training and not count.fitted for count in counts):
        advice.append("A hash decides which prompts are held out; a smaller fit.held_out_fraction holds out fewer.")
    one_sided = [count for count in counts if not (count.fitted and count.held_out)]
    if any(count.training > count.fitted + count.held_out for count in one_sided):
        advice.append("A larger synthesis.prompts_per_response_type uses more of the training prompts.")
    return f"{'; '.join(short)}. {' '.join(advice)}"


def describe_test_counts(counts: Sequence[PromptCount]) -> str:
    """Returns which response types have too few test prompts and what to do, or the counts if none has.

    Example:
        >>> describe_test_counts([PromptCount("comply", ("None",), 6, 4, 2, {"test": 3, "unseen_topics": 1})])
        'Each response type has at least 3 test prompts: comply 4.'
    """
    short = [f"{count.response_type} has {count.test_shortfall}" for count in counts if count.test_shortfall]
    if not short:
        enough = ", ".join(f"{count.response_type} {sum(count.test.values())}" for count in counts)
        return f"Each response type has at least {MIN_TEST_PROMPTS} test prompts: {enough}."
    return (
        f"{'; '.join(short)}. Add prompts to the data file: {_categories(counts, training=False)}. "
        "A larger evaluation.test_fraction also gives more test prompts."
    )


def _categories(counts: Sequence[PromptCount], *, training: bool) -> str:
    """Returns the categories that need more prompts, by response type."""
    short = [count for count in counts if (count.training_shortfall if training else count.test_shortfall)]
    return "; ".join(f"for {count.response_type}, of the category {' or '.join(count.categories)}" for count in short)
