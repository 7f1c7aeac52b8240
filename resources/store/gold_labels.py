"""Reads the gold labels that the grader's answers are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from rbr.comparisons.categories import check_categories
from rbr.conversation import Conversation, GoldRow
from rbr.grading import Question
from rbr.hashing import content_hash
from rbr.rulebook import ContentPolicy
from resources.store import Store
from resources.store.snapshot_content import read_applicability, read_questions, read_snapshot


@dataclass(frozen=True)
class GoldLabels:
    """Replies that people have labeled.

    Attributes:
        conversations: Prompt and reply, by completion id.
        labels: Columns completion_id, proposition and truth. One row per label: if several people have labeled a
            reply, it has several rows per proposition.
        questions: The questions to ask about each reply that has labels, by completion id.
        n_unclosed: Number of replies with a thought that does not end, so that no reply follows it.
        n_unopened: Number of replies with a closing mark that ends no thought.
    """

    conversations: Mapping[str, Conversation]
    labels: pl.DataFrame
    questions: Mapping[str, Sequence[Question]]
    n_unclosed: int = 0
    n_unopened: int = 0


def read_gold_rows(store: Store) -> dict[str, list[GoldRow]]:
    """Reads the labeled replies, with all labels.

    Returns:
        The judgments of each reply, by completion id. If several people have labeled a reply, it has several rows. The
        line of a row is its position among the labeled replies.
    """
    rows: dict[str, list[GoldRow]] = {}
    for position, row in enumerate(store.snapshot("data/gold_labels"), start=1):
        gold_row = GoldRow(tuple(row["messages"]), row["reply"], row["category"], row["labels"], line=position)
        rows.setdefault(_completion_id(row), []).append(gold_row)
    return rows


def read_gold_labels(store: Store) -> GoldLabels:
    """Reads the gold labels. Labels of propositions that a reply's response type does not need are left out.

    Raises:
        InputError: A category is not in the content policy.
    """
    # All labels of a reply get the same id, even if several people have labeled the reply.
    rows = [(_completion_id(row), row) for row in store.snapshot("data/gold_labels")]
    policy = read_snapshot(store, ContentPolicy)
    check_categories([row["category"] for _, row in rows], policy, where="data/gold_labels")
    applicable = read_applicability(store)
    labels = pl.DataFrame(
        [
            (completion_id, proposition, row["labels"][proposition])
            for completion_id, row in rows
            for proposition in applicable[policy.response_type(row["category"])]
            if proposition in row["labels"]
        ],
        schema={"completion_id": pl.String, "proposition": pl.String, "truth": pl.Boolean},
        orient="row",
    )
    questions = read_questions(store)
    by_completion = labels.group_by("completion_id", maintain_order=True).agg(pl.col("proposition").unique().sort())
    return GoldLabels(
        conversations={
            completion_id: [*row["messages"], {"role": "assistant", "content": row["reply"]}]
            for completion_id, row in rows
        },
        labels=labels,
        n_unclosed=sum(row.get("unclosed_thought", False) for _, row in rows),
        n_unopened=sum(row.get("unopened_thought", False) for _, row in rows),
        questions={completion_id: [questions[name] for name in names] for completion_id, names in by_completion.rows()},
    )


def _completion_id(row: Mapping[str, Any]) -> str:
    return content_hash([row["messages"], row["reply"]])
