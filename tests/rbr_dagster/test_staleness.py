"""Staleness on real Dagster instances: what an edit reaches, and no more."""

from dataclasses import dataclass, field

import dagster as dg
import pytest

from rbr_dagster.run.staleness import Graph, Reason, frontier, latest_tags, stale_assets

SOURCE, LENGTH, OTHER, SUM = (dg.AssetKey(name) for name in ("source", "length", "other", "sum"))


@dataclass
class House:
    """A file `text`, its snapshot, two assets that read it, and one that reads these."""

    instance: dg.DagsterInstance
    text: str = "abc"
    code: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def definitions(self) -> dg.Definitions:
        contents = {
            "source": lambda: self.text,
            # Only the length: another text of the same length is equal content.
            "length": lambda: str(len(self.text)),
            "other": lambda: self.text.upper(),
            "sum": lambda: f"{len(self.text)} {self.text.upper()}",
        }
        reads = {"source": [], "length": ["source"], "other": ["source"], "sum": ["length", "other"]}
        return dg.Definitions([self._asset(name, reads[name], contents[name]) for name in contents])

    def _asset(self, name: str, reads: list[str], content) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=reads, code_version=self.code.get(name, "1"))
        def made() -> dg.MaterializeResult:
            self.made.append(name)
            return dg.MaterializeResult(data_version=dg.DataVersion(content()))

        return made

    def stale(self) -> dict[dg.AssetKey, list[Reason]]:
        graph = Graph.of(self.definitions())
        return stale_assets(graph, latest_tags(self.instance, graph.specs), {SOURCE: self.text})

    def make(self, *keys: dg.AssetKey) -> None:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=self.instance, asset_selection=list(keys)).success

    def bring_up_to_date(self) -> list[str]:
        """Waves until nothing is stale; the names that were made, in order."""
        before = len(self.made)
        while wave := frontier(Graph.of(self.definitions()), self.stale()):
            self.make(*wave)
        return self.made[before:]


@pytest.fixture
def house():
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(instance)


def test_at_first_everything_is_stale_and_the_file_is_where_to_begin(house: House) -> None:
    stale = house.stale()
    assert list(stale) == [SOURCE, LENGTH, OTHER, SUM]
    assert {str(reason) for why in stale.values() for reason in why} == {"it was never made"}
    assert frontier(Graph.of(house.definitions()), stale) == [SOURCE]


def test_waves_make_each_asset_once_and_then_rest(house: House) -> None:
    assert sorted(house.bring_up_to_date()) == ["length", "other", "source", "sum"]
    assert house.stale() == {}
    assert house.bring_up_to_date() == []


def test_an_edit_reaches_its_readers_and_says_why(house: House) -> None:
    house.bring_up_to_date()
    house.text = "abcd"
    assert house.stale() == {SOURCE: [Reason("the file says something else than what is stored")]}
    house.make(SOURCE)
    assert house.stale() == {key: [Reason("source has other content now", SOURCE)] for key in (LENGTH, OTHER)}


def test_equal_content_stops_an_edit_there(house: House) -> None:
    house.bring_up_to_date()
    house.text = "xyz"
    assert house.bring_up_to_date() == ["source", "length", "other", "sum"]
    house.text = "XYZ"
    made = house.bring_up_to_date()
    assert sorted(made) == ["length", "other", "source"]


def test_a_new_code_version_makes_that_asset_again(house: House) -> None:
    house.bring_up_to_date()
    house.code["other"] = "2"
    assert house.stale() == {OTHER: [Reason("its code is version 2, it was made by 1")]}
    assert house.bring_up_to_date() == ["other"]


def test_an_edit_that_is_made_by_hand_and_reverted_is_seen(house: House) -> None:
    house.bring_up_to_date()
    house.text = "abcd"
    house.make(SOURCE)
    house.make(LENGTH)
    house.text = "abc"
    assert list(house.stale()) == [SOURCE, OTHER, SUM]
    house.bring_up_to_date()
    assert house.stale() == {}
    versions = latest_tags(house.instance, [LENGTH, SUM])
    assert versions[LENGTH]["dagster/data_version"] == "3"
    assert versions[SUM]["dagster/data_version"] == "3 ABC"


def test_nothing_below_a_stale_asset_is_made_with_it(house: House) -> None:
    house.bring_up_to_date()
    house.code |= {"length": "2", "sum": "2"}
    assert frontier(Graph.of(house.definitions()), house.stale()) == [LENGTH]
