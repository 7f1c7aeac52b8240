"""Progress files, as another process reads them."""

import json
from pathlib import Path

import pytest

from resources.progress import Progress
from resources.progress_file import ProgressFile, clear_progress, read_progress


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(directory=str(tmp_path / "progress"))


def test_a_bar_shows_from_its_start_to_its_end(progress: Progress) -> None:
    with progress.bar("rl_checkpoint/rbr", 10, "steps") as bar:
        (report,) = read_progress(progress.directory)
        assert (report.asset, report.done, report.total, report.unit) == ("rl_checkpoint/rbr", 0, 10, "steps")
        assert report.finished is None
        bar.update(10)
        assert read_progress(progress.directory)[0].done == 10
    (report,) = read_progress(progress.directory)
    assert report.finished is not None
    assert report.finished >= report.started


def test_quick_updates_are_written_rarely_but_the_last_update_always(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = progress.bar("grades", 1000, "grades")
    writes: list[int] = []
    write = ProgressFile._write
    monkeypatch.setattr(ProgressFile, "_write", lambda self: (writes.append(self._progress.done), write(self)))
    for done in range(1, 1001):
        bar.update(done)
    assert len(writes) < 100
    assert read_progress(progress.directory)[0].done == 1000


def test_a_failed_job_is_not_marked_finished(progress: Progress) -> None:
    with pytest.raises(ZeroDivisionError), progress.bar("grades", 3, "grades"):
        raise ZeroDivisionError
    assert read_progress(progress.directory)[0].finished is None


def test_jobs_are_read_in_order_of_their_start_and_can_be_cleared(progress: Progress) -> None:
    assert read_progress(progress.directory) == []
    for asset in ("b", "a"):
        progress.bar(asset, 1, "x")
    for asset, started in (("b", 1.0), ("a", 2.0)):
        path = progress.path(asset)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": started}))
    assert [report.asset for report in read_progress(progress.directory)] == ["b", "a"]
    clear_progress(progress.directory)
    assert list(Path(progress.directory).iterdir()) == []
