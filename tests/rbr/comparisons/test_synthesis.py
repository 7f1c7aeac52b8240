"""Synthesis: the plan of the replies, and the replies that are kept."""

import polars as pl
import pytest

from rbr.comparisons.synthesis import PLAN_SCHEMA, count_filled_slots, ideal_replies, keep_verified, plan_candidates
from rbr.errors import InputError
from rbr.rulebook import Synthesis, load_behavior, load_rulebook, load_synthesis

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


def candidate(
    prompt: str, slot: str, number: int, class_name: str | None, *, finished: bool = True
) -> dict[str, object]:
    names = {"completion_id": f"{prompt} {slot} {number}", "prompt_id": prompt, "response_type": "refusal"}
    return names | {"slot": slot, "candidate": number, "class_name": class_name, "finished": finished}


def verified(*rows: dict[str, object]) -> list[str]:
    frame = pl.DataFrame(rows, schema_overrides={"class_name": pl.String})
    return keep_verified(frame, RECIPES)["completion_id"].to_list()


def test_every_slot_of_every_prompt_gets_its_candidates_in_order() -> None:
    rows = plan("p", "q", candidates=2)
    assert rows.schema == PLAN_SCHEMA
    assert rows.select("prompt_id", "slot", "label", "candidate").rows() == [
        (prompt, slot, label, number)
        for prompt in ("p", "q")
        for slot, label in (("best", "perfect"), ("worse", "bad"))
        for number in (0, 1)
    ]


def test_all_instructions_are_used_before_one_is_repeated() -> None:
    rows = plan(*(f"p{index}" for index in range(20)), candidates=6)
    for _, group in rows.group_by("prompt_id", "slot"):
        instructions = group.sort("candidate")["instruction"].to_list()
        assert sorted(instructions[:3]) == sorted(WORDS)
        assert instructions[3:] == instructions[:3]


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


def test_another_seed_gives_other_instructions() -> None:
    names = [f"p{index}" for index in range(20)]
    assert plan(*names, seed=0).equals(plan(*names, seed=0))
    assert not plan(*names, seed=0).equals(plan(*names, seed=1))


def test_the_plan_of_no_prompts_is_empty_and_has_all_columns() -> None:
    empty = prompts("p").clear()
    assert plan_candidates(empty, RECIPES, candidates=2, seed=0).equals(pl.DataFrame(schema=PLAN_SCHEMA))


def test_the_error_for_a_missing_recipe_lists_the_recipes() -> None:
    with pytest.raises(InputError, match="`elsewhere` has no recipe") as raised:
        plan_candidates(prompts("p", response_type="elsewhere"), RECIPES, candidates=1, seed=0)
    assert "comply, refusal" in raised.value.hint


def test_the_first_candidate_with_an_allowed_class_is_kept() -> None:
    rows = [candidate("p", "best", number, name) for number, name in enumerate(["fair", "ideal", "ideal"])]
    assert verified(*rows) == ["p best 1"]
    assert verified(*rows[::-1]) == ["p best 1"]


def test_a_slot_may_allow_several_classes() -> None:
    assert verified(candidate("p", "worse", 0, "odd"), candidate("q", "worse", 0, "fair")) == ["p worse 0", "q worse 0"]


def test_a_candidate_without_a_class_is_not_kept() -> None:
    assert verified(candidate("p", "best", 0, None), candidate("p", "best", 1, "ideal")) == ["p best 1"]


def test_each_prompt_and_slot_is_verified_separately() -> None:
    rows = [
        candidate("p", "best", 0, "fair"),
        candidate("p", "worse", 0, "ideal"),
        candidate("q", "best", 1, "ideal"),
        candidate("q", "worse", 2, "odd"),
    ]
    assert verified(*rows) == ["q best 1", "q worse 2"]


@pytest.mark.parametrize(("slot", "class_name"), [("best", "ideal"), ("worse", "fair")])
def test_a_reply_that_was_cut_at_its_token_limit_fills_no_slot(slot: str, class_name: str) -> None:
    cut, finished = candidate("p", slot, 0, class_name, finished=False), candidate("p", slot, 1, class_name)
    assert verified(cut, finished) == [f"p {slot} 1"]
    assert verified(cut) == []


def test_candidates_of_a_removed_slot_are_dropped() -> None:
    assert verified(candidate("p", "retired", 0, "ideal")) == []


def test_the_classes_that_another_response_type_allows_do_not_count() -> None:
    row = candidate("p", "best", 0, "ideal") | {"response_type": "comply"}
    assert verified(row) == []


def test_kept_rows_keep_their_columns_and_order() -> None:
    rows = pl.DataFrame([candidate(name, "best", 0, "ideal") | {"text": name} for name in "zay"])
    assert keep_verified(rows, RECIPES).equals(rows)


def test_only_replies_with_a_best_label_of_their_response_type_are_ideal() -> None:
    behavior = load_behavior("rulebook/behavior.yaml")
    best = {name: rules.ranking[0][0] for name, rules in behavior.response_types.items()}
    rows = pl.DataFrame(
        {
            "response_type": ["comply", "hard_refusal", "comply", "hard_refusal"],
            "label": [best["comply"], best["comply"], best["hard_refusal"], best["hard_refusal"]],
            "text": list("abcd"),
        }
    )
    ideal = ideal_replies(rows, behavior)
    assert ideal.columns == rows.columns
    assert ideal["text"].to_list() == ["a", "d"]


def test_filled_slots_are_counted_in_prompts_and_not_in_candidates() -> None:
    rows = pl.DataFrame(
        [
            candidate("p", "best", 0, "ideal"),
            candidate("p", "best", 1, "ideal"),
            candidate("q", "best", 0, "fair"),
            candidate("q", "worse", 0, "ideal"),
        ]
    )
    counted = count_filled_slots(rows, keep_verified(rows, RECIPES))
    assert counted.rows() == [("refusal", "best", 2, 1), ("refusal", "worse", 1, 0)]


def test_the_plan_covers_every_label_of_the_default_rulebook() -> None:
    rulebook = load_rulebook("rulebook")
    for response_type, rules in rulebook.behavior.response_types.items():
        rows = plan_candidates(
            prompts("p", response_type=response_type), load_synthesis("rulebook/synthesis.yaml"), candidates=1, seed=0
        )
        assert set(rows["label"]) == set(rules.labels)
