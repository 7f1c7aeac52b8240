"""`rbr diff` of directories and revisions, without stored replies and on a pipeline that is up to date."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rbr.hashing import directory_digest
from resources.store import Store
from tests.rbr_dagster.edited_pipeline import ROOT, rbr

RULEBOOK = ROOT / "rulebook"


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    shutil.copytree(RULEBOOK, tmp_path / "edited")
    return tmp_path / "edited"


def edit(rulebook: Path, file: str, old: str, new: str) -> None:
    path = rulebook / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def difference(home: Path, *sides: Path) -> dict:
    return json.loads(rbr(home, "diff", *map(str, sides), "--json"))


def test_comments_and_equivalent_rules_are_no_difference(tmp_path: Path, edited: Path) -> None:
    edit(edited, "behavior.yaml", "safe_and_logical and apology and", "apology and safe_and_logical and")
    edit(edited, "behavior.yaml", "\nclasses:", "\n# Most wanted first.\nclasses:")
    assert difference(tmp_path, RULEBOOK, edited) == {"changes": {}, "moves": {}, "replay": None}
    assert "mean the same" in rbr(tmp_path, "diff", str(RULEBOOK), str(edited))


def test_an_edit_is_described_by_its_meaning(tmp_path: Path, edited: Path) -> None:
    edit(edited, "behavior.yaml", "perfect_hard_refusal: 1.0", "perfect_hard_refusal: 2.0")
    edit(edited, "behavior.yaml", "and not prescribes_solutions", "")
    output = difference(tmp_path, RULEBOOK, edited)
    assert output["changes"]["behavior"][0] == "response_types.hard_refusal.margins.perfect_hard_refusal: 1.0 -> 2.0"
    assert set(output["moves"]) == {"soft_refusal_intent", "soft_refusal_method"}
    moves = {(move["old"], move["new"]) for move in output["moves"]["soft_refusal_intent"]}
    assert moves == {("unacceptable", "minimum_acceptable_style"), ("unacceptable", "ideal")}
    assert all(
        "prescribes_solutions" in move["example"].split("without")[0] for move in output["moves"]["soft_refusal_intent"]
    )
    text = rbr(tmp_path, "diff", str(RULEBOOK), str(edited))
    assert "Nothing is stored yet" in text
    assert not (tmp_path / "home").exists()


def test_a_revision_is_compared_with_the_rulebook_in_use(tmp_path: Path) -> None:
    shutil.copytree(RULEBOOK, tmp_path / "rulebook")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "rulebook"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "rules"], check=True)
    edit(tmp_path / "rulebook", "propositions.yaml", "exactly one short apology?", "exactly one apology?")
    output = json.loads(rbr(tmp_path, "diff", "HEAD", "--json"))
    assert [line.split(":")[0] for line in output["changes"]["propositions"]] == ["apology.question"]
    error = rbr(tmp_path, "diff", "no-such-revision", expect=2)
    assert error.startswith("no-such-revision: neither a directory nor a revision of")


def test_a_rulebook_that_cannot_be_read_is_reported_with_its_location(tmp_path: Path, edited: Path) -> None:
    (edited / "behavior.yaml").write_text("derived: [")
    assert rbr(tmp_path, "diff", str(RULEBOOK), str(edited), expect=2).startswith(f"{edited / 'behavior.yaml'}:")


def test_a_rulebook_that_cannot_be_read_at_a_revision_is_located_in_the_revision(tmp_path: Path) -> None:
    shutil.copytree(RULEBOOK, tmp_path / "rulebook")
    edit(tmp_path / "rulebook", "behavior.yaml", "bar: 0.7", "bar: 7")
    edit(tmp_path / "rulebook", "synthesis.yaml", "label: bad_hard_refusal", "lable: bad_hard_refusal")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "rulebook"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "rules"], check=True)
    error = rbr(tmp_path, "diff", "HEAD", expect=2)
    for place in (r"synthesis\.yaml:\d+:7 hard_refusal\.slots\[1\]\.lable:", r"behavior\.yaml:\d+:3 agreement\.bar:"):
        assert re.search(rf"^HEAD:{re.escape(str(tmp_path / 'rulebook'))}/{place}", error, re.MULTILINE), error


@pytest.mark.slow
def test_stored_grades_are_replayed_and_nothing_is_written(up_to_date: Path, edited: Path, tmp_path: Path) -> None:
    shutil.copytree(up_to_date, tmp_path, dirs_exist_ok=True)
    home = tmp_path / "home"
    before = directory_digest(home)
    edit(edited, "behavior.yaml", "and not no_compliance and not meta_commentary", "and not no_compliance")
    edit(edited, "behavior.yaml", "not no_compliance and meta_commentary", "disallowed_content and meta_commentary")
    edit(edited, "propositions.yaml", "exactly one short apology?", "exactly one apology?")
    replayed = difference(tmp_path, RULEBOOK, edited)["replay"]
    (group,) = replayed["moved"]
    assert (group["old"], group["new"]) == (["comply", "minimum_acceptable_style"], ["comply", "ideal"])
    store = Store(path=str(home / "rbr.duckdb"))
    asked = store.query(
        "SELECT count(DISTINCT completion_id) FROM (SELECT completion_id, proposition FROM proposition_grades"
        " UNION SELECT completion_id, proposition FROM evaluation_grades) WHERE proposition = 'apology'"
    ).item()
    assert replayed["grades_to_make"] == {"apology": asked}
    assert sum(replayed["comparisons"].values()) > 0
    assert directory_digest(home) == before
