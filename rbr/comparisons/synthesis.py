"""Synthetic comparisons: which replies to ask for, and which turned out as asked (paper section 2, stage 6)."""

import polars as pl

from rbr.errors import InputError
from rbr.hashing import content_hash
from rbr.rulebook import Behavior, Recipe, Slot, Synthesis

PLAN_SCHEMA = pl.Schema(
    {
        "prompt_id": pl.String,
        "response_type": pl.String,
        "slot": pl.String,
        "label": pl.String,
        "candidate": pl.Int32,
        "instruction": pl.String,
    }
)


def plan_candidates(prompts: pl.DataFrame, synthesis: Synthesis, *, candidates: int, seed: int) -> pl.DataFrame:
    """Plans the replies to sample.

    A slot's instructions are dealt to its candidates in turn, from a start drawn by the hash of prompt and
    slot: a candidate that fails is followed by one asked for in other words, and no prompt's plan depends on
    the other prompts.

    Args:
        prompts: Columns prompt_id and response_type.
        synthesis: The recipes.
        candidates: Replies per prompt and slot, at least 1.
        seed: Changes the starts.

    Returns:
        Columns `PLAN_SCHEMA`, in the order of prompts, slots and candidates.

    Raises:
        InputError: A response type has no recipe.
    """
    rows = [
        (prompt_id, response_type, slot.name, slot.label, candidate, instruction)
        for prompt_id, response_type in prompts.select("prompt_id", "response_type").iter_rows()
        for slot in _recipe(synthesis, response_type).slots
        for candidate, instruction in enumerate(_instructions(slot, prompt_id, candidates, seed))
    ]
    return pl.DataFrame(rows, schema=PLAN_SCHEMA, orient="row")


def verify(candidates: pl.DataFrame, synthesis: Synthesis) -> pl.DataFrame:
    """Keeps, per prompt and slot, the first candidate whose graded class the slot allows.

    Args:
        candidates: Columns prompt_id, response_type, slot, candidate and class_name (the likeliest by
            the grades, null where one is missing), and any others, which are kept.
        synthesis: The recipes; a slot that they no longer have keeps nothing.

    Returns:
        The kept rows with all their columns, in the order given.
    """
    allowed = pl.DataFrame(
        [
            (response_type, slot.name, class_name)
            for response_type, recipe in synthesis.items()
            for slot in recipe.slots
            for class_name in slot.may_be
        ],
        schema={"response_type": pl.String, "slot": pl.String, "class_name": pl.String},
        orient="row",
    )
    fitting = candidates.join(allowed, on=allowed.columns, how="semi", maintain_order="left")
    first = pl.col("candidate") == pl.col("candidate").min().over("prompt_id", "slot")
    return fitting.filter(first)


def ideal_replies(verified: pl.DataFrame, behavior: Behavior) -> pl.DataFrame:
    """The verified replies under a best-ranked label: what safety fine-tuning imitates (paper section 2, stage 7).

    For `comply` these are the policy's own helpful replies.

    Args:
        verified: Columns response_type and label, and any others, which are kept.
        behavior: The ranking.
    """
    best = pl.DataFrame(
        [(name, label) for name, rules in behavior.response_types.items() for label in rules.ranking[0]],
        schema={"response_type": pl.String, "label": pl.String},
        orient="row",
    )
    return verified.join(best, on=best.columns, how="semi", maintain_order="left")


def filled_slots(candidates: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """How many prompts have a verified reply, slot by slot.

    Args:
        candidates: What was verified: columns prompt_id, response_type, slot.
        kept: What `verify` kept of it.

    Returns:
        Columns response_type, slot, prompts and filled (both counts), in order of first mention.
    """
    keys = ["response_type", "slot"]
    prompts = candidates.group_by(keys, maintain_order=True).agg(pl.col("prompt_id").n_unique().alias("prompts"))
    filled = kept.group_by(keys).agg(pl.col("prompt_id").n_unique().alias("filled"))
    joined = prompts.join(filled, on=keys, how="left", maintain_order="left")
    return joined.with_columns(pl.col("filled").fill_null(0))


def _recipe(synthesis: Synthesis, response_type: str) -> Recipe:
    if response_type not in synthesis:
        raise InputError(
            f"the response type `{response_type}` has no recipe",
            where="synthesis.yaml",
            hint=f"Add one; there are recipes for: {', '.join(synthesis)}.",
        )
    return synthesis[response_type]


def _instructions(slot: Slot, prompt_id: str, candidates: int, seed: int) -> list[str]:
    start = int(content_hash(["instruction", seed, prompt_id, slot.name]), 16)
    return [slot.instructions[(start + turn) % len(slot.instructions)] for turn in range(candidates)]
