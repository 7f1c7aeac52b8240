"""The grader is trained on the questions that the pipeline asks."""

import json
from collections import Counter
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
from rbr_sandbox.train import shipped_data
from rbr_sandbox.train.gold_rows import missing_labels, needed_by_category
from rbr_sandbox.train.grader_rows import SENTENCE_TRUTH_NAMES, GraderRow, draw_row
from rbr_sandbox.train.padding_free import PackedSequence, states_by_layer
from rbr_sandbox.train.question_sampler import QUESTIONS_PER_ROW, QuestionSampler
from rbr_sandbox.train.row_packing import pack_rows
from rbr_sandbox.train.sandbox_trainer import SEED
from rbr_sandbox.world import training_prompt

PROFILE = load_profile("profiles/sandbox.yaml")


PROMPT = training_prompt(Random(4))
SAMPLES = [[judge(PROMPT, "I'm sorry.")], [judge(PROMPT, "I'm sorry sorry.")]]


@pytest.fixture(scope="module")
def rows() -> list[GraderRow]:
    sampler = QuestionSampler.from_rulebook(load_rulebook("rulebook"), 0, replies=200)
    return [draw_row(Random(i), sampler, SAMPLES) for i in range(40)]


def test_packed_texts_and_questions_have_the_same_states_as_each_alone() -> None:
    rng = Random(0)
    model = LlamaForCausalLM.from_pretrained(PROFILE.models.grader.path, dtype=torch.float32).eval().model

    def draw_tokens(limit: int) -> list[int]:
        return [rng.randrange(5, 300) for _ in range(rng.randrange(1, limit))]

    texts = [(draw_tokens(40), [draw_tokens(20) for _ in range(questions)]) for questions in (0, 1, 5, 0, 3)]
    with torch.no_grad():
        alone = [
            model(input_ids=torch.tensor([[*prefix, *question]])).last_hidden_state[0, len(prefix) * bool(question) :]
            for prefix, questions in texts
            for question in ([], *questions)
        ]
        together = states_by_layer(model, PackedSequence.of(texts))[-1]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-4)


def test_a_packed_question_gets_the_same_answer_as_alone(rows: list[GraderRow]) -> None:
    reference = PROFILE.models.grader.path
    tokenizer = PreTrainedTokenizerFast.from_pretrained(reference)
    model = LlamaForCausalLM.from_pretrained(reference, dtype=torch.float32).eval()
    packed = pack_rows(tokenizer, rows[:9])
    with torch.no_grad():
        states = states_by_layer(model.model, packed.sequence)[-1]
        logits = model.lm_head(states[packed.answer_positions])
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    together = logits[:, [yes, no]].softmax(dim=1)[:, 0].numpy()
    grader = open_grader(PROFILE.models.grader, PROFILE.grader)
    alone = [
        grader.grade([row.messages], [Question("", question.text)]).p_yes[0, 0]
        for row in rows[:9]
        for question in row.questions
    ]
    assert len(alone) > 9 * 4
    np.testing.assert_allclose(together, alone, atol=0.01)


def test_a_row_has_all_questions_about_a_whole_reply_and_only_one_kind_about_a_broken_reply(
    rows: list[GraderRow],
) -> None:
    about_replies = [row for row in rows if row.messages[-1]["role"] == "assistant"]
    broken = [row for row in about_replies if {question.subjects[0] for question in row.questions} == {ILLOGICAL}]
    assert broken and all(parse(row.messages[-1]["content"]) is None and len(row.questions) == 4 for row in broken)
    counts = {len(row.questions) for row in about_replies if row not in broken}
    assert counts <= {QUESTIONS_PER_ROW, QUESTIONS_PER_ROW - 2}


def test_all_rows_can_be_about_samples_and_reserve_more_questions_for_logic() -> None:
    sampler = replace(
        QuestionSampler.from_rulebook(load_rulebook("rulebook"), 0, replies=200), reserved_questions={ILLOGICAL: 9}
    )
    rows = [draw_row(Random(i), sampler, SAMPLES, {"sample": 1.0}) for i in range(20)]
    assert {row.messages[-1]["content"] for row in rows} == {"I'm sorry.", "I'm sorry sorry."}
    assert all(sum(question.subjects[0] == ILLOGICAL for question in row.questions) >= 9 for row in rows)
    assert {len(row.questions) for row in rows} == {QUESTIONS_PER_ROW, 2 + 9}


@pytest.mark.parametrize(
    ("row_type", "name"),
    [("look-alike", ILLOGICAL), ("apologies", "apology")],
)
def test_a_hard_row_asks_about_what_makes_it_hard_and_half_of_the_answers_are_yes(row_type: str, name: str) -> None:
    rulebook = load_rulebook("rulebook")
    sampler, question = QuestionSampler.from_rulebook(rulebook, 0, replies=200), rulebook.propositions[name].question
    rows = [draw_row(Random(i), sampler, SAMPLES, {row_type: 1.0}) for i in range(100)]
    answers = [[each.answer for each in row.questions if each.text == question] for row in rows]
    assert all(len({*same}) <= 1 for same in answers)
    assert np.mean([len(same) for same in answers]) > 2
    assert 0.25 < np.mean([same[0] for same in answers if same]) < 0.75


def test_a_spliced_reply_is_usually_broken_and_has_no_held_out_sentence() -> None:
    sampler = QuestionSampler.from_rulebook(load_rulebook("rulebook"), 0, replies=200)
    replies = [draw_row(Random(i), sampler, SAMPLES, {"spliced": 1.0}).messages[-1]["content"] for i in range(200)]
    assert 0.75 < np.mean([parse(reply) is None for reply in replies]) < 1
    held_out = {sentence.template for sentence in SENTENCES if sentence.held_out}
    assert not held_out & {sentence for reply in replies for sentence in split_sentences(reply)}


def test_a_reply_that_a_policy_should_write_has_no_broken_sentence(rows: list[GraderRow]) -> None:
    index = SENTENCE_TRUTH_NAMES.index("is not a sentence")
    assert all(s.truth[index] == 0.0 for row in rows if row.policy_should_write for s in row.sentences)


def test_rows_without_questions_have_the_same_conversations(rows: list[GraderRow]) -> None:
    without_questions = [draw_row(Random(i), None, SAMPLES) for i in range(40)]
    assert [row.messages for row in without_questions] == [row.messages for row in rows]
    assert all(row.questions == [] for row in without_questions)


def test_the_script_writes_the_shipped_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = shipped_data.DATA_DIRECTORY
    monkeypatch.setattr(shipped_data, "DATA_DIRECTORY", tmp_path)
    shipped_data.write_data(SEED, load_rulebook("rulebook"))
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written and written == {name: (shipped / name).read_bytes() for name in written}


@pytest.mark.parametrize("file", ["gold_labels.jsonl", "tiny_gold_labels.jsonl"])
def test_the_shipped_gold_labels_suffice_to_accept_or_reject_every_proposition(file: str) -> None:
    rulebook = load_rulebook("rulebook")
    rows = [json.loads(line) for line in (shipped_data.DATA_DIRECTORY / file).read_text().splitlines()]
    assert missing_labels(rows, needed_by_category(rulebook)) == {}
    # A label counts only if the response type of its reply needs the proposition.
    refusals = [row for row in rows if rulebook.content_policy.response_type(row["category"]) == "hard_refusal"]
    counting = Counter((row["labels"]["apology"]) for row in refusals)
    assert min(counting[True], counting[False]) >= rulebook.behavior.agreement.min_labels


def test_the_tiny_gold_labels_are_rows_of_the_gold_labels() -> None:
    rows, tiny = (
        (shipped_data.DATA_DIRECTORY / file).read_text().splitlines()
        for file in ("gold_labels.jsonl", "tiny_gold_labels.jsonl")
    )
    assert len(tiny) < len(rows) / 3
    assert [row for row in rows if row in set(tiny)] == tiny
