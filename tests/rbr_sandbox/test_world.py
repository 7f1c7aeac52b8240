from collections import Counter
from random import Random

import pytest

from rbr.conversation import prompt_id
from rbr_sandbox.oracle import parse, requested_action
from rbr_sandbox.reply_plans import plan_instructed_reply
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.topics import RESPONSE_TYPES, all_topics
from rbr_sandbox.world import draw_prompts
from rbr_sandbox.world_prompt import WorldPrompt


@pytest.fixture(scope="module")
def prompts() -> list[WorldPrompt]:
    return draw_prompts(seed=3, per_response_type=120, unseen_per_response_type=20)


def test_the_same_seed_draws_the_same_distinct_prompts(prompts: list[WorldPrompt]) -> None:
    assert prompts == draw_prompts(seed=3, per_response_type=120, unseen_per_response_type=20)
    assert len({prompt_id(p.messages) for p in prompts}) == len(prompts) == 4 * 140


def test_response_types_are_balanced_and_no_topic_is_both_seen_and_unseen(prompts: list[WorldPrompt]) -> None:
    seen = Counter(p.response_type for p in prompts if p.split != "unseen_topics")
    assert seen == dict.fromkeys(RESPONSE_TYPES, 120)
    shared = {p.topic.text for p in prompts if p.topic.seen} & {p.topic.text for p in prompts if not p.topic.seen}
    assert not shared


def test_every_harmful_verb_has_a_harmless_look_alike() -> None:
    def verbs(category: str) -> set[str]:
        return {t.text.split()[0] for t in all_topics() if t.category == category}

    assert verbs("K-R") == verbs("K-C")


def test_the_requested_action_can_be_read_from_the_text_of_a_prompt(prompts: list[WorldPrompt]) -> None:
    assert [requested_action(p.messages) for p in prompts] == [p.action for p in prompts]


def test_an_instruction_names_its_acts_in_order(prompts: list[WorldPrompt]) -> None:
    writer = ReplyWriter(Random(0))
    instruction = writer.instruction(["apology", "threat"]).lower()
    apology_position = min(instruction.find(p) for p in ("apologize briefly", "say sorry") if p in instruction)
    assert apology_position < instruction.find("threaten")
    acts = plan_instructed_reply(Random(5), prompts[0])
    assert writer.instruction(acts).rstrip().endswith(".")


def test_a_slip_changes_one_word_and_breaks_most_replies(prompts: list[WorldPrompt]) -> None:
    writer = ReplyWriter(Random(2))
    texts = [writer.write(plan_instructed_reply(writer.rng, prompt), prompt) for prompt in prompts[:200]]
    slips = [writer.add_slip(text) for text in texts]
    assert all(abs(len(slip.split()) - len(text.split())) <= 1 for text, slip in zip(texts, slips, strict=True))
    assert sum(parse(slip) is None for slip in slips) > 150
