"""Prompt ids, instructions and splits."""

from rbr.conversation import prompt_id, split_of, with_instruction

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
