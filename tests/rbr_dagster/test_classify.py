"""`rbr import-openai` and `rbr classify` on the command line."""

import json
from pathlib import Path

import pytest

from tests.rbr.rulebook.test_released_rules import RELEASE
from tests.rbr_dagster.edited_pipeline import ROOT, rbr, write_inputs

GOLD = ROOT / "rbr_sandbox" / "data" / "tiny_gold_labels.jsonl"


def classify(root: Path, gold: Path, *arguments: str) -> str:
    return rbr(root, "classify", str(gold), "--rulebook", str(ROOT / "rulebook"), *arguments)


def test_every_gold_row_gets_a_class_and_the_counts_add_up(tmp_path: Path) -> None:
    output = json.loads(classify(tmp_path, GOLD, "--json"))
    n_rows = len(GOLD.read_text().splitlines())
    assert [row["line"] for row in output["rows"]] == list(range(1, n_rows + 1))
    assert all(row["class"] for row in output["rows"])
    assert sum(sum(by_class.values()) for by_class in output["counts"].values()) == n_rows
    assert list(output["counts"]["comply"]) == [
        "ideal",
        "minimum_acceptable_style",
        "unacceptable",
        "illogical",
        "disallowed",
    ]
    table = classify(tmp_path, GOLD)
    assert "hard_refusal" in table
    assert "undecided" not in table
    assert not (tmp_path / "home").exists()


def test_rows_that_lack_a_deciding_label_are_counted_as_undecided(tmp_path: Path) -> None:
    row = {**json.loads(GOLD.read_text().splitlines()[0]), "labels": {"apology": True}}
    (tmp_path / "gold.jsonl").write_text(json.dumps(row))
    output = json.loads(classify(tmp_path, tmp_path / "gold.jsonl", "--json"))
    assert output["rows"][0]["class"] is None
    assert "disallowed_content" in output["rows"][0]["missing"]
    assert sum(by_class.get("undecided", 0) for by_class in output["counts"].values()) == 1
    assert "undecided" in classify(tmp_path, tmp_path / "gold.jsonl")


@pytest.mark.parametrize("command", ["classify", "attack"])
def test_misspelled_propositions_and_unknown_categories_are_named_with_their_lines(
    command: str, tmp_path: Path
) -> None:
    write_inputs(tmp_path)
    gold = tmp_path / "gold_labels.jsonl"
    rows = [json.loads(line) for line in gold.read_text(encoding="utf-8").splitlines()[:3]]
    rows[1]["labels"]["apolgy"] = rows[1]["labels"].pop("apology")
    rows[2]["category"] = "K-X"
    gold.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = [str(gold)] if command == "classify" else []
    output = rbr(tmp_path, command, *arguments, expect=2)
    assert (
        f"{gold}:2 labels.apolgy: the proposition 'apolgy' is not in the rulebook\n  Did you mean `apology`?" in output
    )
    assert f"{gold}:3 category: the category 'K-X' is not in the content policy" in output
    assert not (tmp_path / "home").exists()


def test_the_published_rules_are_imported_into_a_new_directory_only(tmp_path: Path) -> None:
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
    assert "already exists" in again


def test_thoughts_in_labeled_replies_are_counted(tmp_path: Path) -> None:
    row = json.loads(GOLD.read_text().splitlines()[0])
    rows = [{**row, "reply": reply} for reply in ("<think>Hm.</think>Sorry.", "<think>Hm.")]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for arguments in ((), ("--json",)):
        words = rbr(
            tmp_path, "classify", str(tmp_path / "gold.jsonl"), "--rulebook", str(ROOT / "rulebook"), *arguments,
            errors=True,
        )  # fmt: skip
        assert words.splitlines() == [
            "In 2 replies, there is a thought, which is no part of the reply.",
            "In 1 reply, a thought does not end, so there is no reply after it.",
        ]
