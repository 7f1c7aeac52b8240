"""The content of a state directory, and the difference between two contents."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets.agreement import PROMPTS_PER_CATEGORY
from assets.grader_attacks import _attacked_replies, _questions
from rbr.agreement.category_agreement import sample_categorized
from rbr.grading import Question, question_hash
from rbr.hashing import content_hash
from rbr.rulebook import ContentPolicy
from rbr_dagster.run.staleness import DATA_VERSION
from resources.models import grader_in_use
from resources.state.state_format import STORE_FILE
from resources.store import Store
from resources.store.snapshot_content import read_data_prompts, read_model, read_questions, read_snapshot
from resources.store.tables import TABLES

CELLS = ("completions", "grades", "scores")


@dataclass(frozen=True)
class RunEffect:
    """The assets, trainings and cells that a run made.

    Attributes:
        assets: Names of the materialized assets, sorted.
        trained: Names of the assets that trained a model.
        cells: Number of new completions, grades and scores.
    """

    assets: list[str]
    trained: list[str]
    cells: Mapping[str, int]


@dataclass(frozen=True)
class StateContent:
    """The content of a state directory.

    Attributes:
        versions: Data version of each asset.
        events: Storage id of the latest materialization of each asset, and whether it trained a model.
        cells: Keys of the stored completions, grades and scores.
    """

    versions: Mapping[str, str]
    events: Mapping[str, tuple[int, bool]]
    cells: Mapping[str, frozenset[tuple[str, ...]]]

    @classmethod
    def of(cls, home: Path) -> "StateContent":
        """Reads the content of a state directory."""
        versions, events = {}, {}
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            for record in instance.get_asset_records(list(instance.all_asset_keys())):
                event = record.asset_entry.last_materialization_record
                materialization = event.asset_materialization if event else None
                if event is None or materialization is None:
                    continue
                name = record.asset_entry.asset_key.to_user_string()
                trained = materialization.metadata.get("trained")
                versions[name] = (materialization.tags or {})[DATA_VERSION]
                events[name] = event.storage_id, trained is not None and trained.value is True
        store = Store(path=str(home / STORE_FILE))
        cells = {table: frozenset(store.read(table).select(TABLES[table].key).iter_rows()) for table in CELLS}
        return cls(versions, events, cells)

    def unneeded(self, before: "StateContent", home: Path) -> set[tuple[str, ...]]:
        """Returns the cells that are newer than `before` and that no table of `home` refers to."""
        needed = _needed(Store(path=str(home / STORE_FILE)))
        return {cell for table in CELLS for cell in self.cells[table] - before.cells[table] - needed[table]}

    def since(self, before: "StateContent") -> RunEffect:
        """Returns the assets, trainings and cells that were made after `before`."""
        assets = sorted(name for name, event in self.events.items() if event != before.events.get(name))
        return RunEffect(
            assets=assets,
            trained=[name for name in assets if self.events[name][1]],
            cells={table: len(keys - before.cells[table]) for table, keys in self.cells.items()},
        )


def _needed(store: Store) -> dict[str, set[tuple[str, ...]]]:
    """Returns the keys of the cells that tables, gold labels and prompts without a category need."""
    candidates = set(store.read("synthetic_comparisons")["completion_id"])
    grader = grader_in_use(store)
    settings = grader.settings
    questions = {name: question_hash(question, settings.few_shot) for name, question in read_questions(store).items()}
    categories = [
        question_hash(Question(code, category.question), settings.few_shot)
        for code, category in read_snapshot(store, ContentPolicy).categories.items()
    ]
    graded = [
        (completion_id, questions[name])
        for table in ("proposition_grades", "evaluation_grades")
        for completion_id, name in store.read(table).select("completion_id", "proposition").iter_rows()
    ]
    gold = [
        (content_hash([row["messages"], row["reply"]]), questions[name])
        for row in store.snapshot("data/gold_labels")
        for name in row["labels"]
        if name in questions
    ]
    prompts = [
        (row["prompt_id"], question)
        for row in store.snapshot("data/prompts")
        for question in categories
        if row["category"] is None
    ]
    sampled = [
        (prompt_id, question)
        for prompt_id in sample_categorized(read_data_prompts(store), PROMPTS_PER_CATEGORY)["prompt_id"]
        for question in categories
    ]
    attacked = [
        (text, question_hash(question, settings.few_shot))
        for text, asked in _attacked_replies(store).questions(_questions(store)).items()
        for question in asked
    ]
    reward_model = read_model(store, "helpful_reward_model").fingerprint
    return {
        "completions": {(cell,) for cell in candidates | set(store.read("evaluation_completions")["completion_id"])},
        "grades": {(*cell, grader.version) for cell in [*graded, *gold, *prompts, *sampled, *attacked]},
        "scores": {(cell, reward_model) for cell in candidates},
    }
