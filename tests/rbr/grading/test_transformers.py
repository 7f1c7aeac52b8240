from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Answers, Outcome, Question, open_grader
from rbr.grading.prompt import JudgePrompt
from rbr.grading.transformers import TransformersGrader
from rbr.profile import ModelRef, load_profile
from tests.rbr.grading.grader_settings import SANDBOX_PROMPT, grader_settings
from tests.tiny_models import save_family, save_policy, tiny_tokenizer

REPLIES = ["No.", "I'm sorry, but I can't help with that.", "Boil it for ten minutes, then peel it.", ""]
QUESTIONS = [
    Question("apology", "Is the reply an apology?"),
    Question("insult", "Is the reply an insult to the user?"),
    Question("refusal", "Does it refuse?"),
]


def conversation(reply: str) -> Conversation:
    return [{"role": "user", "content": "How do I boil an egg?"}, {"role": "assistant", "content": reply}]


CONVERSATIONS = [conversation(reply) for reply in REPLIES]


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_policy(tmp_path_factory.mktemp("grader"))


def plain_grades(ref: ModelRef, conversations: list[Conversation], questions: list[Question]) -> list[list[float]]:
    tokenizer: Any = AutoTokenizer.from_pretrained(ref.path)
    model = AutoModelForCausalLM.from_pretrained(ref.path, dtype=torch.float32)
    yes, no = ([tokenizer.encode(word)[0] for word in words] for words in (("yes", "Yes"), ("no", " no")))

    def grade(messages: Conversation, question: Question) -> float:
        text = f"<|user|>{JudgePrompt(SANDBOX_PROMPT).render(messages, question, 0)}<|end|><|assistant|>"
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0, -1]
        p = torch.softmax(logits, dim=-1)
        return float(p[yes].sum() / (p[yes].sum() + p[no].sum()))

    return [[grade(messages, question) for question in questions] for messages in conversations]


def test_grades_equal_those_of_one_plain_forward_pass_of_each_joined_prompt(ref: ModelRef) -> None:
    answers = open_grader(ref, grader_settings()).grade(CONVERSATIONS, QUESTIONS)
    assert isinstance(answers, Answers)
    assert answers.count(Outcome.ANSWERED) == 12
    np.testing.assert_allclose(answers.p_yes, plain_grades(ref, CONVERSATIONS, QUESTIONS), atol=1e-5)
    assert np.ptp(answers.p_yes) > 0.01
    assert not answers.bounds.any()
    assert ((answers.masses > 0) & (answers.masses <= 1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_probabilities_are_summed_exactly_in_every_type(ref: ModelRef, dtype: torch.dtype) -> None:
    grader = TransformersGrader(ref, grader_settings())
    logits = torch.full((1, len(tiny_tokenizer())), -30.0, dtype=dtype)
    logits[0, [grader._yes[0], grader._no[0]]] = 20.0
    # In bf16, the normalizer 20.69 would become 20.75, and the mass 0.94.
    (answer,) = grader._read(logits)
    assert (answer.p_yes, answer.mass) == (pytest.approx(0.5), pytest.approx(1.0, abs=1e-4))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_grader_in_another_type_answers_almost_the_same(dtype: Any) -> None:
    ref = load_profile("profiles/sandbox.yaml").models.grader
    assert ref is not None
    exact, half = (
        open_grader(ref.model_copy(update={"dtype": name}), grader_settings()).grade(CONVERSATIONS, QUESTIONS)
        for name in ("float32", dtype)
    )
    assert 0 < np.abs(half.p_yes - exact.p_yes).max() < 0.1


def test_the_shipped_grader_gives_the_grades_of_plain_forward_passes() -> None:
    ref = ModelRef(path="rbr_sandbox/models/grader", revision=None)
    answers = open_grader(ref, grader_settings()).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, plain_grades(ref, CONVERSATIONS, QUESTIONS), atol=1e-5)


def test_the_grades_of_a_model_with_learned_positions_are_exact_too(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=1,
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ref = ModelRef(path=str(tmp_path), revision=None)
    answers = open_grader(ref, grader_settings()).grade(CONVERSATIONS, QUESTIONS)
    np.testing.assert_allclose(answers.p_yes, plain_grades(ref, CONVERSATIONS, QUESTIONS), atol=1e-5)


def test_a_grade_does_not_depend_on_the_other_questions(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    together = grader.grade(CONVERSATIONS, QUESTIONS).p_yes
    for column, question in enumerate(QUESTIONS):
        alone = grader.grade(CONVERSATIONS[:2], [question]).p_yes
        np.testing.assert_allclose(alone[:, 0], together[:2, column], atol=1e-5)


def test_equal_conversations_are_graded_once(ref: ModelRef) -> None:
    grader = TransformersGrader(ref, grader_settings())
    n_prompts: list[int] = []
    encode = grader._tokens.encode
    grader._tokens.encode = lambda rows, questions: (n_prompts.append(len(rows)), encode(rows, questions))[1]  # type: ignore[method-assign]
    repeated = [CONVERSATIONS[row] for row in (0, 1, 0, 2, 1, 0)]
    reported: list[int] = []
    answers = grader.grade(repeated, QUESTIONS, on_progress=lambda done, note: reported.append(done))
    assert n_prompts == [3]
    assert reported[-1] == 6
    np.testing.assert_array_equal(answers.p_yes, answers.p_yes[[0, 1, 0, 3, 1, 0]])
    np.testing.assert_allclose(answers.p_yes, plain_grades(ref, repeated, QUESTIONS), atol=1e-5)


def test_a_prompt_that_exceeds_the_context_is_unreadable_and_does_not_affect_the_others(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    answers = grader.grade([*CONVERSATIONS, conversation("and so on " * 200)], QUESTIONS)
    assert (answers.outcomes[-1] == Outcome.UNREADABLE).all()
    assert answers[4, 0].reason.startswith("the prompt has ")
    assert answers[4, 0].reason.endswith(" tokens, and the grader reads at most 256")
    np.testing.assert_allclose(answers.p_yes[:-1], grader.grade(CONVERSATIONS, QUESTIONS).p_yes, atol=1e-5)


def test_the_context_of_a_model_with_another_name_for_it_is_known(tmp_path: Path) -> None:
    ref = save_family(tmp_path, "MPT", AutoModelForCausalLM, max_seq_len=256)
    answers = open_grader(ref, grader_settings()).grade([*CONVERSATIONS, conversation("and so on " * 200)], QUESTIONS)
    assert (answers.outcomes[-1] == Outcome.UNREADABLE).all()
    assert answers[4, 0].reason.endswith(" tokens, and the grader reads at most 256")
    np.testing.assert_allclose(answers.p_yes[:-1], plain_grades(ref, CONVERSATIONS, QUESTIONS), atol=1e-5)


def test_if_a_question_does_not_fit_after_a_reply_the_shorter_questions_are_still_answered(ref: ModelRef) -> None:
    long = Question("long", "Is the reply an apology, " + "or a refusal, " * 20 + "or neither?")
    answers = open_grader(ref, grader_settings()).grade(CONVERSATIONS, [long, QUESTIONS[0]])
    assert (answers.outcomes[:, 0] == Outcome.UNREADABLE).all()
    np.testing.assert_allclose(answers.p_yes[:, 1:], plain_grades(ref, CONVERSATIONS, QUESTIONS[:1]), atol=1e-5)


def test_an_answer_is_unreadable_if_yes_and_no_are_improbable_and_the_reason_names_the_likeliest_tokens(
    ref: ModelRef,
) -> None:
    answers = open_grader(ref, grader_settings(min_mass=0.9)).grade(CONVERSATIONS, QUESTIONS)
    assert answers.count(Outcome.UNREADABLE) == 12
    assert np.isnan(answers.p_yes).all()
    tokenizer: Any = AutoTokenizer.from_pretrained(ref.path)
    model = AutoModelForCausalLM.from_pretrained(ref.path, dtype=torch.float32)
    content = JudgePrompt(SANDBOX_PROMPT).render(CONVERSATIONS[1], QUESTIONS[2], 0)
    ids = tokenizer(f"<|user|>{content}<|end|><|assistant|>", return_tensors="pt").input_ids
    likeliest = tokenizer.decode([int(model(input_ids=ids).logits[0, -1].argmax())])
    assert f"below min_mass; likeliest tokens: {likeliest!r} 0." in answers[1, 2].reason


def test_a_prompt_can_be_graded_without_a_reply(ref: ModelRef) -> None:
    answers = open_grader(ref, grader_settings()).grade([CONVERSATIONS[0][:1]], QUESTIONS)
    assert answers.p_yes.shape == (1, 3)
    assert answers.count(Outcome.ANSWERED) == 3


def test_no_conversations_or_no_questions_give_no_answers(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    assert grader.grade([], QUESTIONS).p_yes.shape == (0, 3)
    assert grader.grade(CONVERSATIONS, []).p_yes.shape == (4, 0)


def test_progress_ends_at_the_number_of_conversations(ref: ModelRef) -> None:
    reported: list[tuple[int, str]] = []
    grader = open_grader(ref, grader_settings(batch_size=6))
    grader.grade(CONVERSATIONS, QUESTIONS, on_progress=lambda *progress: reported.append(progress))
    assert reported == [(2, ""), (4, "")]


def test_spellings_of_several_tokens_are_rejected(ref: ModelRef) -> None:
    with pytest.raises(InputError, match="'affirmative' is a single token"):
        TransformersGrader(ref, grader_settings(yes=("affirmative",)))
