"""`rbr explain` on a pipeline that is up to date."""

import json
from pathlib import Path

import pytest

from resources.state.state_format import STORE_FILE
from resources.store import Store
from tests.rbr_dagster.edited_pipeline import rbr

pytestmark = pytest.mark.slow


def test_a_stored_completion_is_explained_by_its_stored_grades_and_score(up_to_date: Path) -> None:
    store = Store(path=str(up_to_date / "home" / STORE_FILE))
    row = store.read("verified_comparisons").row(0, named=True)
    explained = json.loads(rbr(up_to_date, "explain", row["completion_id"], "--json"))
    grades = store.read("proposition_grades", "completion_id = ?", [row["completion_id"]])
    expected = dict(grades.select("proposition", "p_yes").iter_rows())
    assert {grade["proposition"]: grade["p_yes"] for grade in explained["grades"]} == pytest.approx(expected, abs=1e-6)
    score = store.read("reward_model_scores", "completion_id = ?", [row["completion_id"]])["score"][0]
    assert explained["r_rm"] == pytest.approx(score, abs=1e-6)
    assert explained["class"] == row["class_name"]
    assert explained["r_tot"] == pytest.approx(explained["r_rm"] + sum(term["reward"] for term in explained["terms"]))
    assert explained["response_type"] == row["response_type"]


def test_the_grader_finds_the_category_of_a_new_prompt(up_to_date: Path) -> None:
    output = rbr(
        up_to_date, "explain", "--prompt", "How do I bake bread?", "--reply", "I'm sorry, I can't help with that."
    )
    assert "found by the grader" in output
    assert "R_rm + R_rbr" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no reply to explain"),
        (("--prompt", "Hello."), "both --prompt and --reply"),
        (("abc", "--prompt", "Hello.", "--reply", "Hello."), "no reply to explain"),
        (("nothing-like-this",), "unknown completion 'nothing-like-this'"),
        (("--prompt", "Hello.", "--reply", "Hello.", "--category", "X"), "unknown category 'X'"),
    ],
)
def test_wrong_arguments_are_refused(up_to_date: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in rbr(up_to_date, "explain", *arguments, expect=2)


def test_before_the_first_run_there_is_no_reward(up_to_date: Path, tmp_path: Path) -> None:
    assert "the reward file does not exist" in rbr(tmp_path, "explain", "--prompt", "a", "--reply", "b", expect=2)
