"""`rbr diff`: compares two rulebooks by their meaning, and by the classes of the stored replies. Runs no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import BaseModel

from rbr.changes import describe_changes
from rbr.evaluation.replay import ReplayInput, classified_replies, count_pair_changes, reclassified_replies, replay
from rbr.grading import question_hash
from rbr.rulebook import Behavior, Rulebook
from rbr.rulebook.class_changes import ClassChange, class_changes
from resources.models import grader_in_use
from resources.store import Store
from resources.store.snapshot_content import read_questions
from resources.store.table_content import messages_by_prompt, read_thresholds

_EXAMPLES_PER_GROUP = 3
# The stored grades cannot be read without these snapshots.
_NEEDED_SNAPSHOTS = {"profile/grader", "models/grader", "rulebook/propositions"}


@dataclass(frozen=True)
class MovedReplies:
    """Stored replies whose class changes in the same way.

    Attributes:
        old: Response type and class by the old rulebook.
        new: Response type and class by the new rulebook.
        count: Number of replies.
        examples: Completion id, last user turn and text of up to three replies.
    """

    old: tuple[str, str]
    new: tuple[str, str]
    count: int
    examples: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class ReplayDiff:
    """The difference between two rulebooks on the stored replies and grades.

    Attributes:
        replies: Number of stored replies.
        without_class: Number of replies that one of the rulebooks gives no class, for example because a grade is
            missing or an answer could not be read. Whether their class changes is not known.
        moved: Replies that change class.
        comparisons: Number of comparisons that are ``kept``, ``turned``, ``gone`` and ``new``.
        grades_to_make: Number of missing grades, by proposition. A grade is missing if the new rulebook needs it, the
            old rulebook does not, and no grade is stored.
    """

    replies: int
    without_class: int
    moved: Sequence[MovedReplies]
    comparisons: Mapping[str, int]
    grades_to_make: Mapping[str, int]


@dataclass(frozen=True)
class RulebookDiff:
    """The difference between two rulebooks.

    Attributes:
        changes: Changes in words, by part of the rulebook; only parts that changed.
        moves: Class changes over all possible replies, by response type; only response types with changes.
        replay: Changes of the stored replies; None if no grades are stored.
    """

    changes: Mapping[str, Sequence[str]]
    moves: Mapping[str, Sequence[ClassChange]]
    replay: ReplayDiff | None


def diff_rulebooks(store: Store, old: Rulebook, new: Rulebook) -> RulebookDiff:
    """Compares two rulebooks.

    Args:
        store: Stored replies and grades. The store may be empty.
        old: The old rulebook.
        new: The new rulebook.
    """
    moves = _class_changes(old.behavior, new.behavior)
    changes = {
        part: describe_changes(before, after)
        for part, before, after in [
            ("propositions", _as_dict(old.propositions), _as_dict(new.propositions)),
            ("synthesis", _as_dict(old.synthesis), _as_dict(new.synthesis)),
            ("behavior", *_without_equal_rules(old.behavior, new.behavior, moves)),
            ("content_policy", _as_dict(old.content_policy), _as_dict(new.content_policy)),
        ]
    }
    return RulebookDiff(
        changes={part: lines for part, lines in changes.items() if lines},
        moves={response_type: class_moves for response_type, class_moves in moves.items() if class_moves},
        replay=_diff_replays(store, old, new) if store.snapshots().keys() >= _NEEDED_SNAPSHOTS else None,
    )


def _class_changes(old: Behavior, new: Behavior) -> dict[str, list[ClassChange]]:
    shared = [name for name in old.response_types if name in new.response_types]
    return {response_type: class_changes(old, new, response_type) for response_type in shared}


def _without_equal_rules(
    old: Behavior, new: Behavior, moves: Mapping[str, Sequence[ClassChange]]
) -> tuple[dict[str, object], dict[str, object]]:
    """Returns both behavior policies without the class rules that mean the same in both.

    Derived propositions are left out, because every change of their meaning shows in the class changes.
    """
    policies = _as_dict(old), _as_dict(new)
    for policy in policies:
        del policy["derived"]
        for response_type, class_moves in moves.items():
            if not class_moves:
                del policy["response_types"][response_type]["classes"]
    return policies


def _as_dict(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(mode="json")


def _diff_replays(store: Store, old: Rulebook, new: Rulebook) -> ReplayDiff:
    stored = _replay_input(store)
    before, after = replay(stored, old), replay(stored, new)
    missing = after.missing.join(before.missing, on=["completion_id", "proposition"], how="anti")
    counts = missing.group_by("proposition").len().sort("proposition")
    return ReplayDiff(
        replies=stored.replies.height,
        without_class=stored.replies.height - classified_replies(before, after).height,
        moved=_group_moved_replies(store, reclassified_replies(before, after)),
        comparisons=count_pair_changes(before, after),
        grades_to_make=dict(counts.iter_rows()),
    )


def _replay_input(store: Store) -> ReplayInput:
    """Reads the stored replies, grades and thresholds."""
    grader = grader_in_use(store)
    candidates = store.read("synthetic_comparisons").drop("response_type", "text")
    evaluated = store.read("evaluation_completions")
    replies = pl.concat([frame.select("completion_id", "prompt_id") for frame in (candidates, evaluated)])
    categories = store.read("labeled_prompts").select("prompt_id", "category")
    thresholds = read_thresholds(store)
    questions = read_questions(store)
    return ReplayInput(
        replies=replies.unique("completion_id", maintain_order=True).join(
            categories, on="prompt_id", how="inner", maintain_order="left"
        ),
        candidates=candidates,
        grades=store.read("grades", "grader = ?", [grader.version]).select("completion_id", "question", "p_yes"),
        few_shot=grader.settings.few_shot,
        thresholds={
            question_hash(questions[name], grader.settings.few_shot): threshold
            for name, threshold in thresholds.items()
            if name in questions
        },
    )


def _group_moved_replies(store: Store, replies: pl.DataFrame) -> list[MovedReplies]:
    """Groups replies by old and new class, the largest group first."""
    keys = ["response_type_before", "class_before", "response_type", "class_name"]
    texts = dict(
        store.query(
            "SELECT completion_id, text FROM completions WHERE list_contains(?, completion_id)",
            [replies["completion_id"].to_list()],
        ).iter_rows()
    )
    prompts = messages_by_prompt(store.read("labeled_prompts"))
    groups = []
    for classes, rows in replies.sort(keys, maintain_order=True).group_by(keys, maintain_order=True):
        old_response_type, old_class, new_response_type, new_class = classes
        examples = [
            (completion_id, prompts[prompt_id][-1]["content"], texts[completion_id])
            for completion_id, prompt_id in rows.head(_EXAMPLES_PER_GROUP)
            .select("completion_id", "prompt_id")
            .iter_rows()
        ]
        old, new = (old_response_type, old_class), (new_response_type, new_class)
        groups.append(MovedReplies(old, new, rows.height, examples))
    return sorted(groups, key=lambda group: -group.count)
