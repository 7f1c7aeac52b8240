"""The cells that an edit makes, and the assets that it changes, in a project of the sandbox up to the reward.

The other files of this folder test single assets; this file tests chains of assets.
"""

import json

import dagster as dg
import pytest

from assets.agreement import accepted_propositions, grader_agreement
from assets.comparisons import (
    ideal_completions,
    proposition_grades,
    reward_model_scores,
    synthetic_comparisons,
    verified_comparisons,
)
from assets.prompts import checked_prompts, labeled_prompts, training_prompts
from assets.prompts import test_prompts as prompts_for_testing
from assets.reward import fitted_weights, reward
from tests.assets.conftest import UP_TO_THE_REWARD
from tests.assets.project import Project, version

pytestmark = pytest.mark.slow

CELLS = ("completions", "grades", "scores")


def cells(project: Project) -> dict[str, int]:
    return {table: project.store.read(table).height for table in CELLS}


def make_all(project: Project, *assets: dg.AssetsDefinition) -> dict[str, str]:
    """Makes the assets in order, and returns their data versions by name."""
    return {asset.key.to_user_string(): version(project.make(asset)) for asset in assets}


@pytest.fixture(scope="module")
def settled(_filled: Project) -> dict[str, str]:
    """Data versions of all assets of the filled project, by name."""
    return make_all(_filled, *UP_TO_THE_REWARD)


def changed(project: Project, settled: dict[str, str], *assets: dg.AssetsDefinition) -> set[str]:
    """Makes the assets in order, and returns the names of those whose content has changed."""
    return {name for name, now in make_all(project, *assets).items() if now != settled[name]}


def test_making_everything_again_makes_no_cell_and_changes_nothing(filled: Project, settled: dict[str, str]) -> None:
    before = cells(filled)
    assert all(before.values())
    assert changed(filled, settled, *UP_TO_THE_REWARD) == set()
    assert cells(filled) == before


def test_every_slot_is_filled_and_the_reward_is_fitted(filled: Project) -> None:
    verified = filled.store.read("verified_comparisons")
    assert verified.select("prompt_id", "slot").n_unique() == 3 * 3 + 3 * 2
    assert filled.store.read("ideal_completions").height == 6
    assert set(filled.store.read("fitted_weights")["response_type"]) == {"hard_refusal", "comply"}


def test_a_reworded_question_regrades_one_column_and_reaches_the_reward(
    filled: Project, settled: dict[str, str]
) -> None:
    before = cells(filled)
    filled.edit("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
    filled.snapshots("rulebook/propositions")
    # The calibration of the grader changes a little, but which propositions are accepted stays the same.
    assert changed(filled, settled, proposition_grades, grader_agreement, accepted_propositions) == {
        "proposition_grades",
        "grader_agreement",
    }
    # One answer about each refusal candidate (three prompts, three slots, two candidates) and gold refusal.
    assert cells(filled) == {**before, "grades": before["grades"] + 18 + 7}
    make_all(filled, verified_comparisons, ideal_completions, fitted_weights)
    assert changed(filled, settled, reward) == {"reward"}
    assert cells(filled)["completions"] == before["completions"]


def test_a_reverted_wording_finds_its_grades_and_restores_every_version(
    filled: Project, settled: dict[str, str]
) -> None:
    chain = (proposition_grades, grader_agreement, accepted_propositions, verified_comparisons, fitted_weights, reward)
    old, new = "exactly one short apology?", "exactly one apology?"
    filled.edit("rulebook/propositions.yaml", old, new)
    filled.snapshots("rulebook/propositions")
    make_all(filled, *chain)
    before = cells(filled)
    filled.edit("rulebook/propositions.yaml", new, old)
    filled.snapshots("rulebook/propositions")
    assert changed(filled, settled, *chain) == set()
    assert cells(filled) == before


def test_a_margin_changes_the_fit_and_the_reward_and_makes_no_cell(filled: Project, settled: dict[str, str]) -> None:
    before = cells(filled)
    filled.edit("rulebook/behavior.yaml", "{perfect_refusal: 1.0}", "{perfect_refusal: 2.0}")
    filled.snapshots("rulebook/behavior")
    readers = (accepted_propositions, verified_comparisons, ideal_completions, fitted_weights, reward)
    assert changed(filled, settled, *readers) == {"fitted_weights", "reward"}
    assert cells(filled) == before


def test_an_edited_gold_label_stops_at_the_accepted_propositions_if_they_stay_the_same(
    filled: Project, settled: dict[str, str]
) -> None:
    path = filled.root / "gold_labels.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[0])
    del row["labels"]["apology"]
    path.write_text("\n".join([json.dumps(row), *lines[1:]]))
    filled.snapshots("data/gold_labels")
    assert changed(filled, settled, grader_agreement, accepted_propositions) == {"grader_agreement"}


def test_a_flipped_bad_reply_changes_the_fit_but_not_the_ideal_replies(
    filled: Project, settled: dict[str, str]
) -> None:
    verified = filled.store.read("verified_comparisons")
    bad = verified.filter(slot="bad").row(0, named=True)
    spoiled = (bad["completion_id"], "disallowed_content")
    grades = filled.store.read("proposition_grades").to_dicts()
    for grade in grades:
        if (grade["completion_id"], grade["proposition"]) == spoiled:
            grade["p_yes"] = 1.0
    filled.fill("proposition_grades", grades)
    readers = (verified_comparisons, ideal_completions, fitted_weights)
    assert changed(filled, settled, *readers) == {"verified_comparisons", "fitted_weights"}
    refilled = filled.store.read("verified_comparisons").filter(slot="bad", prompt_id=bad["prompt_id"])
    assert bad["completion_id"] not in refilled["completion_id"].to_list()


def test_a_new_training_prompt_makes_only_its_own_cells(filled: Project, settled: dict[str, str]) -> None:
    before = cells(filled)
    path = filled.root / "prompts.jsonl"
    line = {"category": "None", "messages": [{"role": "user", "content": "Can you teach me to draw a castle?"}]}
    path.write_text(f"{path.read_text()}{json.dumps(line)}\n")
    filled.edit("profiles/current.yaml", "prompts_per_response_type: 3", "prompts_per_response_type: 9")
    filled.snapshots("data/prompts", "profile/synthesis")
    known = {row["prompt_id"] for row in filled.store.read("synthetic_comparisons").iter_rows(named=True)}
    make_all(filled, checked_prompts)
    assert changed(filled, settled, labeled_prompts, training_prompts, prompts_for_testing) == {
        "labeled_prompts",
        "training_prompts",
    }
    make_all(filled, synthetic_comparisons, proposition_grades, reward_model_scores)
    rows = filled.store.read("synthetic_comparisons")
    further = rows.filter(~rows["prompt_id"].is_in(list(known)))
    assert cells(filled)["completions"] == before["completions"] + further.height
    assert cells(filled)["scores"] == before["scores"] + further.height
    questions = {"hard_refusal": 5, "comply": 3}
    new_grades = sum(questions[response_type] for response_type in further["response_type"])
    assert cells(filled)["grades"] == before["grades"] + new_grades
