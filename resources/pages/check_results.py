"""Results of asset checks, in words. The driver prints the words, and `rbr plan` repeats them."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

UNDECIDED = "Undecided: "
"""The description of a check begins with this word if there was too little data to decide. It has not passed then."""


def check_result(
    name: str, *, passed: bool | None, words: str, blocks: bool, metadata: Mapping[str, Any] | None = None
) -> dg.AssetCheckResult:
    """Returns the result of an asset check.

    Args:
        name: Name of the check.
        passed: Whether the bar is reached; None if there is too little data to decide. None counts as not passed.
        words: What was measured, what the bar is, which names are concerned, and what to do.
        blocks: True for a check that stops the pipeline, False for a check that warns.
        metadata: Further metadata for the check's page.

    Example:
        >>> result = check_result("replies_are_logical", passed=None, words="There is no reply.", blocks=False)
        >>> result.passed, result.description
        (False, 'Undecided: There is no reply.')
    """
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed is True,
        severity=dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN,
        description=f"{UNDECIDED}{words}" if passed is None else words,
        metadata=dict(metadata or {}),
    )
