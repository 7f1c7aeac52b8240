"""Fixtures: a pipeline that is up to date. It takes long to make, so several test files share it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.rbr_dagster.edited_pipeline import Pipeline, open_driver, rbr, write_inputs


@pytest.fixture(scope="session")
def up_to_date(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a pipeline that `rbr run` brought up to date. Tests may copy the root, but must not change it."""
    session = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist share one pipeline.
    root = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "up_to_date"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            root.mkdir()
            write_inputs(root)
            (root / "run.txt").write_text(rbr(root, "run"), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def pipeline_with_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline with an empty root and its own driver process."""
    root = tmp_path_factory.mktemp("pipeline")
    with open_driver(root) as driver:
        yield Pipeline(root, driver)


@pytest.fixture
def pipeline(pipeline_with_driver: Pipeline, up_to_date: Path) -> Pipeline:
    """A pipeline that is up to date and that the test may edit."""
    pipeline_with_driver.restore(up_to_date)
    return pipeline_with_driver
