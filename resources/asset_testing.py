"""Functions for unit tests of assets: they fill a store and replace models. docs/testing-assets.md shows a test."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rbr.errors import InputError
from rbr.hashing import content_hash
from resources.models import GraderInUse, Models, PolicyInUse, RewardModelInUse
from resources.store import Store
from resources.store.tables import TABLES


def save_snapshots(store: Store, contents: Mapping[str, Any]) -> None:
    """Stores snapshots, as the snapshot assets do.

    Args:
        store: The store to fill.
        contents: Content by snapshot name, as `resources.sources.read_sources` returns it.

    Raises:
        InputError: `contents` contains an error, because a file cannot be used.
    """
    for name, content in contents.items():
        if isinstance(content, InputError):
            raise content
        store.save_snapshot(name, content, content_hash(content))


def fill_table(store: Store, table: str, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Replaces the content of a table.

    Args:
        store: The store to fill.
        table: Name of the table; docs/tables.md lists the tables and their columns.
        rows: One mapping per row, from column to value. A missing column is null; an unknown column is ignored. A grade
            without an outcome is answered, or unreadable if p_yes is missing. A reply without `finished` is finished,
            and a reply has no thoughts and no special tokens unless the row says so. A checkpoint without `dtype` is
            sampled in float32.

    Returns:
        The rows, with all columns of the table.

    Raises:
        KeyError: The table is unknown.
        InputError: A value is out of range, a column that must not be null is null, or two rows have the same key.
    """
    dtypes = TABLES[table].dtypes
    frame = pl.DataFrame([{name: row.get(name) for name in dtypes} for row in rows], schema=dtypes)
    if {"outcome", "p_yes"} <= dtypes.keys():
        by_grade = pl.when(pl.col("p_yes").is_null()).then(pl.lit("unreadable")).otherwise(pl.lit("answered"))
        frame = frame.with_columns(pl.col("outcome").fill_null(by_grade))
    defaults = {
        "bound": 0.0,
        "finished": True,
        "unclosed_thought": False,
        "unopened_thought": False,
        "special_tokens": 0,
        "dtype": "float32",
    }
    frame = frame.with_columns(pl.col(name).fill_null(value) for name, value in defaults.items() if name in dtypes)
    store.replace(table, frame)
    return frame


def fake_models(*, policy: Any = None, grader: Any = None, reward_model: Any = None) -> Models:
    """Returns a `Models` resource that opens your objects instead of real models.

    If an asset opens a model that you did not pass, an `AssertionError` is raised. A test without any model therefore
    shows that the asset opens none.

    Args:
        policy: Object with the method `sample` of `rbr.models.policy.Policy`.
        grader: Object with the method `grade` of `rbr.grading.Grader`.
        reward_model: Object with the method `score` of `rbr.models.reward_model.RewardModel`.
    """

    class FakeModels(Models):
        def open_policy(self, _: PolicyInUse) -> Any:
            return _not_none(policy, "policy")

        def open_grader(self, _: GraderInUse) -> Any:
            return _not_none(grader, "grader")

        def open_reward_model(self, _: RewardModelInUse) -> Any:
            return _not_none(reward_model, "reward_model")

    return FakeModels()


def _not_none(model: Any, role: str) -> Any:
    assert model is not None, f"the asset opened a {role}, but fake_models() was given no {role}"
    return model
