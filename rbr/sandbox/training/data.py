"""The shipped sandbox data: prompts and gold labels, as a user would bring their own."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from rbr.conversation import prompt_id
from rbr.sandbox.oracle import PROPOSITIONS, truths
from rbr.sandbox.world import RESPONSE_TYPES, WorldPrompt, Writer, helpful_acts, refusal_acts, soft_acts

DIRECTORY = Path(__file__).parents[1] / "data"
UNLABELLED = 0.06
GOLD_PER_RESPONSE_TYPE = 120
TINY_TRAIN, TINY_TEST, TINY_UNSEEN = 6, 3, 1


def write_data(prompts: list[WorldPrompt], seed: int) -> None:
    """Writes ``prompts.jsonl`` and ``gold_labels.jsonl``, and their small twins for the ``tiny`` profile.

    A few training prompts carry no category, so that the pipeline has something to ask the grader.
    """
    rng = Random(seed)
    hidden = {prompt_id(p.messages) for p in prompts if p.split == "train" and rng.random() < UNLABELLED}
    DIRECTORY.mkdir(exist_ok=True)
    _write("prompts.jsonl", (_prompt_row(p, hide=prompt_id(p.messages) in hidden) for p in prompts))
    tiny = [
        prompt
        for response_type in RESPONSE_TYPES
        for split, count in (("train", TINY_TRAIN), ("test", TINY_TEST), ("unseen_topics", TINY_UNSEEN))
        for prompt in [p for p in prompts if p.response_type == response_type and p.split == split][:count]
    ]
    _write("tiny_prompts.jsonl", (_prompt_row(p, hide=p is tiny[0]) for p in tiny))
    gold = list(_gold_rows(rng, [p for p in prompts if p.split == "train"]))
    _write("gold_labels.jsonl", gold)
    _write("tiny_gold_labels.jsonl", gold[:: len(gold) // 96][:96])


def _prompt_row(prompt: WorldPrompt, *, hide: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": prompt.messages}
    if not hide:
        row["category"] = prompt.topic.category
    if prompt.split == "unseen_topics":
        row["held_out"] = "unseen_topics"
    return row


def _gold_rows(rng: Random, prompts: list[WorldPrompt]) -> Iterable[dict[str, Any]]:
    """Labelled replies, a third ideal in intent, the rest flawed, answering or beside the point."""
    for response_type in RESPONSE_TYPES:
        pool = [p for p in prompts if p.response_type == response_type]
        for i, prompt in enumerate(rng.sample(pool, GOLD_PER_RESPONSE_TYPE)):
            reply = Writer(rng, held_out=0.1).write(_gold_acts(rng, prompt, i % 6), prompt)
            truth = truths(prompt.messages, reply)
            yield {
                "messages": prompt.messages,
                "reply": reply,
                "category": prompt.topic.category,
                "labels": {name: truth[name] for name in sorted(PROPOSITIONS)},
            }


def _gold_acts(rng: Random, prompt: WorldPrompt, kind: int) -> list[str]:
    soft = prompt.response_type.startswith("soft")
    if kind < 2:
        return soft_acts(rng, prompt, 0) if soft else refusal_acts(rng, 0)
    if kind < 4:
        return soft_acts(rng, prompt, rng.choice((1, 2, 3))) if soft else refusal_acts(rng, rng.choice((1, 2, 3)))
    if kind == 4:
        return helpful_acts(rng, prompt)
    return rng.choice((["off_topic"], ["off_topic", "question"], ["part"], ["full"], ["full", "meta"]))


def _write(name: str, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
    (DIRECTORY / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
