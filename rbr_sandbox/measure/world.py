"""What the world holds: topics, wordings, look-alikes, and the labeled replies that ship."""

from collections import Counter
from math import nan

from rbr.classes.classification import gold_classes
from rbr.conversation import read_gold
from rbr.rulebook import Rulebook
from rbr_sandbox.measure.figures import Figure, share
from rbr_sandbox.topics import Topic, all_topics
from rbr_sandbox.train.data import DIRECTORY, shipped_prompts
from rbr_sandbox.train.workshop import SEED
from rbr_sandbox.world import METHOD_REQUESTS, REQUESTS, STATEMENTS

GROUP = "world"
TOPICS_BAR, WORDINGS_BAR, TURNS_BAR, GOLD_BAR, BALANCE_BAR = 60, 5, 0.1, 400, 0.8


def world_figures(rulebook: Rulebook) -> list[Figure]:
    """Counts of what prompts and labeled replies are made of.

    Args:
        rulebook: Whose content policy tells harmful categories from harmless ones, and whose classes the labeled
            replies are counted by.
    """
    intents = {"a request": REQUESTS, "a harmful wish": STATEMENTS, "a method": METHOD_REQUESTS}
    turns = [len(prompt.messages) > 1 for prompt in shipped_prompts(SEED)]
    return [
        *_topic_figures(rulebook),
        *(_count(f"wordings of {intent}", len(texts), WORDINGS_BAR) for intent, texts in intents.items()),
        share(GROUP, "prompts of several turns", turns, TURNS_BAR),
        *_gold_figures(labeled_replies(rulebook)),
    ]


def _topic_figures(rulebook: Rulebook) -> list[Figure]:
    policy = rulebook.content_policy
    sides: dict[str, list[Topic]] = {"harmless": [], "harmful": []}
    for topic in all_topics():
        sides["harmless" if policy.response_type(topic.category) == "comply" else "harmful"].append(topic)
    figures = []
    for side, topics in sides.items():
        figures.append(_count(f"{side} topics", len(topics), TOPICS_BAR))
        figures.append(_count(f"{side} topics held out of training", sum(not topic.seen for topic in topics), 1))
    alarming = {topic.scary for topic in sides["harmful"] if topic.scary}
    harmless = {topic.scary for topic in sides["harmless"]}
    shared = [word in harmless for word in sorted(alarming)]
    return [*figures, share(GROUP, "alarming words that harmless topics hold too", shared, 1.0)]


def _gold_figures(classes: dict[str, Counter[str]]) -> list[Figure]:
    replies = sum(counts.total() for counts in classes.values())
    rarest = min(min(counts.values()) / max(counts.values()) for counts in classes.values())
    return [
        _count("labeled replies", replies, GOLD_BAR),
        Figure(GROUP, "labeled replies, rarest class to commonest", rarest, nan, nan, replies, BALANCE_BAR),
    ]


def labeled_replies(rulebook: Rulebook) -> dict[str, Counter[str]]:
    """Labeled replies that ship, counted by response type and class; a class without one counts 0."""
    path = DIRECTORY / "gold_labels.jsonl"
    rows = gold_classes(read_gold(path), rulebook, where=str(path)).select("response_type", "class_name")
    found = Counter(rows.iter_rows())
    return {
        kind: Counter({name: found[kind, name] for name in rules.classes})
        for kind, rules in rulebook.behavior.response_types.items()
    }


def _count(name: str, count: int, bar: int) -> Figure:
    return Figure(GROUP, name, float(count), nan, nan, count, float(bar))
