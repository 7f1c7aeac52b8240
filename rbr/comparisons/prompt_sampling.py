"""Which prompts synthesis and reinforcement learning take: balanced over content categories, in hash order.

Hashes make the choice stable: a new prompt displaces few others.
"""

import itertools
from collections.abc import Iterator, Mapping

import polars as pl

from rbr.errors import InputError
from rbr.hashing import content_hash


def balanced_order(prompts: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """Deals prompts out category by category until there are `rows` of them, for reinforcement learning.

    It knows no response type: an edit of the behavior policy must not change what the baselines are trained
    on. A content policy with as many complying as refusing categories thereby trains on about as many
    prompts of either kind (paper section 5; the ratio matters, section 7).

    Every round takes one prompt of each category, so category counts differ by at most one over the
    whole order and within any stretch of it. A category that runs out starts again in a new order.

    Args:
        prompts: Columns prompt_id and category, and any others, which are kept.
        rows: Length of the result; may exceed the number of prompts.
        seed: Changes the order of prompts within, and of categories between, rounds.

    Returns:
        `rows` rows with the columns of `prompts`, independent of the row order of `prompts`.

    Raises:
        InputError: There is no prompt to deal.
    """
    if prompts.is_empty() and rows > 0:
        raise InputError(
            "there is no training prompt to learn from",
            hint="Add prompts, or lower evaluation.test_fraction.",
        )
    index = {prompt_id: row for row, prompt_id in enumerate(prompts["prompt_id"].to_list())}
    by_category: Mapping[str, list[str]] = {
        str(category): group["prompt_id"].to_list()
        for (category,), group in prompts.sort("category", "prompt_id").group_by("category", maintain_order=True)
    }
    dealt = list(itertools.islice(_deal(by_category, seed), rows)) if rows else []
    return prompts[[index[prompt_id] for prompt_id in dealt]]


def choose_per_response_type(prompts: pl.DataFrame, per_response_type: int) -> pl.DataFrame:
    """Takes some prompts of each response type, as evenly over its categories as they last.

    Args:
        prompts: Columns prompt_id, category and response_type, and any others, which are kept.
        per_response_type: At most so many of each.

    Returns:
        The chosen rows, sorted by prompt_id.
    """
    salted = [content_hash(["synthesis", prompt_id]) for prompt_id in prompts["prompt_id"]]
    turn = pl.col("_hash").rank("ordinal").over("response_type", "category")
    dealt = prompts.with_columns(pl.Series("_hash", salted, dtype=pl.String)).with_columns(turn.alias("_turn"))
    place = pl.struct("_turn", "_hash").rank("ordinal").over("response_type")
    chosen = dealt.filter(place <= per_response_type)
    return chosen.drop("_hash", "_turn").sort("prompt_id")


def _deal(by_category: Mapping[str, list[str]], seed: int) -> Iterator[str]:
    piles = {category: _cycle(prompt_ids, seed) for category, prompt_ids in by_category.items()}
    for turn in itertools.count():
        for category in sorted(piles, key=lambda name: content_hash([seed, turn, name])):
            yield next(piles[category])


def _cycle(prompt_ids: list[str], seed: int) -> Iterator[str]:
    for turn in itertools.count():
        yield from sorted(prompt_ids, key=lambda prompt_id: content_hash([seed, turn, prompt_id]))
