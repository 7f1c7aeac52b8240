"""The example of docs/testing-assets.md passes, and the helpers do what the page says."""

import re
from pathlib import Path

import pytest

from rbr.errors import InputError
from resources.asset_testing import fake_models, fill_table, save_snapshots
from resources.models import RewardModelInUse
from resources.store import Store
from resources.store.snapshot_content import PinnedModel
from tests.assets.project import ROOT

PAGE = ROOT / "docs" / "testing-assets.md"


def test_the_example_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test(tmp_path)


def test_a_model_that_was_not_given_fails_the_test() -> None:
    reward_model = RewardModelInUse(PinnedModel(ref=None, fingerprint=""))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="fake_models\\(\\) was given no reward_model"):
        fake_models(grader=object()).open_reward_model(reward_model)


def test_a_row_that_does_not_fit_names_the_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table scores: .*completion_id"):
        fill_table(Store(path=str(tmp_path / "rbr.duckdb")), "scores", [{"score": 1.0}])


def test_a_file_that_cannot_be_read_is_an_error_not_a_snapshot(tmp_path: Path) -> None:
    store = Store(path=str(tmp_path / "rbr.duckdb"))
    with pytest.raises(InputError, match="is empty"):
        save_snapshots(store, {"rulebook/behavior": InputError("is empty")})
    assert store.snapshots() == {}
