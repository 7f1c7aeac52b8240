"""Grader settings for tests. A test sets only the settings that matter to it."""

from typing import Any

from rbr.profile import GraderSettings


def grader_settings(**changes: Any) -> GraderSettings:
    """Returns settings of an in-process grader that accepts any P(yes) + P(no), with changed settings."""
    settings: dict[str, Any] = {
        "backend": "transformers",
        "few_shot": 0,
        "yes": ("yes", "Yes"),
        "no": ("no", " no"),
        "min_mass": 0.0,
        "batch_size": 8,
        "category_bar": 0.5,
        "base_url": None,
        "model_name": None,
        "max_concurrency": 4,
        "timeout_s": 2.0,
        "retries": 3,
    }
    return GraderSettings(**{**settings, **changes})
