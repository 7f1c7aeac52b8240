"""A blocking check that failed is a gate: nothing below its asset is made, in any later run, until it passes."""

from dataclasses import dataclass

import dagster as dg
import pytest

from rbr_dagster.run.gates import describe_failure, unpassed_checks
from rbr_dagster.run.staleness import AssetGraph, latest_tags, next_wave, ready_assets, stale_assets
from resources.pages.check_results import check_result

GATED, BELOW, BESIDE = (dg.AssetKey(name) for name in ("gated", "below", "beside"))
FAILED = "its check has_data failed: Found 1 row, the bar is 5."
NOT_EVALUATED = "its check has_data is undecided: It was not evaluated for the latest content of the asset."


@dataclass
class GatedPipeline:
    """An asset with a blocking check, an asset below it, and an asset beside it."""

    instance: dg.DagsterInstance
    passed: bool | None = True
    severity_is_error: bool = True
    is_blocking: bool = True
    has_check: bool = True
    crashes: bool = False
    version: str = "same"

    def definitions(self) -> dg.Definitions:
        check = dg.AssetCheckSpec("has_data", asset="gated", blocking=self.is_blocking)

        @dg.asset(code_version="1", check_specs=[check] if self.has_check else [])
        def gated() -> dg.MaterializeResult:
            if self.crashes:
                raise RuntimeError("no luck")
            result = check_result(
                "has_data", passed=self.passed, words="Found 1 row, the bar is 5.", blocks=self.severity_is_error
            )
            return dg.MaterializeResult(
                data_version=dg.DataVersion(self.version), check_results=[result] if self.has_check else None
            )

        @dg.asset(code_version="1", deps=[gated])
        def below() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion("same"))

        @dg.asset(code_version="1")
        def beside() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion("same"))

        return dg.Definitions([gated, below, beside])

    def reasons(self) -> dict[str, list[str]]:
        """Returns why each asset is stale, in words."""
        graph = AssetGraph.from_definitions(self.definitions())
        unpassed = unpassed_checks(self.instance, graph)
        stale = stale_assets(graph, latest_tags(self.instance, graph.specs), {}, unpassed)
        return {key.to_user_string(): [str(reason) for reason in reasons] for key, reasons in stale.items()}

    def run_wave(self) -> list[str]:
        """Runs the next wave as the driver does. Returns its assets."""
        graph = AssetGraph.from_definitions(self.definitions())
        unpassed = unpassed_checks(self.instance, graph)
        stale = stale_assets(graph, latest_tags(self.instance, graph.specs), {}, unpassed)
        wave = next_wave(ready_assets(graph, stale), unpassed)
        if wave:
            self.make(*wave)
        return sorted(key.to_user_string() for key in wave)

    def make(self, *keys: dg.AssetKey) -> None:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=self.instance, asset_selection=list(keys), raise_on_error=False)


@pytest.fixture
def pipeline():
    with dg.DagsterInstance.ephemeral() as instance:
        yield GatedPipeline(instance)


def test_an_asset_that_passed_its_check_is_up_to_date(pipeline: GatedPipeline) -> None:
    assert [pipeline.run_wave() for _ in range(3)] == [["beside", "gated"], ["below"], []]
    assert pipeline.reasons() == {}


@pytest.mark.parametrize(("passed", "outcome"), [(False, "failed"), (None, "is undecided")])
def test_a_failed_check_holds_in_every_later_run_and_an_undecided_one_too(
    passed: bool | None, outcome: str, pipeline: GatedPipeline
) -> None:
    pipeline.passed = passed
    assert [pipeline.run_wave() for _ in range(4)] == [["beside", "gated"], ["gated"], ["gated"], ["gated"]]
    assert pipeline.reasons() == {
        "gated": [f"its check has_data {outcome}: Found 1 row, the bar is 5."],
        "below": ["not made yet"],
    }


def test_a_later_materialization_that_passes_lifts_the_gate(pipeline: GatedPipeline) -> None:
    pipeline.passed = False
    pipeline.run_wave()
    pipeline.passed = True
    assert [pipeline.run_wave() for _ in range(3)] == [["gated"], ["below"], []]


def test_an_asset_that_passed_before_is_a_gate_after_its_check_fails(pipeline: GatedPipeline) -> None:
    pipeline.run_wave()
    pipeline.run_wave()
    pipeline.passed, pipeline.version = False, "other"
    pipeline.make(GATED)
    assert pipeline.reasons() == {"gated": [FAILED], "below": ["gated changed"]}
    assert [pipeline.run_wave() for _ in range(2)] == [["gated"], ["gated"]]


def test_a_check_that_only_warns_is_no_gate(pipeline: GatedPipeline) -> None:
    pipeline.passed, pipeline.severity_is_error = False, False
    pipeline.run_wave()
    assert pipeline.reasons() == {"below": ["not made yet"]}


def test_a_check_that_does_not_block_is_no_gate(pipeline: GatedPipeline) -> None:
    pipeline.passed, pipeline.is_blocking = False, False
    pipeline.run_wave()
    assert pipeline.reasons() == {"below": ["not made yet"]}


def test_a_check_that_was_added_later_is_undecided(pipeline: GatedPipeline) -> None:
    pipeline.has_check = False
    assert [pipeline.run_wave() for _ in range(3)] == [["beside", "gated"], ["below"], []]
    pipeline.has_check = True
    assert pipeline.reasons() == {"gated": [NOT_EVALUATED]}
    assert [pipeline.run_wave() for _ in range(2)] == [["gated"], []]


def test_content_that_was_stored_without_an_evaluation_is_undecided(pipeline: GatedPipeline) -> None:
    pipeline.run_wave()
    # A run that is killed between the two events leaves this behind.
    pipeline.instance.report_runless_asset_event(
        dg.AssetMaterialization(GATED, tags={"dagster/data_version": "same", "dagster/code_version": "1"})
    )
    assert pipeline.reasons()["gated"] == [NOT_EVALUATED]


def test_a_run_that_ended_before_the_asset_was_stored_changes_no_result(pipeline: GatedPipeline) -> None:
    pipeline.run_wave()
    pipeline.crashes = True
    pipeline.make(GATED)
    assert "gated" not in pipeline.reasons()
    pipeline.passed, pipeline.crashes = False, False
    pipeline.make(GATED)
    pipeline.crashes = True
    pipeline.make(GATED)
    assert pipeline.reasons()["gated"] == [FAILED]


def test_all_checks_are_read_with_one_query(pipeline: GatedPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.run_wave()
    storage, queries = pipeline.instance.event_log_storage, []
    read = storage.get_latest_asset_check_execution_by_key
    monkeypatch.setattr(storage, "get_latest_asset_check_execution_by_key", lambda *a: queries.append(a) or read(*a))
    monkeypatch.setattr(storage, "get_asset_check_execution_history", lambda *a, **k: queries.append(a) or [])
    unpassed_checks(pipeline.instance, AssetGraph.from_definitions(pipeline.definitions()))
    assert len(queries) == 1


def test_the_graph_of_one_asset_keeps_only_the_checks_above_it(pipeline: GatedPipeline) -> None:
    graph = AssetGraph.from_definitions(pipeline.definitions())
    assert graph.only_upstream_of("below").blocking_checks == {GATED: ("has_data",)}
    assert graph.only_upstream_of("beside").blocking_checks == {}


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("The gap is 0.1.", "check has_data failed: The gap is 0.1."),
        ("Undecided: There is no row.", "check has_data is undecided: There is no row."),
        (None, "check has_data failed"),
    ],
)
def test_a_failure_is_told_in_the_words_of_the_check(description: str | None, words: str) -> None:
    assert describe_failure("has_data", description) == words
