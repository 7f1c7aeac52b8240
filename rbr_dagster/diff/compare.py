"""`rbr diff`: what two rulebooks mean differently, and what the stored grades say about it; runs no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.agreement import read_thresholds
from rbr.changes import describe_changes
from rbr.evaluation.replay import Archive, compared, moved, replay
from rbr.grading import question_hash
from rbr.profile import GraderSettings
from rbr.rulebook import Behavior, Rulebook
from rbr.rulebook.class_changes import ClassChange, class_changes
from resources.cells import grader_version
from resources.store import Store
from resources.stored_inputs import messages_by_prompt, proposition_questions, read_model, read_snapshot

_EXAMPLES = 3


@dataclass(frozen=True)
class MovedReplies:
    """Stored replies that go from one class to another.

    Attributes:
        old: Response type and class under the first rulebook.
        new: The same under the second.
        count: How many.
        examples: Completion id, user turn and reply of a few.
    """

    old: tuple[str, str]
    new: tuple[str, str]
    count: int
    examples: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Replay:
    """Both rulebooks over what is stored.

    Attributes:
        replies: Number of stored replies.
        moved: Those that change their class.
        comparisons: Number of comparisons kept, turned round, gone and new.
        grades_to_make: Number of replies by proposition that the second rulebook asks anew.
    """

    replies: int
    moved: Sequence[MovedReplies]
    comparisons: Mapping[str, int]
    grades_to_make: Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    """What two rulebooks mean differently.

    Attributes:
        changes: Lines in words, by part.
        moves: By response type, which replies change their class, over all replies there could be.
        replay: What that means for the stored ones; None where nothing is stored.
    """

    changes: Mapping[str, Sequence[str]]
    moves: Mapping[str, Sequence[ClassChange]]
    replay: Replay | None


def compare(home: Path, old: Rulebook, new: Rulebook) -> Difference:
    """Compares two rulebooks.

    Args:
        home: State directory, which need not exist.
        old: The first rulebook.
        new: The second.
    """
    moves = _moves(old.behavior, new.behavior)
    changes = {
        part: describe_changes(before, after)
        for part, before, after in [
            ("propositions", _plain(old.propositions), _plain(new.propositions)),
            ("synthesis", _plain(old.synthesis), _plain(new.synthesis)),
            ("behavior", *_without_equal_rules(old.behavior, new.behavior, moves)),
            ("content_policy", _plain(old.content_policy), _plain(new.content_policy)),
        ]
    }
    store = Store(path=str(home / "rbr.duckdb"))
    stored = store.snapshots().keys() >= {"profile/grader", "models/grader", "rulebook/propositions"}
    return Difference(
        changes={part: lines for part, lines in changes.items() if lines},
        moves={kind: found for kind, found in moves.items() if found},
        replay=_replay(store, old, new) if stored else None,
    )


def _moves(old: Behavior, new: Behavior) -> dict[str, list[ClassChange]]:
    both = [kind for kind in old.response_types if kind in new.response_types]
    return {kind: class_changes(old, new, kind) for kind in both}


def _without_equal_rules(
    old: Behavior, new: Behavior, moves: Mapping[str, Sequence[ClassChange]]
) -> tuple[dict[str, object], dict[str, object]]:
    """Both policies, without the class rules that mean the same; what a derived name means shows in the classes."""
    sides = _plain(old), _plain(new)
    for side in sides:
        del side["derived"]
        for kind, found in moves.items():
            if not found:
                del side["response_types"][kind]["classes"]
    return sides


def _plain(part: object) -> dict:
    return part.model_dump(mode="json")


def _replay(store: Store, old: Rulebook, new: Rulebook) -> Replay:
    archive = _archive(store)
    before, after = replay(archive, old), replay(archive, new)
    missing = after.missing.join(before.missing, on=["completion_id", "proposition"], how="anti")
    counts = missing.group_by("proposition").len().sort("proposition")
    return Replay(
        replies=archive.replies.height,
        moved=_grouped(store, moved(before, after)),
        comparisons=compared(before, after),
        grades_to_make=dict(counts.iter_rows()),
    )


def _archive(store: Store) -> Archive:
    settings = read_snapshot(store, GraderSettings)
    grader = grader_version(read_model(store, "grader").fingerprint, settings)
    candidates = store.read("synthetic_comparisons").drop("response_type", "text")
    evaluated = store.read("evaluation_completions")
    named = pl.concat([frame.select("completion_id", "prompt_id") for frame in (candidates, evaluated)])
    categories = store.read("labeled_prompts").select("prompt_id", "category")
    thresholds = read_thresholds(store)
    questions = proposition_questions(store)
    return Archive(
        replies=named.unique("completion_id", maintain_order=True).join(
            categories, on="prompt_id", how="inner", maintain_order="left"
        ),
        candidates=candidates,
        grades=store.read("grades", "grader = ?", [grader]).select("completion_id", "question", "p_yes"),
        few_shot=settings.few_shot,
        thresholds={
            question_hash(questions[name], settings.few_shot): threshold
            for name, threshold in thresholds.items()
            if name in questions
        },
    )


def _grouped(store: Store, replies: pl.DataFrame) -> list[MovedReplies]:
    keys = ["response_type_before", "class_before", "response_type", "class_name"]
    texts = dict(
        store.query(
            "SELECT completion_id, text FROM completions WHERE list_contains(?, completion_id)",
            [replies["completion_id"].to_list()],
        ).iter_rows()
    )
    prompts = messages_by_prompt(store.read("labeled_prompts"))
    groups = []
    for (kind_before, before, kind, now), rows in replies.sort(keys, maintain_order=True).group_by(
        keys, maintain_order=True
    ):
        shown = rows.head(_EXAMPLES).select("completion_id", "prompt_id").iter_rows()
        examples = [(cell, prompts[prompt][-1]["content"], texts[cell]) for cell, prompt in shown]
        groups.append(MovedReplies((kind_before, before), (kind, now), rows.height, examples))
    return sorted(groups, key=lambda group: -group.count)
