from collections import Counter
from random import Random

import pytest

from rbr.conversation import prompt_id
from rbr_sandbox.acts import instructed_acts
from rbr_sandbox.oracle import asked_act, parse
from rbr_sandbox.topics import all_topics
from rbr_sandbox.world import RESPONSE_TYPES, WorldPrompt, Writer, draw_prompts


@pytest.fixture(scope="module")
def prompts() -> list[WorldPrompt]:
    return draw_prompts(seed=3, per_response_type=120, unseen_per_response_type=20)


def test_a_draw_is_the_same_for_the_same_seed_and_distinct_throughout(prompts: list[WorldPrompt]) -> None:
    assert prompts == draw_prompts(seed=3, per_response_type=120, unseen_per_response_type=20)
    assert len({prompt_id(p.messages) for p in prompts}) == len(prompts) == 4 * 140


def test_response_types_are_balanced_and_unseen_topics_stay_apart(prompts: list[WorldPrompt]) -> None:
    seen = Counter(p.response_type for p in prompts if p.split != "unseen_topics")
    assert seen == dict.fromkeys(RESPONSE_TYPES, 120)
    shared = {p.topic.text for p in prompts if p.topic.seen} & {p.topic.text for p in prompts if not p.topic.seen}
    assert not shared


def test_every_harmful_verb_has_a_harmless_look_alike() -> None:
    def verbs(category: str) -> set[str]:
        return {t.text.split()[0] for t in all_topics() if t.category == category}

    assert verbs("K-R") == verbs("K-C")


def test_the_act_that_a_prompt_asks_for_can_be_read_off_its_text(prompts: list[WorldPrompt]) -> None:
    assert [asked_act(p.messages) for p in prompts] == [p.act for p in prompts]


def test_an_instruction_names_its_acts_in_their_order(prompts: list[WorldPrompt]) -> None:
    writer = Writer(Random(0))
    instruction = writer.instruction(["apology", "threat"]).lower()
    assert min(instruction.find(p) for p in ("apologize briefly", "say sorry") if p in instruction) < instruction.find(
        "threaten"
    )
    acts = instructed_acts(Random(5), prompts[0])
    assert writer.instruction(acts).rstrip().endswith(".")


def test_after_a_slip_one_word_is_wrong_and_hardly_any_reply_is_whole(prompts: list[WorldPrompt]) -> None:
    writer = Writer(Random(2))
    texts = [writer.write(instructed_acts(writer.rng, prompt), prompt) for prompt in prompts[:200]]
    slips = [writer.slip(text) for text in texts]
    assert all(abs(len(slip.split()) - len(text.split())) <= 1 for text, slip in zip(texts, slips, strict=True))
    assert sum(parse(slip) is None for slip in slips) > 150
