"""Functions that assets share to read stored tables: conversations, questions, thresholds, weights and replies."""

import json
from collections.abc import Mapping

import polars as pl

from rbr.agreement.acceptance import ACCEPTED
from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Question
from rbr.rulebook import ContentPolicy
from resources.store import Store
from resources.store.snapshot_content import read_applicability, read_questions, read_snapshot


def messages_by_prompt(prompts: pl.DataFrame) -> dict[str, Conversation]:
    """Parses the messages of prompts.

    Args:
        prompts: Columns prompt_id and messages (JSON).

    Returns:
        Messages by prompt id.
    """
    return {
        prompt_id: json.loads(messages) for prompt_id, messages in prompts.select("prompt_id", "messages").iter_rows()
    }


def judged_conversations(replies: pl.DataFrame, prompts: Mapping[str, Conversation]) -> dict[str, Conversation]:
    """Builds the conversations that a grader judges: each prompt followed by the reply.

    Args:
        replies: Columns completion_id, prompt_id and text.
        prompts: Messages by prompt id.

    Returns:
        Messages by completion id.
    """
    return {
        completion_id: [*prompts[prompt_id], {"role": "assistant", "content": text}]
        for completion_id, prompt_id, text in replies.select("completion_id", "prompt_id", "text").iter_rows()
    }


def with_response_type(store: Store, prompts: pl.DataFrame) -> pl.DataFrame:
    """Adds the column response_type, which depends on the category of each prompt.

    The prompt tables contain only the category. An edit of the content policy therefore makes an asset stale only if
    the asset calls this function.

    Args:
        store: The store, for the snapshot of the content policy.
        prompts: Column category, and any others.
    """
    categories = read_snapshot(store, ContentPolicy).categories
    response_types = {code: category.response_type for code, category in categories.items()}
    return prompts.with_columns(pl.col("category").replace_strict(response_types).alias("response_type"))


def applicable_questions(store: Store, replies: pl.DataFrame) -> dict[str, list[Question]]:
    """Returns the questions to ask about each reply: the questions that its response type needs.

    Args:
        store: The store, for the snapshots of the questions.
        replies: Columns completion_id and response_type.

    Returns:
        Questions by completion id.
    """
    questions = read_questions(store)
    by_response_type = {
        response_type: [questions[name] for name in names] for response_type, names in read_applicability(store).items()
    }
    return {
        completion_id: by_response_type[response_type]
        for completion_id, response_type in replies.select("completion_id", "response_type").iter_rows()
    }


def read_thresholds(store: Store) -> dict[str, float]:
    """Returns the decision threshold of each proposition: the smallest P(yes) that counts as true."""
    return dict(store.read("accepted_propositions").select("proposition", "threshold").iter_rows())


def read_accepted_propositions(store: Store) -> list[str]:
    """Returns the accepted propositions, sorted. Only these may be features."""
    return store.read("accepted_propositions").filter(pl.col("outcome") == ACCEPTED)["proposition"].to_list()


def read_weights(store: Store) -> dict[str, dict[str, float]]:
    """Returns the fitted weights: response type to feature to weight. Contains only fitted response types."""
    return {
        response_type: dict(rows.select("feature", "weight").iter_rows())
        for (response_type,), rows in store.read("fitted_weights").group_by("response_type", maintain_order=True)
    }


def read_evaluated_replies(store: Store) -> pl.DataFrame:
    """Reads the replies of the current checkpoints.

    Returns:
        The columns of the table evaluation_completions, and the columns messages, category and response_type of the
        prompts. One row per variant and reply.

    Raises:
        InputError: There are no replies, because there are no test prompts.
    """
    prompts = store.read("test_prompts").select("prompt_id", "messages", "category")
    replies = store.read("evaluation_completions")
    if replies.is_empty():
        raise InputError(
            "the evaluation has no test prompts",
            where="evaluation.test_fraction",
            hint="Raise test_fraction, or mark prompts as held_out in the data file.",
        )
    return with_response_type(store, replies.join(prompts, on="prompt_id", how="inner", maintain_order="left"))
