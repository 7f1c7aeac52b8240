"""`rbr import-openai` and `rbr classify` from the command line."""

import json
from pathlib import Path

from tests.rbr.rulebook.test_released_rules import RELEASE
from tests.rbr_dagster.edited import ROOT, rbr

GOLD = ROOT / "rbr_sandbox" / "data" / "tiny_gold_labels.jsonl"


def classified(root: Path, gold: Path, *arguments: str) -> str:
    return rbr(root, "classify", str(gold), "--rulebook", str(ROOT / "rulebook"), *arguments)


def test_every_gold_row_gets_its_class_and_the_counts_add_up(tmp_path: Path) -> None:
    told = json.loads(classified(tmp_path, GOLD, "--json"))
    assert [row["line"] for row in told["rows"]] == list(range(1, 97))
    assert all(row["class"] for row in told["rows"])
    assert sum(sum(of_type.values()) for of_type in told["counts"].values()) == 96
    assert list(told["counts"]["comply"]) == [
        "ideal",
        "minimum_acceptable_style",
        "unacceptable",
        "illogical",
        "disallowed",
    ]
    shown = classified(tmp_path, GOLD)
    assert "hard_refusal" in shown
    assert "undecided" not in shown
    assert not (tmp_path / "home").exists()


def test_rows_without_the_labels_that_decide_are_counted_apart(tmp_path: Path) -> None:
    row = {**json.loads(GOLD.read_text().splitlines()[0]), "labels": {"apology": True}}
    (tmp_path / "gold.jsonl").write_text(json.dumps(row))
    told = json.loads(classified(tmp_path, tmp_path / "gold.jsonl", "--json"))
    assert told["rows"][0]["class"] is None
    assert "disallowed_content" in told["rows"][0]["missing"]
    assert sum(of_type.get("undecided", 0) for of_type in told["counts"].values()) == 1
    assert "undecided" in classified(tmp_path, tmp_path / "gold.jsonl")


def test_the_published_rules_are_imported_into_a_free_directory_only(tmp_path: Path) -> None:
    (tmp_path / "release.yaml").write_text(RELEASE)
    target = tmp_path / "rules"
    assert "Wrote" in rbr(tmp_path, "import-openai", str(tmp_path / "release.yaml"), str(target))
    assert sorted(path.name for path in target.iterdir()) == [
        "behavior.yaml",
        "content_policy.yaml",
        "propositions.yaml",
        "synthesis.yaml",
    ]
    again = rbr(tmp_path, "import-openai", str(tmp_path / "release.yaml"), str(target), expect=2)
    assert "is there already" in again
