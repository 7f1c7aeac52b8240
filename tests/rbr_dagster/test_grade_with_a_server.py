"""`rbr grade` with a grader behind a server: whose answers a table holds, and what an interruption costs."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from rbr.errors import InputError
from rbr.grading.canary_probes import CONVERSATIONS
from rbr.profile import load_profile
from rbr.rulebook import load_rulebook
from rbr_dagster.grade.grade_view import notes
from rbr_dagster.grade.graded_file import GradedFile, grade_file
from tests.rbr.grading.judge_server import (
    JudgeServer,
    Reply,
    Request,
    SwappingServer,
    answer,
    listing,
    p_yes_of,
    probabilities,
)
from tests.rbr_dagster.edited_pipeline import ROOT

UNNAMED = Reply(200, {"data": [{"id": "grader", "owned_by": "me"}]})
"""A list of models that does not name the weights."""

PROBE_REPLIES = [conversation[-1]["content"] for conversation in CONVERSATIONS]


def is_canary(request: Request) -> bool:
    return any(reply in request.prompt for reply in PROBE_REPLIES)


@dataclass
class Judge:
    """A server that gives the grades of a model, or the opposite grades. It counts the questions about replies."""

    is_opposite: bool = False
    asked: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)
    server: JudgeServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = JudgeServer(self.reply_to, listing("a"))

    def reply_to(self, request: Request) -> Reply:
        if not request.is_probe:
            (self.probed if is_canary(request) else self.asked).append(request.prompt)
        p_yes = p_yes_of(request.prompt)
        return answer(probabilities(1 - p_yes if self.is_opposite else p_yes))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.chdir(ROOT)
    judge = Judge()
    yield judge
    judge.server.kill()


def replies(tmp_path: Path, count: int) -> Path:
    rows = [{"id": f"r{n}", "prompt": "Hi.", "reply": f"reply number {n}"} for n in range(count)]
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def grade(judge: Judge, file: Path, table: Path, max_concurrency: int = 1) -> GradedFile:
    profile = load_profile("profiles/sandbox.yaml")
    settings = judge.server.settings(max_concurrency=max_concurrency, wait_s=3.0)
    changed = profile.model_copy(update={"grader": settings})
    return grade_file(file, table, changed, load_rulebook("rulebook"), ["apology"])


def test_a_server_that_changes_its_model_before_the_first_question_writes_nothing(judge: Judge, tmp_path: Path) -> None:
    judge.server.kill()
    judge.server = SwappingServer(judge.reply_to, n_times=1)
    with pytest.raises(InputError, match="another model than at the start") as caught:
        grade(judge, replies(tmp_path, 3), tmp_path / "t.csv")
    assert "Serve the old model again, or" in str(caught.value)
    assert judge.asked == [] and not (tmp_path / "t.csv").exists()


def test_a_server_that_comes_back_with_another_model_is_asked_nothing_more(judge: Judge, tmp_path: Path) -> None:
    server = judge.server

    def swap(request: Request) -> Reply:
        reply = judge.reply_to(request)
        if len(judge.asked) != 4 or server.models == listing("b"):
            return reply
        server.models = listing("b")

        def restart() -> None:
            server.kill()
            server.start_again()

        threading.Thread(target=restart).start()
        return Reply(503, "loading", delay_s=0.5)

    server.rule = swap
    graded = grade(judge, replies(tmp_path, 30), tmp_path / "t.csv")
    assert graded.stopped is not None and "another model" in str(graded.stopped)
    assert len(set(judge.asked)) == 4
    assert pl.read_csv(tmp_path / "t.csv").height == 3


def test_the_first_call_writes_the_canary_beside_the_table_and_each_call_asks_it_at_its_start_and_its_end(
    judge: Judge, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    grade(judge, replies(tmp_path, 2), table)
    canary = tmp_path / "t.csv.canary.json"
    first = canary.read_text()
    assert len(judge.probed) == 120 and len(json.loads(first)["first"]) == 40
    # With nothing to ask, the canary is not asked either.
    grade(judge, replies(tmp_path, 2), table)
    assert len(judge.probed) == 120
    grade(judge, replies(tmp_path, 3), table)
    assert len(judge.probed) == 200 and canary.read_text() == first


def test_a_table_is_not_continued_by_a_model_that_only_its_answers_give_away(judge: Judge, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    grade(judge, replies(tmp_path, 2), table)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")}
    judge.is_opposite, judge.asked = True, []
    with pytest.raises(InputError, match="the model behind the name 'grader' has changed"):
        grade(judge, replies(tmp_path, 3), table)
    assert judge.asked == []
    assert {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")} == before


def test_a_server_that_comes_back_with_other_weights_under_the_same_list_is_asked_nothing_more(
    judge: Judge, tmp_path: Path
) -> None:
    server = judge.server
    server.models = UNNAMED
    before: dict[str, float] = {}

    def swap(request: Request) -> Reply:
        if len(judge.asked) == 4 and not judge.is_opposite and not request.is_probe:
            judge.is_opposite = True
            threading.Thread(target=restart).start()
            return Reply(503, "loading", delay_s=0.5)
        before.setdefault(request.prompt, p_yes_of(request.prompt))
        return judge.reply_to(request)

    def restart() -> None:
        server.kill()
        time.sleep(0.5)
        server.start_again()

    server.rule = swap
    graded = grade(judge, replies(tmp_path, 30), tmp_path / "t.csv")
    assert graded.stopped is not None
    assert "another model than at the start of the run: its answers to 40 fixed questions moved" in str(graded.stopped)
    stored = pl.read_csv(tmp_path / "t.csv")["p_yes"].to_list()
    assert len(stored) == 4 and all(any(abs(p - old) < 1e-3 for old in before.values()) for p in stored)
    # The old model is back, and the table is completed.
    judge.is_opposite, server.rule = False, judge.reply_to
    assert grade(judge, replies(tmp_path, 30), tmp_path / "t.csv").n_missing == 0


def test_a_model_that_changes_without_a_pause_is_found_at_the_end_and_its_answers_are_not_kept(
    judge: Judge, tmp_path: Path
) -> None:
    judge.server.models = UNNAMED
    table = tmp_path / "t.csv"
    grade(judge, replies(tmp_path, 2), table)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")}

    def swap(request: Request) -> Reply:
        judge.is_opposite = judge.is_opposite or len(judge.asked) >= 8
        return judge.reply_to(request)

    judge.server.rule = swap
    with pytest.raises(InputError, match="the model behind the name 'grader' has changed") as caught:
        grade(judge, replies(tmp_path, 12), table)
    assert "The answers of this run are not kept" in caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")} == before


def test_two_models_behind_one_name_write_no_table(judge: Judge, tmp_path: Path) -> None:
    def either(request: Request) -> Reply:
        judge.is_opposite = request.attempt % 2 == 0
        return judge.reply_to(request)

    judge.server.rule = either
    with pytest.raises(
        InputError, match="the server is not one judge: its answers to 40 fixed questions moved by up to"
    ):
        grade(judge, replies(tmp_path, 3), tmp_path / "t.csv")
    assert judge.asked == [] and list(tmp_path.glob("t.csv*")) == []


def test_the_noise_of_the_server_is_shown(judge: Judge, tmp_path: Path) -> None:
    graded = grade(judge, replies(tmp_path, 2), tmp_path / "t.csv")
    assert graded.canary.startswith("40 of 40 readable, noise 0.0000, moved 0.0000 since ")
    assert f"The fixed questions to the server: {graded.canary}." in list(notes(graded))
    assert grade(judge, replies(tmp_path, 2), tmp_path / "t.csv").canary == ""  # Nothing was asked.


def test_a_table_is_not_continued_if_the_answers_name_another_model(judge: Judge, tmp_path: Path) -> None:
    named = "judge-2026-05-01"

    def rule(request: Request) -> Reply:
        reply = judge.reply_to(request)
        return Reply(200, {**reply.body, "model": named})

    judge.server.rule = rule
    table = tmp_path / "t.csv"
    grade(judge, replies(tmp_path, 2), table)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")}
    named, judge.asked = "judge-2026-11-01", []
    with pytest.raises(InputError, match="answers name 'judge-2026-05-01', and now 'judge-2026-11-01'"):
        grade(judge, replies(tmp_path, 4), table)
    assert judge.asked == []
    assert {path.name: path.read_bytes() for path in tmp_path.glob("t.csv*")} == before


def test_a_canary_file_without_the_name_of_the_model_gets_it(judge: Judge, tmp_path: Path) -> None:
    table, canary = tmp_path / "t.csv", tmp_path / "t.csv.canary.json"
    grade(judge, replies(tmp_path, 2), table)
    assert "answered_by" not in json.loads(canary.read_text())
    judge.server.rule = lambda request: Reply(200, {**judge.reply_to(request).body, "model": "judge-1"})
    grade(judge, replies(tmp_path, 3), table)
    assert json.loads(canary.read_text())["answered_by"] == "judge-1"


def test_the_canary_of_a_link_is_beside_the_table(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "there" / "t.csv")
    grade(judge, replies(tmp_path, 2), link)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["t.csv", "t.csv.canary.json"]


def test_a_canary_file_that_was_edited_is_named(judge: Judge, tmp_path: Path) -> None:
    canary = tmp_path / "t.csv.canary.json"
    canary.write_text('{"grader": "x"}')
    with pytest.raises(InputError, match=r"t\.csv\.canary\.json: the file does not contain the canary's answers"):
        grade(judge, replies(tmp_path, 2), tmp_path / "t.csv")
    assert canary.read_text() == '{"grader": "x"}'


def test_an_interruption_loses_at_most_eight_rounds_of_questions(judge: Judge, tmp_path: Path) -> None:
    once = threading.Lock()

    def interrupt(request: Request) -> Reply:
        reply = judge.reply_to(request)
        if len(judge.asked) >= 20 and once.acquire(blocking=False):
            signal.raise_signal(signal.SIGINT)
        return reply

    judge.server.rule = interrupt
    # The handler of a command. Another test may have left its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            grade(judge, replies(tmp_path, 40), tmp_path / "t.csv", max_concurrency=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pl.read_csv(tmp_path / "t.csv").height == 16
