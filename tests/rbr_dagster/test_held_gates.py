"""Each blocking check of the pipeline holds over consecutive runs, however a run is started.

A new blocking check gets a row in `GATES`: how it fails, and an asset below it.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dagster as dg
import pytest

from rbr_dagster.definitions import build_definitions
from rbr_dagster.environment import Environment
from rbr_dagster.run.staleness import AssetGraph
from resources.checkpoints import VARIANTS
from resources.pages.check_results import check_result
from tests.rbr_dagster.edited_pipeline import Pipeline, open_driver, write_inputs
from tests.rbr_dagster.edits import Edit, other_model, replaced, setting

GRAPH = AssetGraph.from_definitions(build_definitions(Environment.from_variables()))


@dataclass(frozen=True)
class Gate:
    """A blocking check, and how a run fails it.

    Attributes:
        asset: Name of the asset.
        check: Name of the check.
        below: Name of an asset below.
        edit: Edits the profile or the rulebook, which makes the asset stale.
        raise_bar: Changes the code in the driver process, so that no content passes; None if the edit is enough.
    """

    asset: str
    check: str
    below: str
    edit: Edit
    raise_bar: Callable[[], None] | None = None

    def __str__(self) -> str:
        return f"{self.asset}-{self.check}"


def no_gap_is_small_enough() -> None:
    """Raises the bar of the check `weights_are_optimal`."""
    import assets.reward_checks

    assets.reward_checks.MAX_GAP = -1.0


def weights_are_turned_around() -> None:
    """Makes the fit return the opposite of its weights, which are against every order and sign."""
    import assets.reward
    from rbr.reward.fit import fit

    def fit_and_turn_around(problem, **settings):
        result = fit(problem, **settings)
        return replace(result, weights=-result.weights)

    assets.reward.fit = fit_and_turn_around


def no_error_rate_is_low_enough() -> None:
    """Raises the bar of the check `reward_error_rate_reaches_bar`."""
    from rbr.rulebook.bars import ErrorRateBar

    ErrorRateBar.bar_of = lambda self, response_type: -1.0


def no_training_has_enough_rewards() -> None:
    """Raises the bar of the check `rollouts_have_a_reward`."""
    import assets.training
    from rbr_dagster.run import waves

    assets.training._reward_check = lambda *_: failed("rollouts_have_a_reward")
    # A forked step would not have this bar.
    waves._FORKED = waves._IN_PROCESS


def no_share_of_prompts_is_small_enough() -> None:
    """Raises the bar of the check `answers_about_categories_are_read`."""
    import assets.prompts
    from rbr_dagster.run import waves

    assets.prompts.missing_answers_check = lambda *_: failed("answers_about_categories_are_read")
    waves._FORKED = waves._IN_PROCESS


def no_share_of_labels_is_small_enough() -> None:
    """Raises the bar of the check `gold_labels_are_graded`."""
    import assets.agreement
    from rbr_dagster.run import waves

    check = assets.agreement._graded_check
    assets.agreement._graded_check = lambda measured, settings: check(
        measured, settings.model_copy(update={"max_unread": -1.0})
    )
    waves._FORKED = waves._IN_PROCESS


def no_share_of_candidates_is_small_enough() -> None:
    """Raises the bar of the check `candidates_have_a_class`."""
    import assets.comparisons
    from rbr_dagster.run import waves

    check = assets.comparisons.check_candidate_classes
    assets.comparisons.check_candidate_classes = lambda candidates, grades, _: check(candidates, grades, -1.0)
    waves._FORKED = waves._IN_PROCESS


def no_share_of_scores_is_small_enough() -> None:
    """Raises the bar of the check `candidates_have_a_score`."""
    import assets.comparisons
    from rbr_dagster.run import waves

    assets.comparisons.check_candidate_scores = lambda *_: failed("candidates_have_a_score")
    waves._FORKED = waves._IN_PROCESS


def no_share_of_replies_is_small_enough() -> None:
    """Raises the bar of the check `replies_have_a_class`."""
    import assets.evaluation

    check = assets.evaluation.check_classes
    assets.evaluation.check_classes = lambda judged, grades, _: check(judged, grades, -1.0)


def failed(check: str) -> dg.AssetCheckResult:
    return check_result(check, passed=False, words="The bar cannot be reached.", blocks=True)


GATES = [
    Gate(
        "prompt_counts",
        "response_types_have_training_prompts",
        below="synthetic_comparisons",
        edit=setting("evaluation", test_fraction=0.95),
    ),
    Gate(
        "prompt_counts",
        "response_types_have_test_prompts",
        below="synthetic_comparisons",
        edit=setting("evaluation", test_fraction=0.0),
    ),
    *(
        Gate(asset, check, below=below, edit=setting("grader", max_unread=0.06), raise_bar=raise_bar)
        for asset, check, below, raise_bar in (
            (
                "labeled_prompts",
                "answers_about_categories_are_read",
                "prompt_counts",
                no_share_of_prompts_is_small_enough,
            ),
            (
                "grader_agreement",
                "gold_labels_are_graded",
                "accepted_propositions",
                no_share_of_labels_is_small_enough,
            ),
            (
                "verified_comparisons",
                "candidates_have_a_class",
                "fitted_weights",
                no_share_of_candidates_is_small_enough,
            ),
        )
    ),
    Gate(
        "reward_model_scores",
        "candidates_have_a_score",
        below="fitted_weights",
        edit=other_model("helpful_reward_model"),
        raise_bar=no_share_of_scores_is_small_enough,
    ),
    Gate(
        "accepted_propositions",
        "unsafe_classes_use_accepted_propositions",
        below="fitted_weights",
        edit=replaced("rulebook/behavior.yaml", "  min_labels: 20\n", "  min_labels: 100000\n"),
    ),
    *(
        Gate("fitted_weights", check, below="reward", edit=setting("fit", bootstrap=6), raise_bar=raise_bar)
        for check, raise_bar in (
            ("weights_are_optimal", no_gap_is_small_enough),
            ("reward_orders_classes_as_ranked", weights_are_turned_around),
            ("weights_have_declared_signs", weights_are_turned_around),
            ("reward_error_rate_reaches_bar", no_error_rate_is_low_enough),
        )
    ),
    *(
        Gate(
            f"rl_checkpoint/{variant}",
            "rollouts_have_a_reward",
            below=f"evaluation_completions/{variant}",
            edit=setting("rl", learning_rate=1.0e-4),
            raise_bar=no_training_has_enough_rewards,
        )
        for variant in VARIANTS
    ),
    Gate(
        "evaluation_metrics",
        "replies_have_a_class",
        below="safety_report",
        edit=setting("evaluation", bootstrap=101),
        raise_bar=no_share_of_replies_is_small_enough,
    ),
]
# Gates below a training need a pipeline that is up to date, which takes minutes to make.
FAST = {"prompt_counts"}


def descendants(asset: str) -> set[str]:
    """Returns the names of all assets below an asset."""
    below = {asset}
    for key, parents in GRAPH.parents.items():
        if below & {parent.to_user_string() for parent in parents}:
            below.add(key.to_user_string())
    return below - {asset}


@pytest.fixture(scope="module")
def pipeline_with_categories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline before its first run, in which every prompt has a category, so that no prompt needs the grader."""
    root = tmp_path_factory.mktemp("gates")
    write_inputs(root)
    path = root / "prompts.jsonl"
    rows = [{"category": "K-R", **json.loads(line)} for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    Environment(root / "home", root / "profiles" / "edited.yaml", root / "rulebook").prepare()
    with open_driver(root) as driver:
        yield Pipeline(root, driver)


@contextmanager
def broken(gate: Gate, pipeline: Pipeline) -> Iterator[Pipeline]:
    """Makes a gate fail in a pipeline, and reverts the edits afterwards."""
    files = [pipeline.root / "profiles" / "edited.yaml", *(pipeline.root / "rulebook").glob("*.yaml")]
    before = {path: path.read_text(encoding="utf-8") for path in files}
    gate.edit(pipeline)
    if gate.raise_bar is None:
        yield pipeline
    else:
        with open_driver(pipeline.root, gate.raise_bar) as driver:
            yield Pipeline(pipeline.root, driver)
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")


def assert_gate_holds(gate: Gate, pipeline: Pipeline) -> None:
    """Checks that nothing below a failed gate is made, by three runs, the plan and the sensor."""
    failure = re.compile(rf"^{gate.asset}: the check {gate.check} (failed|is undecided): .+", re.MULTILINE)
    below = descendants(gate.asset)
    assert gate.below in below
    with broken(gate, pipeline) as failing:
        message, made = failing.failed_run(only=gate.asset)
        assert failure.search(message)
        assert gate.asset in made
        # The runs make the gated asset again before all others, and stop there.
        for only in (gate.below, None):
            message, made = failing.failed_run(only)
            assert failure.search(message)
            assert made == [gate.asset]

        plan = failing.plan()
        (problem,) = [entry for entry in plan["problems"] if entry["check"] == gate.check]
        assert (problem["asset"], problem["stops"]) == (gate.asset, True)
        (reasons,) = [entry["because"] for entry in plan["stale"] if entry["asset"] == gate.asset]
        assert any(reason.startswith(f"its check {gate.check} ") for reason in reasons)
        assert below.isdisjoint(entry["asset"] for entry in plan["stale"])

        requested = failing.run_requested_waves(2)
        assert requested[:2] == [[gate.asset], [gate.asset]]
        assert all(below.isdisjoint(wave) and gate.asset not in wave for wave in requested[2:])

    assert pipeline.failed_run(only=gate.asset)[0] == ""


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.asset in FAST], ids=str)
def test_a_gate_holds_over_three_consecutive_runs(gate: Gate, pipeline_with_categories: Pipeline) -> None:
    assert_gate_holds(gate, pipeline_with_categories)


@pytest.mark.slow
@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.asset not in FAST], ids=str)
def test_a_gate_below_a_model_holds_over_three_consecutive_runs(gate: Gate, pipeline: Pipeline) -> None:
    assert_gate_holds(gate, pipeline)


def test_every_blocking_check_is_tried() -> None:
    checks = {(key.to_user_string(), name) for key, names in GRAPH.blocking_checks.items() for name in names}
    assert {(gate.asset, gate.check) for gate in GATES} == checks
