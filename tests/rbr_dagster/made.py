"""What a state directory holds, and what came into it since another look."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from rbr.grading import Question, question_hash
from rbr.hashing import content_hash
from rbr.profile import GraderSettings
from rbr.rulebook import ContentPolicy
from rbr_dagster.run.staleness import DATA_VERSION
from resources.cells import grader_version
from resources.store import Store
from resources.store.tables import TABLES
from resources.stored_inputs import proposition_questions, read_model, read_snapshot

CELLS = ("completions", "grades", "scores")


@dataclass(frozen=True)
class Made:
    """What a run made.

    Attributes:
        assets: Names, sorted.
        trained: Those of them whose trainer ran.
        cells: Number of completions, grades and scores.
    """

    assets: list[str]
    trained: list[str]
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Content:
    """What a state directory holds.

    Attributes:
        versions: Data version of each asset.
        events: Latest materialization of each asset, and whether a trainer ran for it.
        cells: Names of the completions, grades and scores that are stored.
    """

    versions: Mapping[str, str]
    events: Mapping[str, tuple[int, bool]]
    cells: Mapping[str, frozenset[tuple[str, ...]]]

    @classmethod
    def of(cls, home: Path) -> "Content":
        """Content of a state directory."""
        versions, events = {}, {}
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            for record in instance.get_asset_records(list(instance.all_asset_keys())):
                event = record.asset_entry.last_materialization_record
                made = event.asset_materialization if event else None
                if event is None or made is None:
                    continue
                name = record.asset_entry.asset_key.to_user_string()
                trained = made.metadata.get("trained")
                versions[name] = (made.tags or {})[DATA_VERSION]
                events[name] = event.storage_id, trained is not None and trained.value is True
        store = Store(path=str(home / "rbr.duckdb"))
        cells = {kind: frozenset(store.read(kind).select(TABLES[kind].key).iter_rows()) for kind in CELLS}
        return cls(versions, events, cells)

    def unneeded(self, before: "Content", home: Path) -> set[tuple[str, ...]]:
        """Cells that are newer than `before` and that no table of `home` refers to."""
        needed = _needed(Store(path=str(home / "rbr.duckdb")))
        return {cell for kind in CELLS for cell in self.cells[kind] - before.cells[kind] - needed[kind]}

    def since(self, before: "Content") -> Made:
        """What was made after `before`."""
        made = sorted(name for name, event in self.events.items() if event != before.events.get(name))
        return Made(
            assets=made,
            trained=[name for name in made if self.events[name][1]],
            cells={kind: len(names - before.cells[kind]) for kind, names in self.cells.items()},
        )


def _needed(store: Store) -> dict[str, set[tuple[str, ...]]]:
    """Names of the cells that the tables, the gold labels and the prompts without a category refer to."""
    candidates = set(store.read("synthetic_comparisons")["completion_id"])
    settings = read_snapshot(store, GraderSettings)
    questions = {name: question_hash(asked, settings.few_shot) for name, asked in proposition_questions(store).items()}
    categories = [
        question_hash(Question(code, category.question), settings.few_shot)
        for code, category in read_snapshot(store, ContentPolicy).categories.items()
    ]
    graded = [
        (cell, questions[name])
        for table in ("proposition_grades", "evaluation_grades")
        for cell, name in store.read(table).select("completion_id", "proposition").iter_rows()
    ]
    gold = [
        (content_hash([row["messages"], row["reply"]]), questions[name])
        for row in store.snapshot("data/gold_labels")
        for name in row["labels"]
        if name in questions
    ]
    prompts = [
        (row["prompt_id"], asked)
        for row in store.snapshot("data/prompts")
        for asked in categories
        if row["category"] is None
    ]
    grader = grader_version(read_model(store, "grader").fingerprint, settings)
    reward_model = read_model(store, "helpful_reward_model").fingerprint
    return {
        "completions": {(cell,) for cell in candidates | set(store.read("evaluation_completions")["completion_id"])},
        "grades": {(*cell, grader) for cell in [*graded, *gold, *prompts]},
        "scores": {(cell, reward_model) for cell in candidates},
    }
