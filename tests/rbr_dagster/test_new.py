"""`rbr new proposition` on the command line."""

import shutil
from pathlib import Path

import pytest

from rbr.hashing import directory_digest
from tests.rbr_dagster.edited_pipeline import ROOT, rbr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "rulebook", tmp_path / "rulebook"))


def test_the_steps_are_printed_with_file_and_line(rules: Path, tmp_path: Path) -> None:
    options = ("--response-type", "comply", "--profile", str(ROOT / "profiles/tiny.yaml"), "--rulebook", str(rules))
    output = rbr(tmp_path, "new", "proposition", "polite", *options)
    lines = output.splitlines()
    assert [line for line in lines if line[0].isdigit()] == [
        "1. Question and examples",
        "2. Class rule",
        "3. Features",
        "4. Recipe",
        "5. Gold labels",
    ]
    assert f"     {rules}/propositions.yaml:187  polite" in lines
    assert f"     {ROOT}/profiles/tiny.yaml:5  gold_labels" in lines
    assert lines[-1].endswith(f"rbr lint {rules}")
    assert rbr(tmp_path, "lint", str(rules), expect=2, errors=False).endswith("5 errors, no warnings\n")


def test_a_refusal_ends_with_status_2_and_writes_nothing(rules: Path, tmp_path: Path) -> None:
    before = directory_digest(rules)
    for arguments, message in (
        (("apology",), "the proposition 'apology' exists"),
        (("polite", "--response-type", "complies"), "Did you mean `comply`?"),
        (("polite", "--profile", "nothing"), "the profile does not exist"),
    ):
        output = rbr(tmp_path, "new", "proposition", *arguments, "--rulebook", str(rules), expect=2)
        assert message in output and "Traceback" not in output
    assert directory_digest(rules) == before


def test_a_half_filled_proposition_stops_a_run(rules: Path, tmp_path: Path) -> None:
    rbr(tmp_path, "new", "proposition", "polite", "--rulebook", str(rules))
    output = rbr(tmp_path, "run", "--profile", "tiny", "--rulebook", str(rules), expect=2)
    assert "polite.question: the text is empty" in output
    assert "derived.polite_rule: the expression is empty" in output
