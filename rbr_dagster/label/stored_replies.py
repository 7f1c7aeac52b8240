"""Reads the replies that the pipeline has sampled, with what is known about them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from rbr.classes.classification import most_probable_classes
from rbr.classes.features import recentered
from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Question
from rbr.rulebook import Rulebook, propositions_needed
from rbr_dagster.label.selection import Candidate
from resources.cells import read_grades
from resources.models import grader_in_use
from resources.store import Store
from resources.store.table_content import messages_by_prompt, read_thresholds

UNKNOWN_CLASS = "class not known"


@dataclass(frozen=True)
class StoredReply:
    """A stored reply.

    Attributes:
        completion_id: Id of the reply.
        prompt_id: Id of its prompt.
        messages: Messages of the prompt.
        text: The reply.
        category: Category of the prompt; None if the prompt has none.
    """

    completion_id: str
    prompt_id: str
    messages: Conversation
    text: str
    category: str | None


def read_stored_replies(store: Store) -> dict[str, StoredReply]:
    """Reads all sampled replies whose prompt is in the data file, by id. A prompt has the turns that the models read.

    Raises:
        InputError: Nothing was sampled yet.
    """
    completions = store.read("completions").select("completion_id", "prompt_id", "text")
    if completions.is_empty():
        hint = "`rbr run --only proposition_grades` samples replies and grades them."
        raise InputError("there are no replies to label yet", where=store.path, hint=hint)
    # Not the data file: `prompt_check.on_refused_turns` may fold turns, and a folded prompt has another id.
    messages = messages_by_prompt(store.read("checked_prompts"))
    categories = dict(store.read("labeled_prompts").select("prompt_id", "category").iter_rows())
    return {
        completion_id: StoredReply(completion_id, prompt, messages[prompt], text, categories.get(prompt))
        for completion_id, prompt, text in completions.iter_rows()
        if prompt in messages
    }


def read_reply_grades(store: Store, replies: Mapping[str, StoredReply], rulebook: Rulebook) -> pl.DataFrame:
    """Reads the grades of replies that the grader in use has given; asks nothing.

    Returns:
        Columns completion_id, proposition and p_yes (null if there is no grade), for every proposition that the
        response type of the reply needs.
    """
    questions = {name: Question(name, entry.question, entry.examples) for name, entry in rulebook.propositions.items()}
    needed = {
        name: [questions[proposition] for proposition in propositions_needed(rulebook.behavior, name)]
        for name in rulebook.behavior.response_types
    }
    asked = {reply.completion_id: needed[response_type_of(reply, rulebook)] for reply in replies.values()}
    return read_grades(store, asked, grader_in_use(store)).select("completion_id", "proposition", "p_yes")


def response_type_of(reply: StoredReply, rulebook: Rulebook) -> str:
    """Returns the response type of a reply with a category of the content policy."""
    return rulebook.content_policy.response_type(reply.category or "")


def candidates_by_class(
    store: Store, replies: Mapping[str, StoredReply], grades: pl.DataFrame, rulebook: Rulebook
) -> list[Candidate]:
    """Returns one candidate per reply. Its stratum is the response type and the most probable class."""
    thresholds = read_thresholds(store)
    frame = pl.DataFrame(
        [(reply.completion_id, response_type_of(reply, rulebook)) for reply in replies.values()],
        schema={"completion_id": pl.String, "response_type": pl.String},
        orient="row",
    )
    classes = most_probable_classes(frame, grades, rulebook.behavior, thresholds)
    certainty = _certainty(grades, thresholds)
    return [
        Candidate(name, replies[name].prompt_id, f"{response_type}: {class_name or UNKNOWN_CLASS}", certainty.get(name))
        for name, response_type, class_name in classes.select(
            "completion_id", "response_type", "class_name"
        ).iter_rows()
    ]


def candidates_by_answer(
    store: Store, replies: Mapping[str, StoredReply], grades: pl.DataFrame, proposition: str
) -> list[Candidate]:
    """Returns one candidate per reply that needs the proposition. Its stratum is the answer, yes or no."""
    thresholds = read_thresholds(store)
    rows = grades.filter(proposition=proposition)
    certainty = _certainty(rows, thresholds)
    threshold = thresholds.get(proposition, 0.5)
    return [
        Candidate(name, replies[name].prompt_id, f"{proposition}: {_answer(p_yes, threshold)}", certainty.get(name))
        for name, p_yes in rows.select("completion_id", "p_yes").iter_rows()
    ]


def _answer(p_yes: float | None, threshold: float) -> str:
    if p_yes is None:
        return "no grade"
    return "yes" if p_yes >= threshold else "no"


def _certainty(grades: pl.DataFrame, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Returns how far the closest grade of each reply is from its threshold; replies without a grade are left out."""
    closest: dict[str, float] = {}
    for (name,), group in grades.drop_nulls("p_yes").group_by("proposition", maintain_order=True):
        distances = np.abs(recentered(group["p_yes"].to_numpy(), thresholds.get(str(name), 0.5)) - 0.5)
        for completion_id, distance in zip(group["completion_id"], distances.tolist(), strict=True):
            closest[completion_id] = min(distance, closest.get(completion_id, 0.5))
    return closest
