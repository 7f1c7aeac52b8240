from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Question, open_grader, render_prompt
from rbr.grading.shared_prefix import LAYOUTS, fastest_exact_layout, packed, repeated_cache, unshared
from rbr.grading.transformers import TransformersGrader
from rbr.profile import ModelRef
from tests.rbr.grading.grader_settings import grader_settings
from tests.tiny_models import save_policy, tiny_tokenizer

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


def plain_grade(ref: ModelRef, messages: Conversation, question: Question) -> float:
    tokenizer: Any = AutoTokenizer.from_pretrained(ref.path)
    model = AutoModelForCausalLM.from_pretrained(ref.path)
    text = f"<|user|>{render_prompt(messages, question, 0)}<|end|><|assistant|>"
    with torch.inference_mode():
        logits = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0, -1]
    p = torch.softmax(logits, dim=-1)
    yes, no = (sum(p[tokenizer.encode(word)[0]] for word in words) for words in (("yes", "Yes"), ("no", " no")))
    return float(yes / (yes + no))


def test_grades_equal_those_of_one_plain_forward_pass_per_pair(ref: ModelRef) -> None:
    grades = open_grader(ref, grader_settings()).grade(CONVERSATIONS, QUESTIONS)
    expected = [[plain_grade(ref, messages, question) for question in QUESTIONS] for messages in CONVERSATIONS]
    assert grades.dtype == np.float64
    np.testing.assert_allclose(grades, expected, atol=1e-4)
    assert np.ptp(grades) > 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_logits_of_separate_sequences(ref: ModelRef, layout: Callable[..., Any]) -> None:
    model = AutoModelForCausalLM.from_pretrained(ref.path).eval()
    prefixes = [[7, 8, 9], [10], [11, 12, 13, 14, 15, 16]]
    questions = [[20, 21, 22], [20, 21, 23, 24, 25], [30], [20, 21]]
    alone = [[unshared(model, [prefix], [question])[0, 0] for question in questions] for prefix in prefixes]
    expected = torch.stack([torch.stack(row) for row in alone])
    torch.testing.assert_close(layout(model, prefixes, questions), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("attention", "expected"), [("sdpa", packed), ("eager", packed)])
def test_a_llama_uses_the_packed_layout(ref: ModelRef, attention: str, expected: object) -> None:
    model = AutoModelForCausalLM.from_pretrained(ref.path, attn_implementation=attention).eval()
    assert fastest_exact_layout(model, [[7, 8, 9], [10]], [[20, 21], [22]]) is expected


class WithoutBlockMask(torch.nn.Module):
    """A model that treats every mask as a padding mask, as flash attention does."""

    def __init__(self, inner: Any, *, caches: bool) -> None:
        super().__init__()
        self.inner, self.caches = inner, caches
        self.device, self.dtype = inner.device, inner.dtype

    def forward(self, attention_mask: torch.Tensor, **inputs: Any) -> Any:
        if attention_mask.ndim == 4:
            attention_mask = torch.ones(attention_mask.shape[0], attention_mask.shape[-1], dtype=torch.long)
        if "past_key_values" in inputs and not self.caches:
            raise TypeError("no cache here")
        return self.inner(attention_mask=attention_mask, **inputs)


@pytest.mark.parametrize(("caches", "expected"), [(True, repeated_cache), (False, unshared)])
def test_a_model_that_ignores_the_block_mask_uses_a_slower_layout(
    ref: ModelRef, caches: bool, expected: object
) -> None:
    model = WithoutBlockMask(AutoModelForCausalLM.from_pretrained(ref.path).eval(), caches=caches)
    assert fastest_exact_layout(model, [[7, 8, 9], [10]], [[20, 21], [20, 22, 23]]) is expected


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
    grades = open_grader(ref, grader_settings()).grade(CONVERSATIONS, QUESTIONS)
    expected = [[plain_grade(ref, messages, question) for question in QUESTIONS] for messages in CONVERSATIONS]
    np.testing.assert_allclose(grades, expected, atol=1e-4)


def test_a_grade_does_not_depend_on_the_other_questions(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    together = grader.grade(CONVERSATIONS, QUESTIONS)
    for column, question in enumerate(QUESTIONS):
        np.testing.assert_allclose(grader.grade(CONVERSATIONS[:2], [question])[:, 0], together[:2, column], atol=1e-5)


def test_a_reply_that_exceeds_the_context_has_no_grade_and_does_not_affect_the_others(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    grades = grader.grade([*CONVERSATIONS, conversation("and so on " * 200)], QUESTIONS)
    assert np.isnan(grades[-1]).all()
    np.testing.assert_allclose(grades[:-1], grader.grade(CONVERSATIONS, QUESTIONS), atol=1e-5)


def test_if_a_question_does_not_fit_after_a_reply_the_shorter_questions_are_still_answered(ref: ModelRef) -> None:
    long = Question("long", "Is the reply an apology, " + "or a refusal, " * 20 + "or neither?")
    grades = open_grader(ref, grader_settings()).grade(CONVERSATIONS, [QUESTIONS[0], long])
    assert np.isfinite(grades[:, 0]).all()
    assert np.isnan(grades[:, 1]).all()


def test_a_grade_is_missing_if_yes_and_no_are_improbable(ref: ModelRef) -> None:
    grades = open_grader(ref, grader_settings(min_mass=0.9)).grade(CONVERSATIONS, QUESTIONS)
    assert np.isnan(grades).all()


def test_a_prompt_can_be_graded_without_a_reply(ref: ModelRef) -> None:
    grades = open_grader(ref, grader_settings()).grade([CONVERSATIONS[0][:1]], QUESTIONS)
    assert grades.shape == (1, 3)
    assert np.isfinite(grades).all()


def test_no_conversations_or_no_questions_give_an_empty_array(ref: ModelRef) -> None:
    grader = open_grader(ref, grader_settings())
    assert grader.grade([], QUESTIONS).shape == (0, 3)
    assert grader.grade(CONVERSATIONS, []).shape == (4, 0)


def test_progress_ends_at_the_number_of_conversations(ref: ModelRef) -> None:
    reported: list[int] = []
    open_grader(ref, grader_settings(batch_size=6)).grade(CONVERSATIONS, QUESTIONS, on_progress=reported.append)
    assert reported == [2, 4]


def test_spellings_of_several_tokens_are_rejected(ref: ModelRef) -> None:
    with pytest.raises(InputError, match="'affirmative' is a single token"):
        TransformersGrader(ref, grader_settings(yes=("affirmative",)))
