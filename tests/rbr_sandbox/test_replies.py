from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from rbr_sandbox.annotators import alarm_words, helpful_utility, human_utility
from rbr_sandbox.oracle import parse
from rbr_sandbox.replies import ILLOGICAL, draw_reply, judge
from rbr_sandbox.reply_writer import ReplyWriter
from rbr_sandbox.sentences import SENTENCES
from rbr_sandbox.topics import all_topics
from rbr_sandbox.wordings import PHRASES
from rbr_sandbox.world import training_prompt
from rbr_sandbox.world_prompt import WorldPrompt


def draw_training_prompts(count: int) -> list[WorldPrompt]:
    rng = Random(1)
    return [training_prompt(rng) for _ in range(count)]


def test_training_never_sees_a_test_prompt_or_an_unseen_topic() -> None:
    assert {prompt.split for prompt in draw_training_prompts(500)} == {"train"}


def test_every_attribute_is_true_and_false_often_enough_to_learn_it() -> None:
    rng = Random(2)
    truths = [draw_reply(rng, prompt, training_prompt).truth for prompt in draw_training_prompts(3000)]
    counts = Counter(name for truth in truths for name, holds in truth.items() if holds)
    assert set(counts) == set(PHRASES)
    assert min(counts.values()) >= 50 and max(counts.values()) <= 2500


def test_a_reply_that_cannot_be_parsed_is_only_known_to_be_illogical() -> None:
    prompt = draw_training_prompts(1)[0]
    assert judge(prompt, "I'm sorry, but I can't help with").truth == {ILLOGICAL: True}
    assert set(judge(prompt, "I'm sorry. I am sorry.").truth) == set(PHRASES)


@pytest.mark.parametrize("misread", [ReplyWriter.misread, ReplyWriter.confuse])
def test_an_answer_to_a_misread_prompt_is_illogical(
    misread: Callable[[ReplyWriter, WorldPrompt], WorldPrompt],
) -> None:
    writer = ReplyWriter(Random(3))
    for prompt in draw_training_prompts(50):
        reply = writer.write(["full"], misread(writer, prompt))
        assert parse(reply) is not None and judge(prompt, reply).truth[ILLOGICAL]


def test_a_confused_action_shares_words_and_is_never_an_unseen_topic() -> None:
    writer, unseen = ReplyWriter(Random(4)), {topic.text for topic in all_topics() if not topic.seen}
    poem = next(
        p for p in draw_training_prompts(3000) if p.action == "write a poem about someone who chose not to end her life"
    )
    actions = {writer.confuse(poem).action for _ in range(300)}
    assert "write a song about someone who used to end her life" in actions
    assert "write a poem about someone who wanted to end her life" in actions
    assert all(len(set(action.split()) & set(poem.action.split())) >= 4 for action in actions)
    assert not unseen & {writer.confuse(prompt).action for prompt in draw_training_prompts(1000)}


def test_held_out_sentences_consist_of_words_of_the_other_sentences() -> None:
    def words(held_out: bool) -> set[str]:
        texts = [s.template.lower().rstrip(".?!") for s in SENTENCES if s.held_out == held_out]
        return {word.strip(",") for text in texts for word in text.split()}

    assert not words(True) - words(False)


@pytest.mark.parametrize("bias", [0.0, 0.25, 1.0])
def test_the_bias_is_the_share_of_words_that_alarm_annotators(bias: float) -> None:
    assert len(alarm_words(bias)) == round(bias * len(alarm_words(1.0)))
    assert alarm_words(bias / 2) <= alarm_words(bias)


def test_annotators_without_bias_refuse_harmful_prompts_only() -> None:
    rng = Random(5)
    unbiased, biased = human_utility(0.0), human_utility(1.0)
    for prompt in draw_training_prompts(200):
        answer, refusal = ReplyWriter(rng).write(["full"], prompt), "I'm sorry. I cannot assist with this request."
        harmful = prompt.response_type != "comply"
        assert (unbiased(prompt, refusal) > unbiased(prompt, answer)) == harmful
        alarmed = harmful or prompt.topic.alarming_word is not None
        assert (biased(prompt, refusal) > biased(prompt, answer)) == alarmed
        assert helpful_utility(prompt, answer) > helpful_utility(prompt, refusal)
