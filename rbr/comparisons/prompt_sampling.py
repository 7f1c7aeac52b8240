"""Samples the prompts for synthesis and reinforcement learning, balanced over the content categories.

A hash orders the prompts, so a new prompt replaces few other prompts.
"""

import itertools
from collections.abc import Iterator, Mapping

import polars as pl

from rbr.errors import InputError
from rbr.hashing import content_hash


def balanced_order(prompts: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """Returns `rows` prompts for reinforcement learning, with every category equally often.

    Every round takes one prompt of each category, so after any number of rows the counts of two categories differ
    by at most one. If a category runs out of prompts, its prompts are used again in a new order.

    The result does not depend on response types, because an edit of the behavior policy must not change the training
    prompts of the baselines. If half of the categories ask for a refusal, so do about half of the prompts, as in the
    paper (section 5). Section 7 shows that this ratio matters.

    Args:
        prompts: Columns prompt_id and category, and any other columns, which are kept.
        rows: Length of the result; may exceed the number of prompts.
        seed: Determines the order of the prompts of a category, and of the categories in a round.

    Returns:
        `rows` rows with the columns of `prompts`. The row order of `prompts` does not matter.

    Raises:
        InputError: `prompts` is empty, and `rows` is above 0.

    Example:
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b", "c", "d"], "category": ["None", "None", "None", "K-R"]})
        >>> order = balanced_order(prompts, rows=6, seed=0)
        >>> order["category"].value_counts().sort("category").rows()
        [('K-R', 3), ('None', 3)]
    """
    if prompts.is_empty() and rows > 0:
        raise InputError(
            "there are no training prompts",
            hint="Add prompts to the prompts file, or lower evaluation.test_fraction in the profile.",
        )
    row_of = {prompt_id: row for row, prompt_id in enumerate(prompts["prompt_id"].to_list())}
    by_category: Mapping[str, list[str]] = {
        str(category): group["prompt_id"].to_list()
        for (category,), group in prompts.sort("category", "prompt_id").group_by("category", maintain_order=True)
    }
    prompt_ids = list(itertools.islice(_round_robin(by_category, seed), rows)) if rows else []
    return prompts[[row_of[prompt_id] for prompt_id in prompt_ids]]


def choose_per_response_type(prompts: pl.DataFrame, per_response_type: int) -> pl.DataFrame:
    """Chooses prompts of each response type, spread over its categories as evenly as possible.

    Args:
        prompts: Columns prompt_id, category and response_type, and any other columns, which are kept.
        per_response_type: Largest number of prompts of a response type.

    Returns:
        The chosen rows, sorted by prompt_id.

    Example:
        >>> prompts = pl.DataFrame({"prompt_id": ["a", "b", "c"], "category": ["A", "A", "B"]})
        >>> prompts = prompts.with_columns(response_type=pl.lit("comply"))
        >>> choose_per_response_type(prompts, 2)["category"].to_list()
        ['A', 'B']
    """
    hashes = [content_hash(["synthesis", prompt_id]) for prompt_id in prompts["prompt_id"]]
    hashed = prompts.with_columns(pl.Series("_hash", hashes, dtype=pl.String))
    # 1. Within a category, the hash orders the prompts: the first prompt has round 1, the second has round 2, ...
    round_in_category = pl.col("_hash").rank("ordinal").over("response_type", "category")
    hashed = hashed.with_columns(round_in_category.alias("_round"))
    # 2. Within a response type, all prompts of round 1 come before those of round 2, so the categories take turns.
    rank_in_response_type = pl.struct("_round", "_hash").rank("ordinal").over("response_type")
    chosen = hashed.filter(rank_in_response_type <= per_response_type)
    return chosen.drop("_hash", "_round").sort("prompt_id")


def is_held_out(prompt_id: str, fraction: float) -> bool:
    """Returns True if the pairs of a training prompt are held out from the fit, to measure error rates.

    The hash of the prompt alone decides, so a new prompt does not move other prompts.

    Args:
        prompt_id: Id of the prompt.
        fraction: Expected share of held-out prompts, in [0, 1].

    Example:
        >>> is_held_out("a", 0.0), is_held_out("a", 1.0)
        (False, True)
    """
    # The salt "fit" makes this split independent of the test split, which hashes the prompt id alone.
    return int(content_hash(["fit", prompt_id]), 16) / 2**64 < fraction


def _round_robin(by_category: Mapping[str, list[str]], seed: int) -> Iterator[str]:
    """Yields one prompt of each category per round, endlessly; each round has its own order of categories."""
    prompt_streams = {category: _shuffled_cycles(prompt_ids, seed) for category, prompt_ids in by_category.items()}
    for round_number in itertools.count():
        for category in sorted(prompt_streams, key=lambda name: content_hash([seed, round_number, name])):
            yield next(prompt_streams[category])


def _shuffled_cycles(prompt_ids: list[str], seed: int) -> Iterator[str]:
    """Yields all prompts of a category, endlessly; each cycle has its own order of prompts."""
    for cycle in itertools.count():
        yield from sorted(prompt_ids, key=lambda prompt_id: content_hash([seed, cycle, prompt_id]))
