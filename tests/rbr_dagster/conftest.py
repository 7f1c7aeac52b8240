"""State that is costly to make and that several files start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.rbr_dagster.edited import Pipeline, open_driver, rbr, write_inputs


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Root of a pipeline that `rbr run` brought up to date; to be copied, not to be worked in."""
    session = tmp_path_factory.getbasetemp()
    root = (session if worker_id == "master" else session.parent) / "settled"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            root.mkdir()
            write_inputs(root)
            (root / "run.txt").write_text(rbr(root, "run"), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An empty root with a driver of its own."""
    root = tmp_path_factory.mktemp("edited")
    with open_driver(root) as driver:
        yield Pipeline(root, driver)


@pytest.fixture
def pipeline(opened: Pipeline, settled: Path) -> Pipeline:
    """A pipeline that is up to date, to edit."""
    opened.restore(settled)
    return opened
