"""What each edit of data, models, settings or code makes again on the `tiny` profile.

The table is golden/setting_edits.json. After an intended change rewrite it and read its diff:

    UPDATE_GOLDEN=1 python -m pytest -m slow tests/rbr_dagster/test_setting_edits.py
"""

from pathlib import Path

import pytest

from tests.rbr_dagster.edited import Pipeline, open_driver
from tests.rbr_dagster.edits import SETTINGS, assert_golden, planned_and_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("edit", SETTINGS)
def test_an_edit_makes_what_it_can_change(edit: str, pipeline: Pipeline) -> None:
    SETTINGS[edit](pipeline)
    assert_golden("setting_edits", edit, planned_and_run(pipeline))


def next_version_of_the_fit() -> None:
    import assets.reward

    assets.reward.fitted_weights = assets.reward.fitted_weights.map_asset_specs(
        lambda spec: spec.replace_attributes(code_version="next")
    )


def test_another_version_of_a_stage_makes_that_stage_again(settled: Path, tmp_path: Path) -> None:
    with open_driver(tmp_path, next_version_of_the_fit) as driver:
        pipeline = Pipeline(tmp_path, driver)
        pipeline.restore(settled)
        assert_golden("setting_edits", "the version of the fit", planned_and_run(pipeline))
