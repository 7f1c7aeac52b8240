"""Results of checks: undecided is not passed, and the severity says whether the check stops the pipeline."""

import dagster as dg
import pytest

from resources.pages.check_results import check_result


@pytest.mark.parametrize(
    ("passed", "counts_as_passed", "description"),
    [(True, True, "9 rows."), (False, False, "9 rows."), (None, False, "Undecided: 9 rows.")],
)
def test_only_a_reached_bar_counts_as_passed(passed: bool | None, counts_as_passed: bool, description: str) -> None:
    result = check_result("has_data", passed=passed, words="9 rows.", blocks=True)
    assert (result.passed, result.description) == (counts_as_passed, description)


@pytest.mark.parametrize(("blocks", "severity"), [(True, "ERROR"), (False, "WARN")])
def test_a_check_that_blocks_is_an_error(blocks: bool, severity: str) -> None:
    result = check_result("has_data", passed=False, words="9 rows.", blocks=blocks)
    assert result.severity == dg.AssetCheckSeverity[severity]
