"""Writes the shipped sandbox data: prompts and gold labels, in the format of a user's own data."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from rbr.conversation import prompt_id
from rbr.rulebook import Rulebook
from rbr_sandbox.topics import RESPONSE_TYPES
from rbr_sandbox.train.gold_rows import draw_gold_rows, fewest_rows
from rbr_sandbox.world import draw_prompts
from rbr_sandbox.world_prompt import WorldPrompt

DATA_DIRECTORY = Path(__file__).parents[1] / "data"
PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE = 550, 50
# Share of training prompts without a category, so that the pipeline has prompts to ask the grader about.
UNLABELED_SHARE = 0.06
TINY_TRAIN, TINY_TEST, TINY_UNSEEN = 6, 3, 1


def shipped_prompts(seed: int) -> list[WorldPrompt]:
    """Draws the prompts of the shipped data, with their topics."""
    return draw_prompts(seed, PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE)


def write_data(seed: int, rulebook: Rulebook) -> None:
    """Writes ``prompts.jsonl`` and ``gold_labels.jsonl``, and their small versions for the profile ``tiny``.

    Args:
        seed: Seed of all data.
        rulebook: Rulebook. Each of its classes gets the same number of gold rows, and each proposition enough labels.
    """
    rng = Random(seed)
    prompts = shipped_prompts(seed)
    unlabeled = {prompt_id(p.messages) for p in prompts if p.split == "train" and rng.random() < UNLABELED_SHARE}
    DATA_DIRECTORY.mkdir(exist_ok=True)
    _write("prompts.jsonl", (_prompt_row(p, with_category=prompt_id(p.messages) not in unlabeled) for p in prompts))
    tiny = [
        prompt
        for response_type in RESPONSE_TYPES
        for split, count in (("train", TINY_TRAIN), ("test", TINY_TEST), ("unseen_topics", TINY_UNSEEN))
        for prompt in [p for p in prompts if p.response_type == response_type and p.split == split][:count]
    ]
    _write("tiny_prompts.jsonl", (_prompt_row(p, with_category=p is not tiny[1]) for p in tiny))
    gold = draw_gold_rows(rng, [p for p in prompts if p.split == "train"], rulebook)
    _write("gold_labels.jsonl", gold)
    _write("tiny_gold_labels.jsonl", fewest_rows(gold, rulebook))


def _prompt_row(prompt: WorldPrompt, *, with_category: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": prompt.messages}
    if with_category:
        row["category"] = prompt.topic.category
    if prompt.split == "unseen_topics":
        row["held_out"] = "unseen_topics"
    return row


def _write(name: str, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
    (DATA_DIRECTORY / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
