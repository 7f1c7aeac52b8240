"""Prompt ids, instructions and splits."""

import pytest

from rbr.conversation import fold_turns, prompt_id, split_of, with_instruction

ASK = {"role": "user", "content": "How do I boil an egg?"}
TELL = {"role": "assistant", "content": "In water."}


def test_an_instruction_is_appended_to_the_last_turn_of_a_copy() -> None:
    prompt = (ASK, TELL, ASK)
    assert with_instruction(prompt, "Answer in full.")[-1]["content"] == "How do I boil an egg?\n\nAnswer in full."
    assert with_instruction(prompt, "") == list(prompt)
    assert prompt[-1]["content"] == "How do I boil an egg?"


def test_the_split_depends_on_the_prompt_alone_and_its_share_is_near_the_fraction() -> None:
    ids = [prompt_id([{"role": "user", "content": str(number)}]) for number in range(2000)]
    share = sum(split_of(one, 0.2) == "test" for one in ids) / len(ids)
    assert 0.17 < share < 0.23
    assert all(split_of(one, 0.3) == "test" for one in ids if split_of(one, 0.2) == "test")
    assert {split_of(one, 0.0) for one in ids} == {"train"}
    assert {split_of(one, 1.0) for one in ids} == {"test"}


@pytest.mark.parametrize(
    ("turns", "folded"),
    [
        ("s:Be-brief. u:Hi", "u:Be-brief.|Hi"),
        ("u:Hello. u:Hi", "u:Hello.|Hi"),
        ("s:Be s:brief. u:Hello. u:Hi", "u:Be|brief.|Hello.|Hi"),
        ("u:Hi a:Yes? s:Be-brief. u:Bye", "u:Hi a:Yes? u:Be-brief.|Bye"),
        ("u:Hi a:Yes? a:No? u:Bye", "u:Hi a:Yes?|No? u:Bye"),
        ("u:Hi a:Yes? u:Bye", "u:Hi a:Yes? u:Bye"),
        ("s: u:Hi", "u:Hi"),
    ],
)
def test_folding_makes_user_and_assistant_take_turns(turns: str, folded: str) -> None:
    assert fold_turns(parsed(turns)) == parsed(folded)
    assert fold_turns(parsed(folded)) == parsed(folded)


def parsed(turns: str) -> list[dict]:
    roles = {"s": "system", "u": "user", "a": "assistant"}
    pairs = (turn.split(":", 1) for turn in turns.split(" "))
    return [{"role": roles[role], "content": text.replace("|", "\n\n")} for role, text in pairs]
