"""Staleness on real Dagster instances: an edit makes its descendants stale, and no other asset."""

from dataclasses import dataclass, field

import dagster as dg
import pytest

from rbr_dagster.run.staleness import AssetGraph, StaleReason, latest_tags, ready_assets, stale_assets

SOURCE, LENGTH, OTHER, SUM = (dg.AssetKey(name) for name in ("source", "length", "other", "sum"))


@dataclass
class SmallPipeline:
    """A file `text`, a snapshot of the file, two assets that read the snapshot, and an asset that reads both."""

    instance: dg.DagsterInstance
    text: str = "abc"
    code: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def definitions(self) -> dg.Definitions:
        contents = {
            "source": lambda: self.text,
            # Another text of the same length gives equal content.
            "length": lambda: str(len(self.text)),
            "other": lambda: self.text.upper(),
            "sum": lambda: f"{len(self.text)} {self.text.upper()}",
        }
        reads = {"source": [], "length": ["source"], "other": ["source"], "sum": ["length", "other"]}
        return dg.Definitions([self._asset(name, reads[name], contents[name]) for name in contents])

    def _asset(self, name: str, reads: list[str], content) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=reads, code_version=self.code.get(name, "1"))
        def materialize() -> dg.MaterializeResult:
            self.made.append(name)
            return dg.MaterializeResult(data_version=dg.DataVersion(content()))

        return materialize

    def stale(self) -> dict[dg.AssetKey, list[StaleReason]]:
        graph = AssetGraph.from_definitions(self.definitions())
        return stale_assets(graph, latest_tags(self.instance, graph.specs), {SOURCE: self.text}, unpassed={})

    def make(self, *keys: dg.AssetKey) -> None:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=self.instance, asset_selection=list(keys)).success

    def bring_up_to_date(self) -> list[str]:
        """Runs waves until no asset is stale. Returns the names of the assets made, in order."""
        before = len(self.made)
        while wave := ready_assets(AssetGraph.from_definitions(self.definitions()), self.stale()):
            self.make(*wave)
        return self.made[before:]


@pytest.fixture
def pipeline():
    with dg.DagsterInstance.ephemeral() as instance:
        yield SmallPipeline(instance)


def test_before_the_first_run_every_asset_is_stale_and_the_snapshot_is_ready(pipeline: SmallPipeline) -> None:
    stale = pipeline.stale()
    assert list(stale) == [SOURCE, LENGTH, OTHER, SUM]
    assert {str(reason) for why in stale.values() for reason in why} == {"not made yet"}
    assert ready_assets(AssetGraph.from_definitions(pipeline.definitions()), stale) == [SOURCE]


def test_waves_make_each_asset_once_and_then_stop(pipeline: SmallPipeline) -> None:
    assert sorted(pipeline.bring_up_to_date()) == ["length", "other", "source", "sum"]
    assert pipeline.stale() == {}
    assert pipeline.bring_up_to_date() == []


def test_an_edit_makes_its_readers_stale_with_a_reason(pipeline: SmallPipeline) -> None:
    pipeline.bring_up_to_date()
    pipeline.text = "abcd"
    assert pipeline.stale() == {SOURCE: [StaleReason("its file changed")]}
    pipeline.make(SOURCE)
    assert pipeline.stale() == {key: [StaleReason("source changed", SOURCE)] for key in (LENGTH, OTHER)}


def test_equal_content_stops_the_effect_of_an_edit(pipeline: SmallPipeline) -> None:
    pipeline.bring_up_to_date()
    pipeline.text = "xyz"
    assert pipeline.bring_up_to_date() == ["source", "length", "other", "sum"]
    pipeline.text = "XYZ"
    made = pipeline.bring_up_to_date()
    assert sorted(made) == ["length", "other", "source"]


def test_a_new_code_version_makes_that_asset_again(pipeline: SmallPipeline) -> None:
    pipeline.bring_up_to_date()
    pipeline.code["other"] = "2"
    assert pipeline.stale() == {OTHER: [StaleReason("its code version changed: 1 -> 2")]}
    assert pipeline.bring_up_to_date() == ["other"]


def test_an_edit_that_was_materialized_by_hand_and_reverted_is_detected(pipeline: SmallPipeline) -> None:
    pipeline.bring_up_to_date()
    pipeline.text = "abcd"
    pipeline.make(SOURCE)
    pipeline.make(LENGTH)
    pipeline.text = "abc"
    assert list(pipeline.stale()) == [SOURCE, OTHER, SUM]
    pipeline.bring_up_to_date()
    assert pipeline.stale() == {}
    versions = latest_tags(pipeline.instance, [LENGTH, SUM])
    assert versions[LENGTH]["dagster/data_version"] == "3"
    assert versions[SUM]["dagster/data_version"] == "3 ABC"


def test_no_descendant_of_a_stale_asset_is_ready(pipeline: SmallPipeline) -> None:
    pipeline.bring_up_to_date()
    pipeline.code |= {"length": "2", "sum": "2"}
    assert ready_assets(AssetGraph.from_definitions(pipeline.definitions()), pipeline.stale()) == [LENGTH]
