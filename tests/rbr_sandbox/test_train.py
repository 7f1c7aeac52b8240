"""What the grader's training sees is what the pipeline asks."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rbr.grading import Question, open_grader
from rbr.profile import load_profile
from rbr.rulebook import load_rulebook
from rbr_sandbox.oracle import parse, split_sentences
from rbr_sandbox.replies import ILLOGICAL, judge
from rbr_sandbox.sentences import SENTENCES
from rbr_sandbox.train import data
from rbr_sandbox.train.asker import QUESTIONS_PER_ROW, Asker
from rbr_sandbox.train.packing import pack
from rbr_sandbox.train.padding_free import Line, states_by_layer
from rbr_sandbox.train.rows import SENTENCE_TRUTHS, Row, draw_row
from rbr_sandbox.train.workshop import SEED
from rbr_sandbox.world import training_prompt

PROFILE = load_profile("profiles/sandbox.yaml")


PROMPT = training_prompt(Random(4))
SAMPLES = [[judge(PROMPT, "I'm sorry.")], [judge(PROMPT, "I'm sorry sorry.")]]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    asker = Asker.of(load_rulebook("rulebook"), 0, replies=200)
    return [draw_row(Random(i), asker, SAMPLES) for i in range(40)]


def test_texts_in_a_line_and_questions_behind_a_prefix_are_read_as_each_is_alone() -> None:
    rng = Random(0)
    model = LlamaForCausalLM.from_pretrained(PROFILE.models.grader.path, dtype=torch.float32).eval().model

    def tokens(most: int) -> list[int]:
        return [rng.randrange(5, 300) for _ in range(rng.randrange(1, most))]

    texts = [(tokens(40), [tokens(20) for _ in range(questions)]) for questions in (0, 1, 5, 0, 3)]
    with torch.no_grad():
        alone = [
            model(input_ids=torch.tensor([[*prefix, *question]])).last_hidden_state[0, len(prefix) * bool(question) :]
            for prefix, questions in texts
            for question in ([], *questions)
        ]
        together = states_by_layer(model, Line.of(texts))[-1]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-4)


def test_a_packed_question_is_answered_as_it_is_alone_whatever_else_stands_in_the_batch(rows: list[Row]) -> None:
    reference = PROFILE.models.grader.path
    tokenizer = PreTrainedTokenizerFast.from_pretrained(reference)
    model = LlamaForCausalLM.from_pretrained(reference, dtype=torch.float32).eval()
    packed = pack(tokenizer, rows[:9])
    with torch.no_grad():
        states = states_by_layer(model.model, packed.line)[-1]
        logits = model.lm_head(states[packed.answer_at])
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    together = logits[:, [yes, no]].softmax(dim=1)[:, 0].numpy()
    grader = open_grader(PROFILE.models.grader, PROFILE.grader)
    alone = [grader.grade([row.messages], [Question("", each.text)])[0, 0] for row in rows[:9] for each in row.asked]
    assert len(alone) > 9 * 4
    np.testing.assert_allclose(together, alone, atol=0.01)


def test_a_row_asks_of_a_whole_reply_all_kinds_of_questions_and_of_a_broken_one_only_whether_it_makes_sense(
    rows: list[Row],
) -> None:
    about_replies = [row for row in rows if row.messages[-1]["role"] == "assistant"]
    broken = [row for row in about_replies if {each.subjects[0] for each in row.asked} == {ILLOGICAL}]
    assert broken and all(parse(row.messages[-1]["content"]) is None and len(row.asked) == 4 for row in broken)
    assert {len(row.asked) for row in about_replies if row not in broken} <= {QUESTIONS_PER_ROW, QUESTIONS_PER_ROW - 2}


def test_rows_can_be_about_samples_alone_and_ask_more_often_whether_they_make_sense() -> None:
    asker = replace(Asker.of(load_rulebook("rulebook"), 0, replies=200), often={ILLOGICAL: 9})
    rows = [draw_row(Random(i), asker, SAMPLES, {"sample": 1.0}) for i in range(20)]
    assert {row.messages[-1]["content"] for row in rows} == {"I'm sorry.", "I'm sorry sorry."}
    assert all(sum(each.subjects[0] == ILLOGICAL for each in row.asked) >= 9 for row in rows)
    assert {len(row.asked) for row in rows} == {QUESTIONS_PER_ROW, 2 + 9}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("look-alike", ILLOGICAL), ("apologies", "apology")],
)
def test_rows_that_are_hard_ask_about_what_makes_them_so_and_half_have_it(kind: str, name: str) -> None:
    rulebook = load_rulebook("rulebook")
    asker, question = Asker.of(rulebook, 0, replies=200), rulebook.propositions[name].question
    rows = [draw_row(Random(i), asker, SAMPLES, {kind: 1.0}) for i in range(100)]
    asked = [[each.answer for each in row.asked if each.text == question] for row in rows]
    assert all(len({*answers}) <= 1 for answers in asked)
    assert np.mean([len(answers) for answers in asked]) > 2
    assert 0.25 < np.mean([answers[0] for answers in asked if answers]) < 0.75


def test_a_crossed_reply_has_the_words_of_two_sentences_and_hardly_ever_makes_sense() -> None:
    asker = Asker.of(load_rulebook("rulebook"), 0, replies=200)
    replies = [draw_row(Random(i), asker, SAMPLES, {"crossed": 1.0}).messages[-1]["content"] for i in range(200)]
    assert 0.75 < np.mean([parse(reply) is None for reply in replies]) < 1
    held_out = {sentence.template for sentence in SENTENCES if sentence.held_out}
    assert not held_out & {sentence for reply in replies for sentence in split_sentences(reply)}


def test_a_reply_that_a_policy_should_write_has_no_broken_sentence(rows: list[Row]) -> None:
    at = SENTENCE_TRUTHS.index("is no sentence")
    assert all(mark.truth[at] == 0.0 for row in rows if row.copied for mark in row.marks)


def test_without_an_asker_the_same_conversations_are_asked_nothing(rows: list[Row]) -> None:
    silent = [draw_row(Random(i), None, SAMPLES) for i in range(40)]
    assert [row.messages for row in silent] == [row.messages for row in rows]
    assert all(row.asked == [] for row in silent)


def test_the_shipped_data_is_what_the_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = data.DIRECTORY
    monkeypatch.setattr(data, "DIRECTORY", tmp_path)
    data.write_data(SEED, load_rulebook("rulebook"))
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written and written == {name: (shipped / name).read_bytes() for name in written}
