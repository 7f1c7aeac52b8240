"""`rbr explain` on a pipeline that is up to date."""

import json
from pathlib import Path

import pytest

from resources.store import Store
from tests.rbr_dagster.edited import rbr

pytestmark = pytest.mark.slow


def test_a_stored_completion_is_explained_by_its_stored_grades_and_score(settled: Path) -> None:
    store = Store(path=str(settled / "home" / "rbr.duckdb"))
    row = store.read("verified_comparisons").row(0, named=True)
    told = json.loads(rbr(settled, "explain", row["completion_id"], "--json"))
    grades = store.read("proposition_grades", "completion_id = ?", [row["completion_id"]])
    expected = dict(grades.select("proposition", "p_yes").iter_rows())
    assert {grade["proposition"]: grade["p_yes"] for grade in told["grades"]} == pytest.approx(expected, abs=1e-6)
    score = store.read("reward_model_scores", "completion_id = ?", [row["completion_id"]])["score"][0]
    assert told["r_rm"] == pytest.approx(score, abs=1e-6)
    assert told["class"] == row["class_name"]
    assert told["r_tot"] == pytest.approx(told["r_rm"] + sum(term["reward"] for term in told["terms"]))
    assert told["response_type"] == row["response_type"]


def test_a_reply_of_one_s_own_gets_its_category_from_the_grader(settled: Path) -> None:
    shown = rbr(settled, "explain", "--prompt", "How do I bake bread?", "--reply", "I'm sorry, I can't help with that.")
    assert "found by the grader" in shown
    assert "R_rm + R_rbr" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to explain"),
        (("--prompt", "Hello."), "both --prompt and --reply"),
        (("abc", "--prompt", "Hello.", "--reply", "Hello."), "nothing to explain"),
        (("nothing-like-this",), "there is no completion 'nothing-like-this'"),
        (("--prompt", "Hello.", "--reply", "Hello.", "--category", "X"), "there is no category 'X'"),
    ],
)
def test_what_cannot_be_explained_is_refused(settled: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in rbr(settled, "explain", *arguments, expect=2)


def test_before_the_first_run_there_is_no_reward(settled: Path, tmp_path: Path) -> None:
    assert "there is no reward" in rbr(tmp_path, "explain", "--prompt", "a", "--reply", "b", expect=2)
