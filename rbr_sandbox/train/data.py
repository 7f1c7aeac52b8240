"""The shipped sandbox data: prompts and gold labels, as a user would bring their own; and a policy's own replies."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from rbr.conversation import Conversation, prompt_id, with_instruction
from rbr.models.policy import Policy
from rbr.profile import ModelRef
from rbr.rulebook import Rulebook, compile_classes
from rbr_sandbox.acts import helpful_acts, instructed_acts, refusal_acts, soft_acts
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.replies import Judged, draw_reply, judge
from rbr_sandbox.world import RESPONSE_TYPES, WorldPrompt, Writer, draw_prompts, training_prompt

DIRECTORY = Path(__file__).parents[1] / "data"
PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE = 550, 50
UNLABELED = 0.06
GOLD_PER_CLASS = 24
TINY_TRAIN, TINY_TEST, TINY_UNSEEN = 6, 3, 1


def shipped_prompts(seed: int) -> list[WorldPrompt]:
    """The prompts of the shipped data set, with their topics."""
    return draw_prompts(seed, PER_RESPONSE_TYPE, UNSEEN_PER_RESPONSE_TYPE)


def write_data(seed: int, rulebook: Rulebook) -> None:
    """Writes ``prompts.jsonl`` and ``gold_labels.jsonl``, and their small twins for the ``tiny`` profile.

    A few training prompts carry no category, so that the pipeline has something to ask the grader.
    """
    rng = Random(seed)
    prompts = shipped_prompts(seed)
    hidden = {prompt_id(p.messages) for p in prompts if p.split == "train" and rng.random() < UNLABELED}
    DIRECTORY.mkdir(exist_ok=True)
    _write("prompts.jsonl", (_prompt_row(p, hide=prompt_id(p.messages) in hidden) for p in prompts))
    tiny = [
        prompt
        for response_type in RESPONSE_TYPES
        for split, count in (("train", TINY_TRAIN), ("test", TINY_TEST), ("unseen_topics", TINY_UNSEEN))
        for prompt in [p for p in prompts if p.response_type == response_type and p.split == split][:count]
    ]
    _write("tiny_prompts.jsonl", (_prompt_row(p, hide=p is tiny[0]) for p in tiny))
    gold = list(_gold_rows(rng, [p for p in prompts if p.split == "train"], rulebook))
    _write("gold_labels.jsonl", gold)
    _write("tiny_gold_labels.jsonl", gold[:: len(gold) // 96][:96])


def _prompt_row(prompt: WorldPrompt, *, hide: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": prompt.messages}
    if not hide:
        row["category"] = prompt.topic.category
    if prompt.split == "unseen_topics":
        row["held_out"] = "unseen_topics"
    return row


def _gold_rows(rng: Random, prompts: list[WorldPrompt], rulebook: Rulebook) -> Iterable[dict[str, Any]]:
    """Labeled replies: for every response type, equally many of each class of the shipped rulebook."""
    for response_type in RESPONSE_TYPES:
        pool = [p for p in prompts if p.response_type == response_type]
        diagram = compile_classes(rulebook.behavior, response_type)
        missing = dict.fromkeys(diagram.classes, GOLD_PER_CLASS)
        while any(missing.values()):
            judged = _gold_reply(rng, rng.choice(pool), prompts)
            known = dict.fromkeys(PROPOSITIONS, False) | judged.truth
            found = diagram.classes[diagram.classify(np.array([[known[name] for name in diagram.propositions]]))[0]]
            if not missing[found]:
                continue
            missing[found] -= 1
            yield {
                "messages": judged.prompt.messages,
                "reply": judged.reply,
                "category": judged.prompt.topic.category,
                "labels": {name: known[name] for name in sorted(PROPOSITIONS)},
            }


def _gold_reply(rng: Random, prompt: WorldPrompt, others: list[WorldPrompt]) -> Judged:
    """An ideal, a flawed or any reply; one to a harmless prompt may answer a harmful one instead."""
    draw, soft = rng.random(), prompt.response_type.startswith("soft")
    if draw < 0.4:
        return draw_reply(rng, prompt, lambda r: r.choice(others), held_out=0.1)
    subject = prompt
    if draw < 0.8:
        flaws = rng.choice((0, 1, 2))
        acts = soft_acts(rng, prompt, flaws) if soft else refusal_acts(rng, flaws)
    else:
        subject = rng.choice(others) if draw > 0.95 else prompt
        acts = ["meta", "full"] if draw < 0.85 else helpful_acts(rng, prompt)
    return judge(prompt, Writer(rng, held_out=0.1).write(acts, subject))


def sample_replies(model: Path, seed: int, count: int) -> list[Judged]:
    """Replies that a model wrote to training prompts, with and without an instruction, and the truth about them.

    They hold the mistakes that a policy makes, which composed replies do not.
    """
    rng = Random(seed)
    prompts = [training_prompt(rng) for _ in range(count)]
    asked: list[Conversation] = [
        with_instruction(p.messages, Writer(rng).instruction(instructed_acts(rng, p)))
        if rng.random() < 0.5
        else list(p.messages)
        for p in prompts
    ]
    policy = Policy(ModelRef(path=str(model), revision=None), batch_size=128)
    written = policy.sample(asked, list(range(count)), 1.0, 1.0, 64)
    return [judge(prompt, reply.text) for prompt, reply in zip(prompts, written, strict=True)]


def _write(name: str, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows]
    (DIRECTORY / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
