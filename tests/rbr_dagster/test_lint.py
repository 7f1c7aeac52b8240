"""`rbr lint` on the command line."""

import json
import shutil
from pathlib import Path

import pytest

from tests.rbr_dagster.edited_pipeline import ROOT, rbr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "rulebook", tmp_path / "rulebook"))


def edit(rules: Path, old: str, new: str) -> None:
    path = rules / "behavior.yaml"
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_clean_rulebook_has_no_errors_and_no_warnings(rules: Path, tmp_path: Path) -> None:
    assert rbr(tmp_path, "lint", "--strict") == "no errors, no warnings\n"


def test_warnings_fail_with_strict_only(rules: Path, tmp_path: Path) -> None:
    edit(rules, "derived:\n", "derived:\n  rude: judgement or insulting_language\n")
    output = rbr(tmp_path, "lint", str(rules))
    assert output.startswith(f"warning  {rules}/behavior.yaml:8:3 derived.rude: no class depends on")
    assert output.endswith("no errors, 1 warning\n")
    rbr(tmp_path, "lint", str(rules), "--strict", expect=1)


def test_json_output_has_the_parts_of_each_location(rules: Path, tmp_path: Path) -> None:
    edit(rules, "bar: 0.7", "bar: 7")
    assert "Traceback" not in rbr(tmp_path, "lint", str(rules), expect=2)
    (tmp_path / "other").mkdir()
    for name in ("synthesis", "content_policy", "propositions"):
        shutil.copy(rules / f"{name}.yaml", tmp_path / "other")
    for directory, file in ((rules, "behavior.yaml"), (tmp_path / "other", "behavior.yaml")):
        (error,) = json.loads(rbr(tmp_path, "lint", str(directory), "--json", expect=2, errors=False))["errors"]
        assert error["file"] == str(directory / file)
        assert error["what"]
        assert error["hint"]
    assert json.loads(rbr(tmp_path, "lint", str(rules), "--json", expect=2, errors=False)) == {
        "errors": [
            {
                "file": str(rules / "behavior.yaml"),
                "line": 1 + (rules / "behavior.yaml").read_text().split("bar: 7")[0].count("\n"),
                "column": 3,
                "key": "agreement.bar",
                "what": "the number 7 is out of range",
                "hint": "Write a number that is at least 0 and at most 1.",
            }
        ],
        "warnings": [],
    }
