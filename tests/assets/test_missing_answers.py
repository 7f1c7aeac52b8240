"""What asset pages say of the answers of a grader."""

import polars as pl
import pytest

from assets.missing_answers import answer_counts, answer_masses


@pytest.mark.parametrize(
    ("masses", "shown"),
    [
        pytest.param(
            [0.9, 0.5, None],
            {"smallest P(yes) + P(no)": 0.5, "mean P(yes) + P(no)": pytest.approx(0.7)},
            id="an answer without a probability is left out",
        ),
        pytest.param([None, None, None], {}, id="no probability was seen"),
    ],
)
def test_the_page_of_a_stage_shows_the_mass_beside_the_missing_answers(
    masses: list[float | None], shown: dict[str, float]
) -> None:
    outcomes = ["answered", "unreadable", "refused"]
    grades = pl.DataFrame({"outcome": outcomes, "mass": masses}, schema={"outcome": pl.String, "mass": pl.Float64})
    counts = {"answers": 3, "unreadable answers": 1, "refused answers": 1}
    assert (answer_counts(grades), answer_masses(grades)) == (counts, shown)
