"""Draws the gold rows of the shipped data: replies with the truth of every proposition.

A label counts only if the response type of its reply needs the proposition. A proposition is undecided without
`MIN_LABELS` counting labels that say yes and as many that say no, so the rows contain at least that many.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

import numpy as np

from rbr.rulebook import Agreement, ClassDiagram, Rulebook, compile_classes, propositions_needed
from rbr_sandbox.oracle import PROPOSITIONS
from rbr_sandbox.replies import JudgedReply, draw_reply, judge
from rbr_sandbox.reply_plans import plan_hard_refusal, plan_helpful_reply, plan_reply_with_flaws, plan_soft_refusal
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.topics import RESPONSE_TYPES
from rbr_sandbox.world_prompt import WorldPrompt

GOLD_PER_CLASS = 24
MIN_ROWS_PER_RESPONSE_TYPE = 40
MIN_LABELS: int = Agreement.model_fields["min_labels"].default
# In each round, every class of every response type gets one more reply: the best of this many draws.
DRAWS_PER_REPLY, MAX_ROUNDS = 20, 50

GoldJson: TypeAlias = dict[str, Any]
Label: TypeAlias = tuple[str, bool]


def draw_gold_rows(rng: Random, prompts: Sequence[WorldPrompt], rulebook: Rulebook) -> list[GoldJson]:
    """Draws labeled replies: the same number for each class, and enough labels for every proposition.

    Args:
        rng: Source of every random choice.
        prompts: Prompts of the training split.
        rulebook: Rulebook. It decides the class of a reply, and the labels that count.

    Returns:
        Rows of a gold file. Each class of each response type has the same number of rows, at least `GOLD_PER_CLASS`.

    Raises:
        ValueError: Labels are still missing after `MAX_ROUNDS` more rows per class.
    """
    needed = needed_by_category(rulebook)
    rows = list(_rows_by_class(rng, prompts, rulebook))
    for _ in range(MAX_ROUNDS):
        if not (missing := missing_labels(rows, needed)):
            return rows
        rows += _rows_with_missing_labels(rng, prompts, rulebook, missing)
    raise ValueError(f"after {len(rows)} gold rows, labels are still missing: {dict(missing)}")


def fewest_rows(rows: Sequence[GoldJson], rulebook: Rulebook) -> list[GoldJson]:
    """Selects few rows with enough labels for every proposition, and enough replies of every response type.

    Each step takes the row whose labels are missing most; of equally good rows, the first one. `rows` must contain
    enough labels and replies. The result has the order of `rows`.
    """
    needed = needed_by_category(rulebook)
    rest, chosen = list(range(len(rows))), list[int]()
    while missing := missing_labels([rows[index] for index in chosen], needed):
        chosen.append(max(rest, key=lambda index: _value(rows[index], missing, needed)))
        rest.remove(chosen[-1])
    for response_type in RESPONSE_TYPES:
        of_type = [index for index, row in enumerate(rows) if _response_type(row, rulebook) == response_type]
        n_missing = MIN_ROWS_PER_RESPONSE_TYPE - len(set(of_type) & set(chosen))
        unused = [index for index in of_type if index not in chosen]
        # Evenly spaced rows contain every class, because the rows are sorted by response type and not by class.
        chosen += unused[:: max(1, len(unused) // max(1, n_missing))][: max(0, n_missing)]
    return [rows[index] for index in sorted(chosen)]


def _response_type(row: GoldJson, rulebook: Rulebook) -> str:
    return rulebook.content_policy.response_type(row["category"])


def needed_by_category(rulebook: Rulebook) -> dict[str, tuple[str, ...]]:
    """Returns the propositions that the response type of each category needs. Only their labels count."""
    by_response_type = {name: propositions_needed(rulebook.behavior, name) for name in rulebook.behavior.response_types}
    return {code: by_response_type[entry.response_type] for code, entry in rulebook.content_policy.categories.items()}


def missing_labels(rows: Iterable[GoldJson], needed: Mapping[str, Sequence[str]]) -> Counter[Label]:
    """Counts the labels that rows lack: `MIN_LABELS` are wanted for each proposition and each truth value.

    Args:
        rows: Rows of a gold file.
        needed: The propositions whose labels count, by category.

    Returns:
        Number of missing labels by proposition and truth value. Labels that are not missing are left out.
    """
    names = {name for names in needed.values() for name in names}
    wanted = Counter({(name, truth): MIN_LABELS for name in sorted(names) for truth in (True, False)})
    return wanted - Counter(label for row in rows for label in _counting_labels(row, needed))


def _rows_by_class(rng: Random, prompts: Sequence[WorldPrompt], rulebook: Rulebook) -> Iterator[GoldJson]:
    """Draws `GOLD_PER_CLASS` labeled replies of each class for every response type."""
    for response_type in RESPONSE_TYPES:
        pool = [p for p in prompts if p.response_type == response_type]
        diagram = compile_classes(rulebook.behavior, response_type)
        missing = dict.fromkeys(diagram.classes, GOLD_PER_CLASS)
        # Keep a reply only if its class still misses replies.
        while any(missing.values()):
            judged = _draw_gold_reply(rng, rng.choice(pool), prompts)
            class_name = _class_of(judged, diagram)
            if missing[class_name]:
                missing[class_name] -= 1
                yield _gold_row(judged)


def _rows_with_missing_labels(
    rng: Random, prompts: Sequence[WorldPrompt], rulebook: Rulebook, missing: Counter[Label]
) -> Iterator[GoldJson]:
    """Draws one more reply of each class for every response type, with many of the missing labels."""
    missing, needed = missing.copy(), needed_by_category(rulebook)
    for response_type in RESPONSE_TYPES:
        pool = [p for p in prompts if p.response_type == response_type]
        diagram = compile_classes(rulebook.behavior, response_type)
        drawn: dict[str, list[GoldJson]] = {name: [] for name in diagram.classes}
        while any(len(rows) < DRAWS_PER_REPLY for rows in drawn.values()):
            prompt = rng.choice(pool)
            answered_prompt = prompt if rng.random() < 0.8 else rng.choice(prompts)
            acts = plan_reply_with_flaws(rng, prompt, flaws=rng.choice((0, 1, 2, 3)))
            judged = judge(prompt, ReplyWriter(rng, held_out=0.1).write(acts, answered_prompt))
            drawn[_class_of(judged, diagram)].append(_gold_row(judged))
        for rows in drawn.values():
            best = max(rows[:DRAWS_PER_REPLY], key=lambda row: _value(row, missing, needed))
            missing -= Counter(_counting_labels(best, needed))
            yield best


def _draw_gold_reply(rng: Random, prompt: WorldPrompt, others: Sequence[WorldPrompt]) -> JudgedReply:
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


def _truth(judged: JudgedReply) -> dict[str, bool]:
    return dict.fromkeys(PROPOSITIONS, False) | judged.truth


def _class_of(judged: JudgedReply, diagram: ClassDiagram) -> str:
    truth = _truth(judged)
    # One reply as an array of shape [1, propositions].
    values = np.array([[truth[name] for name in diagram.propositions]])
    return diagram.classes[diagram.classify(values)[0]]


def _gold_row(judged: JudgedReply) -> GoldJson:
    truth = _truth(judged)
    return {
        "messages": judged.prompt.messages,
        "reply": judged.reply,
        "category": judged.prompt.topic.category,
        "labels": {name: truth[name] for name in sorted(PROPOSITIONS)},
    }


def _counting_labels(row: GoldJson, needed: Mapping[str, Sequence[str]]) -> list[Label]:
    return [(name, row["labels"][name]) for name in needed[row["category"]] if name in row["labels"]]


def _value(row: GoldJson, missing: Counter[Label], needed: Mapping[str, Sequence[str]]) -> int:
    return sum(missing[label] for label in _counting_labels(row, needed))
