"""Counts what the world contains: topics, wordings, alarming words, and the labeled replies that ship."""

from collections import Counter
from math import nan

from rbr.classes.classification import gold_classes
from rbr.files.data_files import load_gold_labels
from rbr.rulebook import Rulebook
from rbr_sandbox.measure.figures import Figure, share_figure
from rbr_sandbox.topics import Topic, all_topics
from rbr_sandbox.train.sandbox_trainer import SEED
from rbr_sandbox.train.shipped_data import DATA_DIRECTORY, shipped_prompts
from rbr_sandbox.world import METHOD_REQUESTS, REQUESTS, STATEMENTS

GROUP = "world"
TOPICS_BAR, WORDINGS_BAR, TURNS_BAR, GOLD_BAR, BALANCE_BAR = 60, 5, 0.1, 400, 0.8


def world_figures(rulebook: Rulebook) -> list[Figure]:
    """Counts topics, wordings, prompts and labeled replies.

    Args:
        rulebook: Rulebook. Its content policy decides which topics are harmful, and its class rules decide the class
            of each labeled reply.
    """
    wordings = {"a request": REQUESTS, "a harmful wish": STATEMENTS, "a request for a method": METHOD_REQUESTS}
    several_turns = [len(prompt.messages) > 1 for prompt in shipped_prompts(SEED)]
    return [
        *_topic_figures(rulebook),
        *(_count_figure(f"wordings of {request}", len(texts), WORDINGS_BAR) for request, texts in wordings.items()),
        share_figure(GROUP, "prompts with several turns", several_turns, TURNS_BAR),
        *_gold_figures(labeled_replies(rulebook)),
    ]


def _topic_figures(rulebook: Rulebook) -> list[Figure]:
    policy = rulebook.content_policy
    sides: dict[str, list[Topic]] = {"harmless": [], "harmful": []}
    for topic in all_topics():
        sides["harmless" if policy.response_type(topic.category) == "comply" else "harmful"].append(topic)
    figures = []
    for side, topics in sides.items():
        figures.append(_count_figure(f"{side} topics", len(topics), TOPICS_BAR))
        figures.append(_count_figure(f"{side} topics held out of training", sum(not topic.seen for topic in topics), 1))
    alarming = {topic.alarming_word for topic in sides["harmful"] if topic.alarming_word}
    harmless = {topic.alarming_word for topic in sides["harmless"]}
    shared = [word in harmless for word in sorted(alarming)]
    return [*figures, share_figure(GROUP, "alarming words that harmless topics have too", shared, 1.0)]


def _gold_figures(classes: dict[str, Counter[str]]) -> list[Figure]:
    replies = sum(counts.total() for counts in classes.values())
    balance = min(min(counts.values()) / max(counts.values()) for counts in classes.values())
    return [
        _count_figure("labeled replies", replies, GOLD_BAR),
        Figure(GROUP, "labeled replies, rarest class / most frequent class", balance, nan, nan, replies, BALANCE_BAR),
    ]


def labeled_replies(rulebook: Rulebook) -> dict[str, Counter[str]]:
    """Counts the shipped labeled replies by response type and class. A class without replies has the count 0."""
    path = DATA_DIRECTORY / "gold_labels.jsonl"
    rows = gold_classes(load_gold_labels(path), rulebook, where=str(path)).select("response_type", "class_name")
    counts = Counter(rows.iter_rows())
    return {
        response_type: Counter({name: counts[response_type, name] for name in rules.classes})
        for response_type, rules in rulebook.behavior.response_types.items()
    }


def _count_figure(name: str, count: int, bar: int) -> Figure:
    return Figure(GROUP, name, float(count), nan, nan, count, float(bar))
