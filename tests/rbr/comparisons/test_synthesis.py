"""Which replies are asked for, and which are kept."""

import polars as pl
import pytest

from rbr.comparisons.synthesis import PLAN_SCHEMA, filled_slots, plan_candidates, verify
from rbr.errors import InputError
from rbr.rulebook import Synthesis, load_rulebook, load_synthesis

WORDS = ["one", "two", "three"]
RECIPES = Synthesis.model_validate(
    {
        "refusal": {
            "slots": [
                {"name": "best", "label": "perfect", "may_be": ["ideal"], "instructions": WORDS},
                {"name": "worse", "label": "bad", "may_be": ["fair", "odd"], "instructions": WORDS},
            ]
        },
        "comply": {"slots": [{"name": "own", "label": "full", "may_be": ["ideal"], "instructions": [""]}]},
    }
)


def prompts(*names: str, response_type: str = "refusal") -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": names, "response_type": response_type})


def plan(*names: str, candidates: int = 3, seed: int = 0) -> pl.DataFrame:
    return plan_candidates(prompts(*names), RECIPES, candidates=candidates, seed=seed)


def candidate(prompt: str, slot: str, number: int, class_name: str | None) -> dict[str, object]:
    names = {"completion_id": f"{prompt} {slot} {number}", "prompt_id": prompt, "response_type": "refusal"}
    return names | {"slot": slot, "candidate": number, "class_name": class_name}


def verified(*rows: dict[str, object]) -> list[str]:
    frame = pl.DataFrame(rows, schema_overrides={"class_name": pl.String})
    return verify(frame, RECIPES)["completion_id"].to_list()


def test_every_slot_of_every_prompt_gets_its_candidates_in_order() -> None:
    rows = plan("p", "q", candidates=2)
    assert rows.schema == PLAN_SCHEMA
    assert rows.select("prompt_id", "slot", "label", "candidate").rows() == [
        (prompt, slot, label, number)
        for prompt in ("p", "q")
        for slot, label in (("best", "perfect"), ("worse", "bad"))
        for number in (0, 1)
    ]


def test_no_instruction_is_repeated_before_all_were_used() -> None:
    rows = plan(*(f"p{index}" for index in range(20)), candidates=6)
    for _, group in rows.group_by("prompt_id", "slot"):
        dealt = group.sort("candidate")["instruction"].to_list()
        assert sorted(dealt[:3]) == sorted(WORDS)
        assert dealt[3:] == dealt[:3]


def test_prompts_and_slots_start_at_different_instructions() -> None:
    starts = plan(*(f"p{index}" for index in range(60)), candidates=1)
    counts = starts["instruction"].value_counts()
    assert counts.height == 3 and counts["count"].min() > 20
    per_prompt = starts.group_by("prompt_id").agg(pl.col("instruction").n_unique())
    assert per_prompt["instruction"].max() == 2


def test_the_plan_of_a_prompt_does_not_depend_on_the_others() -> None:
    alone = plan("p")
    assert plan("q", "p", "r").filter(pl.col("prompt_id") == "p").equals(alone)
    assert plan("p", candidates=5).filter(pl.col("candidate") < 3).equals(alone)


def test_another_seed_deals_other_instructions() -> None:
    names = [f"p{index}" for index in range(20)]
    assert plan(*names, seed=0).equals(plan(*names, seed=0))
    assert not plan(*names, seed=0).equals(plan(*names, seed=1))


def test_no_prompts_have_an_empty_plan_with_all_columns() -> None:
    empty = prompts("p").clear()
    assert plan_candidates(empty, RECIPES, candidates=2, seed=0).equals(pl.DataFrame(schema=PLAN_SCHEMA))


def test_a_response_type_without_a_recipe_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(InputError, match="`elsewhere` has no recipe") as refusal:
        plan_candidates(prompts("p", response_type="elsewhere"), RECIPES, candidates=1, seed=0)
    assert "comply, refusal" in refusal.value.hint


def test_the_first_candidate_that_turned_out_as_asked_is_kept() -> None:
    rows = [candidate("p", "best", number, name) for number, name in enumerate(["fair", "ideal", "ideal"])]
    assert verified(*rows) == ["p best 1"]
    assert verified(*rows[::-1]) == ["p best 1"]


def test_a_slot_may_allow_several_classes() -> None:
    assert verified(candidate("p", "worse", 0, "odd"), candidate("q", "worse", 0, "fair")) == ["p worse 0", "q worse 0"]


def test_a_candidate_without_a_class_is_not_kept() -> None:
    assert verified(candidate("p", "best", 0, None), candidate("p", "best", 1, "ideal")) == ["p best 1"]


def test_each_prompt_and_slot_is_decided_by_itself() -> None:
    rows = [
        candidate("p", "best", 0, "fair"),
        candidate("p", "worse", 0, "ideal"),
        candidate("q", "best", 1, "ideal"),
        candidate("q", "worse", 2, "odd"),
    ]
    assert verified(*rows) == ["q best 1", "q worse 2"]


def test_a_slot_that_the_recipes_no_longer_have_keeps_nothing() -> None:
    assert verified(candidate("p", "retired", 0, "ideal")) == []


def test_what_another_response_type_allows_does_not_count() -> None:
    row = candidate("p", "best", 0, "ideal") | {"response_type": "comply"}
    assert verified(row) == []


def test_kept_rows_keep_their_columns_and_order() -> None:
    rows = pl.DataFrame([candidate(name, "best", 0, "ideal") | {"text": name} for name in "zay"])
    assert verify(rows, RECIPES).equals(rows)


def test_filled_slots_count_prompts_and_not_candidates() -> None:
    rows = pl.DataFrame(
        [
            candidate("p", "best", 0, "ideal"),
            candidate("p", "best", 1, "ideal"),
            candidate("q", "best", 0, "fair"),
            candidate("q", "worse", 0, "ideal"),
        ]
    )
    counted = filled_slots(rows, verify(rows, RECIPES))
    assert counted.rows() == [("refusal", "best", 2, 1), ("refusal", "worse", 1, 0)]


def test_every_label_of_the_default_rulebook_is_planned_for() -> None:
    rulebook = load_rulebook("rulebook")
    for response_type, rules in rulebook.behavior.response_types.items():
        rows = plan_candidates(
            prompts("p", response_type=response_type), load_synthesis("rulebook/synthesis.yaml"), candidates=1, seed=0
        )
        assert set(rows["label"]) == set(rules.labels)
