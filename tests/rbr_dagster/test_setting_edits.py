"""The exact assets, cells and trainings that each edit of data, models, settings or code causes on `tiny`.

The golden file is golden/setting_edits.json. After an intended change, rewrite the file and read its diff:

    UPDATE_GOLDEN=1 python -m pytest -m slow tests/rbr_dagster/test_setting_edits.py
"""

from pathlib import Path

import pytest

from tests.rbr_dagster.edited_pipeline import Pipeline, open_driver
from tests.rbr_dagster.edits import SETTINGS, assert_golden, plan_and_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("edit", SETTINGS)
def test_an_edit_makes_only_what_it_can_change(edit: str, pipeline: Pipeline) -> None:
    SETTINGS[edit](pipeline)
    assert_golden("setting_edits", edit, plan_and_run(pipeline))


def raise_code_version_of_fit() -> None:
    import assets.reward

    assets.reward.fitted_weights = assets.reward.fitted_weights.map_asset_specs(
        lambda spec: spec.replace_attributes(code_version="next")
    )


def test_a_new_code_version_makes_the_asset_again(up_to_date: Path, tmp_path: Path) -> None:
    with open_driver(tmp_path, raise_code_version_of_fit) as driver:
        pipeline = Pipeline(tmp_path, driver)
        pipeline.restore(up_to_date)
        assert_golden("setting_edits", "the version of the fit", plan_and_run(pipeline))
