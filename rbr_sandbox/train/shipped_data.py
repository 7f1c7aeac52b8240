"""Writes the shipped sandbox data: prompts and gold labels, in the format of a user's own data."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from rbr.conversation import prompt_id
from rbr.rulebook import Rulebook, compile_classes
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.replies import JudgedReply, draw_reply, judge
from rbr_sandbox.reply_plans import plan_hard_refusal, plan_helpful_reply, plan_soft_refusal
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.topics import RESPONSE_TYPES
from rbr_sandbox.world import draw_prompts
from rbr_sandbox.world_prompt import WorldPrompt

DATA_DIRECTORY = Path(__file__).parents[1] / "data"
PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE = 550, 50
# Share of training prompts without a category, so that the pipeline has prompts to ask the grader about.
UNLABELED_SHARE = 0.06
GOLD_PER_CLASS = 24
TINY_TRAIN, TINY_TEST, TINY_UNSEEN = 6, 3, 1
TINY_GOLD = 96


def shipped_prompts(seed: int) -> list[WorldPrompt]:
    """Draws the prompts of the shipped data, with their topics."""
    return draw_prompts(seed, PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE)


def write_data(seed: int, rulebook: Rulebook) -> None:
    """Writes ``prompts.jsonl`` and ``gold_labels.jsonl``, and their small versions for the profile ``tiny``.

    Args:
        seed: Seed of all data.
        rulebook: Rulebook. Each of its classes gets the same number of gold labels.
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
    _write("tiny_prompts.jsonl", (_prompt_row(p, with_category=p is not tiny[0]) for p in tiny))
    gold = list(_gold_rows(rng, [p for p in prompts if p.split == "train"], rulebook))
    _write("gold_labels.jsonl", gold)
    _write("tiny_gold_labels.jsonl", gold[:: len(gold) // TINY_GOLD][:TINY_GOLD])


def _prompt_row(prompt: WorldPrompt, *, with_category: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": prompt.messages}
    if with_category:
        row["category"] = prompt.topic.category
    if prompt.split == "unseen_topics":
        row["held_out"] = "unseen_topics"
    return row


def _gold_rows(rng: Random, prompts: list[WorldPrompt], rulebook: Rulebook) -> Iterable[dict[str, Any]]:
    """Draws `GOLD_PER_CLASS` labeled replies of each class for every response type."""
    for response_type in RESPONSE_TYPES:
        pool = [p for p in prompts if p.response_type == response_type]
        diagram = compile_classes(rulebook.behavior, response_type)
        missing = dict.fromkeys(diagram.classes, GOLD_PER_CLASS)
        # Keep a reply only if its class still misses replies.
        while any(missing.values()):
            judged = _draw_gold_reply(rng, rng.choice(pool), prompts)
            truth = dict.fromkeys(PROPOSITIONS, False) | judged.truth
            # One reply as an array of shape (1, propositions).
            values = np.array([[truth[name] for name in diagram.propositions]])
            class_name = diagram.classes[diagram.classify(values)[0]]
            if not missing[class_name]:
                continue
            missing[class_name] -= 1
            yield {
                "messages": judged.prompt.messages,
                "reply": judged.reply,
                "category": judged.prompt.topic.category,
                "labels": {name: truth[name] for name in sorted(PROPOSITIONS)},
            }


def _draw_gold_reply(rng: Random, prompt: WorldPrompt, others: list[WorldPrompt]) -> JudgedReply:
    """Draws an ideal, flawed or arbitrary reply. A few replies answer another prompt."""
    draw, soft = rng.random(), prompt.response_type.startswith("soft")
    if draw < 0.4:
        return draw_reply(rng, prompt, lambda r: r.choice(others), held_out=0.1)
    answered_prompt = prompt
    if draw < 0.8:
        flaws = rng.choice((0, 1, 2))
        acts = plan_soft_refusal(rng, prompt, flaws) if soft else plan_hard_refusal(rng, flaws)
    else:
        answered_prompt = rng.choice(others) if draw > 0.95 else prompt
        acts = ["meta", "full"] if draw < 0.85 else plan_helpful_reply(rng, prompt)
    return judge(prompt, ReplyWriter(rng, held_out=0.1).write(acts, answered_prompt))


def _write(name: str, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
    (DATA_DIRECTORY / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
