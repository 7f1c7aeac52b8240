"""The exact assets, cells and trainings that each edit of the rulebook causes on the `tiny` profile.

The golden file is golden/rule_edits.json. After an intended change, rewrite the file and read its diff:

    UPDATE_GOLDEN=1 python -m pytest -m slow tests/rbr_dagster/test_rule_edits.py
"""

import shutil
from pathlib import Path

import pytest

from rbr.hashing import directory_digest
from tests.rbr_dagster.edited_pipeline import UP_TO_DATE, Pipeline, rbr
from tests.rbr_dagster.edits import EXAMPLE, MARGIN, RULES, WORDING, assert_golden, plan_and_run
from tests.rbr_dagster.state_content import RunEffect, StateContent

pytestmark = pytest.mark.slow

NO_EFFECT = RunEffect([], [], {"completions": 0, "grades": 0, "scores": 0})


@pytest.mark.parametrize("edit", RULES)
def test_an_edit_makes_only_what_it_can_change(edit: str, pipeline: Pipeline) -> None:
    RULES[edit](pipeline)
    effect = plan_and_run(pipeline)
    assert_golden("rule_edits", edit, effect)
    # The baselines do not depend on the rules.
    assert not {"rl_checkpoint/helpful", "rl_checkpoint/human"} & set(effect.assets)


@pytest.mark.parametrize("edit", ["a question's wording", "a class condition that flips an ideal reply"])
def test_runs_of_the_sensor_have_the_same_effect(edit: str, pipeline: Pipeline, up_to_date: Path) -> None:
    RULES[edit](pipeline)
    by_driver = pipeline.run()
    content = StateContent.of(pipeline.home)
    # The kept checkpoints save time: the run finds them by the hash of their inputs and does not train.
    pipeline.restore(up_to_date, keep=["checkpoints"])
    RULES[edit](pipeline)
    by_sensor = pipeline.run_by_sensor()
    assert (by_sensor.assets, by_sensor.cells) == (by_driver.assets, by_driver.cells)
    assert StateContent.of(pipeline.home).versions == content.versions


def test_a_broken_file_stops_driver_and_sensor_without_any_change(pipeline: Pipeline) -> None:
    behavior = pipeline.root / "rulebook" / "behavior.yaml"
    shutil.copy(behavior, kept := behavior.with_suffix(".kept"))
    assert pipeline.skip_reason() == UP_TO_DATE
    behavior.write_text("derived: [")
    before = directory_digest(pipeline.home)
    refused = rbr(pipeline.root, "run", expect=2)
    assert refused.startswith(f"{behavior}:1:")
    assert directory_digest(pipeline.home) == before
    assert str(behavior) in (pipeline.skip_reason() or "")
    shutil.copy(kept, behavior)
    assert pipeline.skip_reason() == UP_TO_DATE
    assert pipeline.run() == NO_EFFECT


def test_a_plan_changes_no_file(pipeline: Pipeline) -> None:
    pipeline.edit(*WORDING)
    before = directory_digest(pipeline.home)
    assert pipeline.plan()["cells_missing"]["grades"] > 0
    assert directory_digest(pipeline.home) == before


def test_an_edit_of_an_example_matters_if_the_grader_uses_examples(pipeline: Pipeline) -> None:
    def stale() -> set[str]:
        return {step["asset"] for step in pipeline.plan()["stale"]}

    pipeline.set("grader", few_shot=2)
    rbr(pipeline.root, "run", "--only", "grader_agreement")
    assert "grader_agreement" not in stale()
    pipeline.edit(*EXAMPLE)
    assert "grader_agreement" in stale()


def test_run_only_leaves_the_descendants_stale(pipeline: Pipeline) -> None:
    pipeline.edit(*MARGIN)
    dry = rbr(pipeline.root, "run", "--only", "fitted_weights", "--dry-run")
    assert "fitted_weights" in dry
    assert "reward" not in dry
    before = StateContent.of(pipeline.home)
    rbr(pipeline.root, "run", "--only", "fitted_weights")
    effect = StateContent.of(pipeline.home).since(before)
    assert "fitted_weights" in effect.assets
    assert "reward" not in effect.assets
    assert {step["asset"] for step in pipeline.plan()["stale"]} >= {"reward"}
