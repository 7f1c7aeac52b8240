"""`rbr plan` says before a run which checks will fail, without a model."""

import json
from pathlib import Path

import pytest

from rbr_dagster.environment import Environment
from rbr_dagster.plan.plan import Plan, make_plan
from rbr_dagster.plan.plan_view import as_json, as_text
from tests.rbr_dagster.edited_pipeline import write_inputs


def plan_before_the_first_run(root: Path, test_fraction: float, *, every_category_is_given: bool) -> Plan:
    """Plans the profile `tiny`, in which one training prompt has no category, with another test fraction."""
    write_inputs(root)
    if every_category_is_given:
        path = root / "prompts.jsonl"
        rows = [{"category": "K-R", **json.loads(line)} for line in path.read_text(encoding="utf-8").splitlines()]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    profile = root / "profiles" / "edited.yaml"
    profile.write_text(f"{profile.read_text(encoding='utf-8')}\nevaluation:\n  test_fraction: {test_fraction}\n")
    return make_plan(Environment(root / "home", profile, root / "rulebook"))


@pytest.mark.parametrize(
    ("test_fraction", "check"),
    [
        (0.2, None),
        (0.95, "response_types_have_training_prompts"),
        (0.0, "response_types_have_test_prompts"),
    ],
)
@pytest.mark.parametrize("every_category_is_given", [True, False])
def test_too_few_prompts_are_a_problem_before_the_first_run(
    test_fraction: float, check: str | None, every_category_is_given: bool, tmp_path: Path
) -> None:
    plan = plan_before_the_first_run(tmp_path, test_fraction, every_category_is_given=every_category_is_given)
    problems = [(problem.asset, problem.check) for problem in plan.problems]
    assert problems == ([("prompt_counts", check)] if check else [])
    assert json.loads(as_json(plan))["problems"] == [vars(problem) for problem in plan.problems]
    assert as_text(plan).plain.startswith("Problems" if check else "Changed")
    assert not (tmp_path / "home").exists()
    certain = {asset.name for asset in plan.certain}
    assert "prompt_counts" in certain
    assert ("synthetic_comparisons" in certain) == (check is None)
    assert {"rl_checkpoint/helpful", "rl_checkpoint/human"} <= certain, "the baselines need no response type"
    for problem in plan.problems:
        assert (problem.stops, problem.certain) == (True, every_category_is_given)
        verb = "will" if every_category_is_given else "may"
        assert problem.text.startswith(f"its check {check} {verb} fail: comply has ")
        uncounted = " 1 prompt has no category yet and is not counted."
        assert problem.text.endswith(uncounted) != every_category_is_given


def test_a_grader_in_process_has_no_canary_to_pay_for(tmp_path: Path) -> None:
    plan = plan_before_the_first_run(tmp_path, 0.2, every_category_is_given=True)
    assert plan.estimate.grader_calls > 0 and plan.estimate.canary_calls == 0
