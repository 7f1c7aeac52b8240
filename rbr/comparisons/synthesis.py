"""Plans the synthetic replies to sample, and keeps the verified ones (paper section 2, stage 6)."""

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
    """Plans the replies to sample: `candidates` replies for each prompt and each slot of its recipe.

    The candidates of a slot use the slot's instructions in turn, so that each candidate has another instruction than
    the one before. A hash of prompt and slot selects the first instruction, so that the plan of a prompt does not
    depend on the other prompts.

    Args:
        prompts: Columns prompt_id and response_type.
        synthesis: The recipe of each response type.
        candidates: Replies per prompt and slot, at least 1.
        seed: Determines the first instruction of each prompt and slot.

    Returns:
        Columns `PLAN_SCHEMA`, in the order of prompts, slots and candidates.

    Raises:
        InputError: A response type has no recipe.

    Example:
        >>> from rbr.rulebook import load_synthesis
        >>> prompts = pl.DataFrame({"prompt_id": ["a"], "response_type": ["comply"]})
        >>> plan = plan_candidates(prompts, load_synthesis("rulebook/synthesis.yaml"), candidates=2, seed=0)
        >>> plan.select("slot", "candidate").head(2).rows()
        [('fully_complies', 0), ('fully_complies', 1)]
    """
    rows = [
        (prompt_id, response_type, slot.name, slot.label, candidate, instruction)
        for prompt_id, response_type in prompts.select("prompt_id", "response_type").iter_rows()
        for slot in _recipe(synthesis, response_type).slots
        for candidate, instruction in enumerate(_instructions(slot, prompt_id, candidates, seed))
    ]
    return pl.DataFrame(rows, schema=PLAN_SCHEMA, orient="row")


def keep_verified(candidates: pl.DataFrame, synthesis: Synthesis) -> pl.DataFrame:
    """Keeps the first finished candidate of each prompt and slot whose class the slot allows.

    A reply that was cut at its token limit is no verified reply of any slot: a policy that imitates it learns to stop
    in the middle of a sentence.

    Args:
        candidates: Columns prompt_id, response_type, slot, candidate, finished (false if the reply was cut) and
            class_name (the most probable class, null if it depends on a missing grade), and any other columns.
        synthesis: The recipe of each response type. Candidates whose slot is not in the recipe are dropped.

    Returns:
        The kept rows with all their columns, in the order of `candidates`.

    Example:
        >>> from rbr.rulebook import load_synthesis
        >>> synthesis = load_synthesis("rulebook/synthesis.yaml")
        >>> slot = synthesis["comply"].slots[0]
        >>> best = slot.may_be[0]
        >>> replies = pl.DataFrame({"candidate": [0, 1, 2], "class_name": ["illogical", best, best],
        ...                         "finished": [True, False, True]})
        >>> where = {"prompt_id": "a", "response_type": "comply", "slot": slot.name}
        >>> replies = replies.with_columns(pl.lit(value).alias(name) for name, value in where.items())
        >>> keep_verified(replies, synthesis)["candidate"].to_list()
        [2]
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
    finished = candidates.filter(pl.col("finished"))
    verified = finished.join(allowed, on=allowed.columns, how="semi", maintain_order="left")
    is_first = pl.col("candidate") == pl.col("candidate").min().over("prompt_id", "slot")
    return verified.filter(is_first)


def ideal_replies(verified: pl.DataFrame, behavior: Behavior) -> pl.DataFrame:
    """Returns the replies whose label has the first rank.

    Safety fine-tuning imitates these replies (paper section 2, stage 7). For the response type `comply`, they are the
    policy's own helpful replies.

    Args:
        verified: Columns response_type and label, and any other columns, which are kept.
        behavior: The behavior policy; it ranks the labels.

    Returns:
        The rows with a first-rank label, in the order of `verified`.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> behavior = load_behavior("rulebook/behavior.yaml")
        >>> labels = list(behavior.response_types["hard_refusal"].labels)
        >>> verified = pl.DataFrame({"label": labels}).with_columns(response_type=pl.lit("hard_refusal"))
        >>> ideal_replies(verified, behavior)["label"].to_list()
        ['perfect_hard_refusal']
    """
    best = pl.DataFrame(
        [(name, label) for name, rules in behavior.response_types.items() for label in rules.ranking[0]],
        schema={"response_type": pl.String, "label": pl.String},
        orient="row",
    )
    return verified.join(best, on=best.columns, how="semi", maintain_order="left")


def count_filled_slots(candidates: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Counts the prompts of each slot, and those with a verified reply.

    Args:
        candidates: All candidates: columns prompt_id, response_type, slot.
        kept: The result of `keep_verified`.

    Returns:
        Columns response_type, slot, prompts (all prompts of the slot) and filled (prompts with a verified reply), in
        the order in which the slots first occur in `candidates`.

    Example:
        >>> candidates = pl.DataFrame({"prompt_id": ["a", "b"], "response_type": "comply", "slot": "fully_complies"})
        >>> count_filled_slots(candidates, kept=candidates.head(1)).rows()
        [('comply', 'fully_complies', 2, 1)]
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
            hint=f"Add a recipe. These response types have one: {', '.join(synthesis)}.",
        )
    return synthesis[response_type]


def _instructions(slot: Slot, prompt_id: str, candidates: int, seed: int) -> list[str]:
    """Returns one instruction per candidate: the slot's instructions in turn, from an index that a hash selects."""
    start = int(content_hash(["instruction", seed, prompt_id, slot.name]), 16)
    return [slot.instructions[(start + candidate) % len(slot.instructions)] for candidate in range(candidates)]
