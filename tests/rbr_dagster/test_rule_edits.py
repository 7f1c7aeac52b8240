"""What each edit of the rulebook makes again on the `tiny` profile: the exact assets, cells and trainings.

The table is golden/rule_edits.json. After an intended change rewrite it and read its diff:

    UPDATE_GOLDEN=1 python -m pytest -m slow tests/rbr_dagster/test_rule_edits.py
"""

import shutil
from pathlib import Path

import pytest

from rbr.hashing import directory_digest
from tests.rbr_dagster.edited import UP_TO_DATE, Pipeline, rbr
from tests.rbr_dagster.edits import EXAMPLE, MARGIN, RULES, WORDING, assert_golden, planned_and_run
from tests.rbr_dagster.made import Content, Made

pytestmark = pytest.mark.slow

NOTHING = Made([], [], {"completions": 0, "grades": 0, "scores": 0})


@pytest.mark.parametrize("edit", RULES)
def test_an_edit_makes_what_it_can_change(edit: str, pipeline: Pipeline) -> None:
    RULES[edit](pipeline)
    made = planned_and_run(pipeline)
    assert_golden("rule_edits", edit, made)
    # The baselines read no rule.
    assert not {"rl_checkpoint/helpful", "rl_checkpoint/human"} & set(made.assets)


@pytest.mark.parametrize("edit", ["a question's wording", "a class condition that flips an ideal reply"])
def test_the_sensor_s_own_runs_make_the_same(edit: str, pipeline: Pipeline, settled: Path) -> None:
    RULES[edit](pipeline)
    by_driver = pipeline.run()
    content = Content.of(pipeline.home)
    # With the checkpoints left in place this is quick: they are found by the hash of their inputs.
    pipeline.restore(settled, keep=["checkpoints"])
    RULES[edit](pipeline)
    by_sensor = pipeline.sync()
    assert (by_sensor.assets, by_sensor.cells) == (by_driver.assets, by_driver.cells)
    assert Content.of(pipeline.home).versions == content.versions


def test_a_broken_file_stops_the_driver_and_the_sensor_and_costs_nothing(pipeline: Pipeline) -> None:
    behavior = pipeline.root / "rulebook" / "behavior.yaml"
    shutil.copy(behavior, kept := behavior.with_suffix(".kept"))
    assert pipeline.look() == UP_TO_DATE
    behavior.write_text("derived: [")
    before = directory_digest(pipeline.home)
    refused = rbr(pipeline.root, "run", expect=2)
    assert refused.startswith(f"{behavior}:1:")
    assert directory_digest(pipeline.home) == before
    assert str(behavior) in (pipeline.look() or "")
    shutil.copy(kept, behavior)
    assert pipeline.look() == UP_TO_DATE
    assert pipeline.run() == NOTHING


def test_a_plan_leaves_no_trace(pipeline: Pipeline) -> None:
    pipeline.edit(*WORDING)
    before = directory_digest(pipeline.home)
    assert pipeline.plan()["cells_missing"]["grades"] > 0
    assert directory_digest(pipeline.home) == before


def test_an_example_is_content_once_the_grader_reads_examples(pipeline: Pipeline) -> None:
    def stale() -> set[str]:
        return {step["asset"] for step in pipeline.plan()["stale"]}

    pipeline.set("grader", few_shot=2)
    rbr(pipeline.root, "run", "--only", "grader_agreement")
    assert "grader_agreement" not in stale()
    pipeline.edit(*EXAMPLE)
    assert "grader_agreement" in stale()


def test_one_asset_alone_leaves_what_comes_after_it(pipeline: Pipeline) -> None:
    pipeline.edit(*MARGIN)
    dry = rbr(pipeline.root, "run", "--only", "fitted_weights", "--dry-run")
    assert "fitted_weights" in dry
    assert "reward" not in dry
    before = Content.of(pipeline.home)
    rbr(pipeline.root, "run", "--only", "fitted_weights")
    made = Content.of(pipeline.home).since(before)
    assert "fitted_weights" in made.assets
    assert "reward" not in made.assets
    assert {step["asset"] for step in pipeline.plan()["stale"]} >= {"reward"}
