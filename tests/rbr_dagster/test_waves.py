"""What `rbr run` prints after a wave."""

import dagster as dg

from rbr_dagster.run.waves import _warnings
from resources.pages.asset_pages import WARNING


def test_the_warning_on_the_page_of_an_asset_is_a_warning_of_its_wave() -> None:
    @dg.asset(key=["grades", "of_a_server"])
    def warned() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={WARNING: "The server may ignore the name."})

    @dg.asset
    def silent() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"answers": 3})

    result = dg.materialize([warned, silent])
    assert _warnings(result.all_events) == ["grades/of_a_server: The server may ignore the name."]
